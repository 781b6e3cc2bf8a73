/* Fields taken off the front of bytes that nobody trusts. What does not fit sets `bad`, which stays, and reads as 0: whoever
 * reads looks at it before a number is used for anything but reading on. */
#ifndef ZLLM_BYTES_H
#define ZLLM_BYTES_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define MAX_VARINT_BYTES 10u

typedef struct {
    const uint8_t *data;
    size_t size, at;
    int bad;
} bytes_t;

static inline bytes_t bytes_of(const uint8_t *data, size_t size) { return (bytes_t){data, size, 0, 0}; }

static inline size_t bytes_left(const bytes_t *b) { return b->size - b->at; }

/* The next `count` bytes, in place. NULL, and bad, if there are fewer. */
static inline const uint8_t *bytes_take(bytes_t *b, uint64_t count) {
    if (b->bad || count > bytes_left(b)) {
        b->bad = 1;
        return NULL;
    }
    const uint8_t *p = b->data + b->at;
    b->at += (size_t)count;
    return p;
}

static inline uint8_t bytes_u8(bytes_t *b) {
    const uint8_t *p = bytes_take(b, 1);
    return p == NULL ? 0 : *p;
}

static inline uint32_t little32(const uint8_t *p) {
    return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* A varint of 64 bits and at most `most`, no longer than need be. */
static inline uint64_t bytes_varint(bytes_t *b, uint64_t most) {
    uint64_t value = 0;
    for (uint32_t shift = 0; shift < 7 * MAX_VARINT_BYTES; shift += 7) {
        const uint64_t byte = bytes_u8(b);
        if (b->bad || (shift == 63 && byte > 1)) break;
        value |= (byte & 0x7f) << shift;
        if (byte & 0x80) continue;
        if ((byte == 0 && shift > 0) || value > most) break;
        return value;
    }
    b->bad = 1;
    return 0;
}

static inline size_t varint_size(uint64_t value) {
    size_t size = 1;
    while (value >>= 7) size++;
    return size;
}

static inline size_t varint_put(uint8_t *out, uint64_t value) {
    size_t size = 0;
    for (; value > 0x7f; value >>= 7) out[size++] = (uint8_t)(value | 0x80);
    out[size++] = (uint8_t)value;
    return size;
}

#endif
