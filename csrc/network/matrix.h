/* Linear maps of quantised rows (docs/arithmetic.md, section 2), of which every network is made. */
#ifndef ZLLM_MATRIX_H
#define ZLLM_MATRIX_H

#include "fixed.h"
#include "network/arena.h"
#include "network/network.h"

#define BLOCK_ROWS 32u /* rows that are quantised and multiplied together, at most; wide ones count once */

typedef struct {
    int8_t *packed;
    int16_t *scale;
    int32_t *bias; /* or NULL */
    uint32_t rows, cols;
    int32_t exponent;
    uint32_t wide; /* whether its input rows are: then each is two rows of the kernel's, high and low part */
} matrix_t;

typedef struct {
    int8_t *q;
    size_t stride;
    int32_t *sum;
    scale_t *scale;
} rows_t; /* quantised rows; the parts of wide row i are rows 2 i and 2 i + 1 */

/* 0 when out of memory; free them all the same. */
int zllm_rows_new(rows_t *r, heap_t *heap, uint32_t count, uint32_t cols);
void zllm_rows_free(rows_t *r, heap_t *heap);

/* The matrix whose tensors (MATRIX_TENSORS in schema.h) have the numbers from `tensor` on: whether its numbers are within the
 * limits that the functions below rely on; and packed. wide: whether its input rows are. */
zllm_result zllm_matrix_check(const source_t *s, uint32_t layer, uint32_t tensor);
void zllm_matrix_pack(arena_t *arena, const zllm_kernel *k, const source_t *s, uint32_t layer, uint32_t tensor,
                      uint32_t wide, matrix_t *out);
/* The same, but that its packed parts are the caller's to make. */
void zllm_matrix_read(arena_t *arena, const source_t *s, uint32_t layer, uint32_t tensor, uint32_t wide, matrix_t *out);

/* Rows [which.from, which.end) of x, `stride` apart, as the matrix takes them. normalise and frac: the row's scale is
 * normalised, or plain with so many fractional bits. */
void zllm_matrix_quantise(const matrix_t *a, const zllm_kernel *k, const int32_t *x, size_t stride, int normalise,
                          int32_t frac, share_t which, rows_t *out);
/* acc = n quantised rows times rows [of.from, of.end) of the matrix, which start at acc[of.from]; two rows of products for a
 * wide one. of: whole multiples of ZLLM_ROW_ALIGN, or up to the end; acc has room for padded_rows. */
void zllm_matrix_multiply(const matrix_t *a, const zllm_kernel *k, const rows_t *r, uint32_t n, share_t of,
                          int32_t *acc, size_t stride);
/* Results [from, from + count) of the map, with frac fractional bits, of row i; acc is that of all rows. */
void zllm_matrix_dequantise(const matrix_t *a, const zllm_kernel *k, const rows_t *r, uint32_t i, const int32_t *acc,
                            size_t stride, uint32_t from, uint32_t count, int32_t frac, int32_t *out);
/* Sums of `cols` products to fixed point, saturating at 2^30. */
void zllm_scale_sums(const zllm_kernel *k, const int32_t *acc, const int16_t *scale, uint32_t n, uint32_t cols,
                     uint32_t mantissa, int32_t shift, int32_t *out);

#endif
