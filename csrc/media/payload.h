/* What the payloads of the media codecs have in common: a version, numbers, and work that can be cancelled. */
#ifndef ZLLM_MEDIA_PAYLOAD_H
#define ZLLM_MEDIA_PAYLOAD_H

#include "../cancel.h"
#include "bytes.h"

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
        if (byte == 0 && shift > 0) break; /* a number is written in one way only */
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

/* Changes of a format, each of which makes a new predictor: so many, and one more for so many bytes of data. */
#define FREE_CHANGES 8u
#define CHANGE_DATA (64u << 10)

/* A call's work: one code string, the data it is of, and who watches. */
typedef struct {
    heap_t *heap;
    tables_t *tables;
    bytes_t *bytes; /* made when there are any */
    string_t string;
    uint8_t *at; /* the next byte of data */
    const volatile int32_t *cancel;
    volatile uint64_t *progress;
    size_t untold;
} work_t;

/* Before and after all work; the end passes on what has come of it. */
zllm_result zllm_work_start(work_t *w, heap_t *heap);
zllm_result zllm_work_end(work_t *w, zllm_result rc);
/* Code bytes that are neither samples nor pixels. */
zllm_result zllm_work_bytes(work_t *w, uint64_t count);

/* So many bytes more are done. Told, and asked for more, every POLL bytes or so. */
#define POLL 4096u
static inline zllm_result work_done(work_t *w, size_t bytes) {
    w->untold += bytes;
    if (w->untold < POLL) return ZLLM_OK;
    if (w->progress) *w->progress += w->untold;
    w->untold = 0;
    if (w->string.to.full) return ZLLM_E_SPACE;
    return cancelled(w->cancel) ? ZLLM_E_CANCELLED : ZLLM_OK;
}

#endif
