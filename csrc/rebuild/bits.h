/* Bits as deflate has them (RFC 1951, 3.1.1): the lowest of a byte first. */
#ifndef ZLLM_REBUILD_BITS_H
#define ZLLM_REBUILD_BITS_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    uint8_t *out;
    size_t room, at;
    uint64_t held;
    uint32_t count; /* of bits held, below 8 between calls */
    int full;
} bit_writer_t;

static inline void put_bits(bit_writer_t *w, uint32_t value, uint32_t count) {
    w->held |= (uint64_t)value << w->count;
    for (w->count += count; w->count >= 8; w->count -= 8, w->held >>= 8) {
        if (w->at < w->room) w->out[w->at++] = (uint8_t)w->held;
        else w->full = 1;
    }
}

/* Zeros up to the next whole byte. */
static inline void put_padding(bit_writer_t *w) { put_bits(w, 0, (8 - w->count) & 7); }

typedef struct {
    const uint8_t *data;
    uint64_t size, at; /* in bits */
    int bad;
} bit_reader_t;

static inline bit_reader_t bits_of(const uint8_t *data, size_t size) { return (bit_reader_t){data, (uint64_t)size * 8, 0, 0}; }

/* Up to 16 bits; zeros, and bad, behind the end. */
static inline uint32_t get_bits(bit_reader_t *r, uint32_t count) {
    uint32_t value = 0, got = 0;
    if (count > r->size - r->at) {
        r->bad = 1;
        return 0;
    }
    while (got < count) {
        const uint32_t shift = (uint32_t)(r->at & 7), take = count - got < 8 - shift ? count - got : 8 - shift;
        value |= (uint32_t)(r->data[r->at >> 3] >> shift & ((1u << take) - 1)) << got;
        got += take;
        r->at += take;
    }
    return value;
}

#endif
