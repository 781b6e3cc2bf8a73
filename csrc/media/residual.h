/* A signed number, what a prediction was wrong by, as decisions: how many times 2^k its magnitude has (one decision a
 * step), the bits below, the sign. k follows what magnitudes were of late.
 */
#ifndef ZLLM_MEDIA_RESIDUAL_H
#define ZLLM_MEDIA_RESIDUAL_H

#include "decide.h"

#define RESIDUAL_CONTEXTS 8
#define RESIDUAL_RANGE 1024u /* contexts are below it */

typedef struct residual residual_t;

/* What is known before a number. */
typedef struct {
    uint32_t k;                          /* 0 to 30 */
    uint32_t context[RESIDUAL_CONTEXTS]; /* below RESIDUAL_RANGE */
    uint32_t select;                     /* below 64: which weights and curve are used */
    uint32_t sign;                       /* below 64: the sign's context */
} known_t;

/* Coder of numbers with `contexts` contexts. NULL when out of memory. */
residual_t *zllm_residual_new(heap_t *heap, const tables_t *tables, uint32_t contexts);
void zllm_residual_free(heap_t *heap, residual_t *r);
size_t zllm_residual_memory(uint32_t contexts);

/* Code the number, which is returned. */
int32_t zllm_residual_code(residual_t *r, string_t *s, const known_t *known, int32_t value);

/* The logarithm of x in quarters, below 132; 0 of 0 and 1. */
static inline uint32_t log_quarters(uint32_t x) {
    if (x < 2) return 0;
    const uint32_t top = 31u - (uint32_t)__builtin_clz(x);
    return 4 * top + ((top >= 2 ? x >> (top - 2) : x << (2 - top)) & 3);
}

#endif
