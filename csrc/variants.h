/* What only some networks need (docs/arithmetic.md): wide rows, gains of heads, GELU. Portable loops for all kernels, which
 * compilers vectorise. */
#ifndef ZLLM_VARIANTS_H
#define ZLLM_VARIANTS_H

#include "fixed.h"
#include "kernels.h"

/* Quantise one row to 15 bits: q = 128 * high + low. sums: of both. normalise and frac as for quantise_row. */
scale_t quantise_wide(const zllm_kernel *k, const int32_t *x, uint32_t n, int normalise, int32_t frac, int8_t *high,
                      int8_t *low, int32_t sums[2]);
/* Sums of products with both parts of a wide row to fixed point, saturating at 2^30. */
void scale_wide(const int32_t *high, const int32_t *low, const int16_t *scale, uint32_t n, uint32_t mantissa,
                int32_t shift, int32_t *out);
/* Bring a head to 14 bits and multiply its elements by a gain. Returns 1 over the root mean square of the 14 bits. */
scale_t multiply_gain(const zllm_kernel *k, int32_t *head, uint32_t n, const int16_t *gain);
/* GELU of gates with 10 fractional bits; out has 25. */
void gelu(const int32_t *gate, uint32_t n, int32_t *out);

#endif
