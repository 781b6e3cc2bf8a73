/* What the payloads of the media codecs have in common: a version, numbers, and work that can be cancelled. */
#ifndef ZLLM_MEDIA_PAYLOAD_H
#define ZLLM_MEDIA_PAYLOAD_H

#include "../cancel.h"
#include "decide.h"

/* The first byte of a payload: raised whenever an integer on the coding path changes. */
#define MEDIA_VERSION 1

/* Numbers before the code string: 7 bits a byte, the lowest first, the highest bit set in all but the last. */
typedef struct {
    const uint8_t *data;
    size_t size, at;
    int bad;
} reader_t;

static inline uint64_t read_number(reader_t *r) {
    uint64_t value = 0;
    for (uint32_t shift = 0; shift < 63; shift += 7) {
        if (r->at >= r->size) break;
        const uint8_t byte = r->data[r->at++];
        value |= (uint64_t)(byte & 127) << shift;
        if (byte < 128) return value;
    }
    r->bad = 1;
    return 0;
}

typedef struct {
    uint8_t *out;
    size_t room, at;
    int full;
} writer_t;

static inline void write_number(writer_t *w, uint64_t value) {
    do {
        if (w->at >= w->room) {
            w->full = 1;
            return;
        }
        w->out[w->at++] = (uint8_t)((value & 127) | (value > 127 ? 128 : 0));
        value >>= 7;
    } while (value);
}

/* A call's work, told every POLL bytes or so. */
#define POLL 4096u
typedef struct {
    const volatile int32_t *cancel;
    volatile uint64_t *progress;
    size_t untold;
} watch_t;

static inline zllm_result watch_done(watch_t *w, size_t bytes) {
    w->untold += bytes;
    if (w->untold < POLL) return ZLLM_OK;
    if (w->progress) *w->progress += w->untold;
    w->untold = 0;
    return cancelled(w->cancel) ? ZLLM_E_CANCELLED : ZLLM_OK;
}

static inline void watch_end(watch_t *w) {
    if (w->progress) *w->progress += w->untold;
}

#endif
