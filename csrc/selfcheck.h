/* Vectors that self-checks are made of, from a fixed generator. */
#ifndef ZLLM_SELFCHECK_H
#define ZLLM_SELFCHECK_H

#include "kernels.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

/* What vectors are made of: numbers of all sizes; the largest ones with random signs; the largest with one sign. */
enum { ANY, SIGNS, LARGEST, MODES };

typedef struct {
    uint64_t state;
    int mode;
} source_t;

static inline uint32_t draw(source_t *s) { /* splitmix64 */
    uint64_t z = s->state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (uint32_t)(z >> 32);
}

/* From low to high, or one of the two. */
static inline uint32_t between(source_t *s, uint32_t low, uint32_t high) {
    const uint32_t r = draw(s);
    return s->mode != ANY ? (r & 1 ? high : low) : low + r % (high - low + 1);
}

static inline int32_t number(source_t *s, uint32_t limit) {
    return (int32_t)((int64_t)between(s, 0, 2 * limit) - (int64_t)limit);
}

static inline void fill8(source_t *s, int8_t *x, size_t n) {
    const int8_t all = (int8_t)number(s, 127);
    for (size_t i = 0; i < n; i++) x[i] = s->mode == LARGEST ? all : (int8_t)number(s, 127);
}

/* A vector's own limit is anything up to `limit`, so that small numbers are seen as well. */
static inline void fill32(source_t *s, int32_t *x, size_t n, uint32_t limit) {
    const uint32_t size = s->mode == ANY ? limit >> draw(s) % 31 : limit;
    const int32_t all = number(s, size);
    for (size_t i = 0; i < n; i++) x[i] = s->mode == LARGEST ? all : number(s, size);
}

#endif
