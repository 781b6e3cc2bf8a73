/* Rows that are looked up by token, or by a pair of tokens (docs/arithmetic.md, section 4). */
#ifndef ZLLM_TRANSFORMER_LOOKUP_H
#define ZLLM_TRANSFORMER_LOOKUP_H

#include "network/matrix.h"

#define PAIR_PARTS 4u /* tables of pairs, each of which has a quarter of a row */

/* Rows of int8, or of two numbers a byte, each with a scale. */
typedef struct {
    int8_t *q;
    int16_t *scale;
    uint32_t cols;  /* numbers of a row */
    uint32_t shift; /* brings a number times its scale to 12 fractional bits */
    int nibbles;    /* two numbers a byte: -7 to 7, the first one in the lower half */
} table_t;

static inline uint32_t table_bytes(const table_t *t) { return t->nibbles ? t->cols / 2 : t->cols; }

/* That of tensor number `tensor`, and of the one behind it, its scales: whether its numbers are in range; and copied.
 * Fields are zeros if there is none. */
zllm_result zllm_table_check(const source_t *s, uint32_t layer, uint32_t tensor, int nibbles);
void zllm_table_read(arena_t *arena, const source_t *s, uint32_t layer, uint32_t tensor, int nibbles, table_t *out);

/* A row with 12 fractional bits: below 127 * 2^15 / 2 in size. */
void zllm_table_row(const table_t *t, const zllm_kernel *k, size_t row, int32_t *out);

static inline void table_prefetch(const table_t *t, size_t row) {
    const uint32_t bytes = table_bytes(t);
    for (uint32_t i = 0; i < bytes; i += 64) __builtin_prefetch(t->q + row * bytes + i);
    __builtin_prefetch(t->scale + row);
}

/* The row of each part for two tokens that follow each other, counted from the first table's first row. */
void zllm_pair_rows(uint32_t token, uint32_t before, uint32_t bits, size_t rows[PAIR_PARTS]);

#endif
