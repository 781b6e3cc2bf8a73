/* What only some networks need (docs/arithmetic.md): wide rows and gains of heads. */
#ifndef ZLLM_VARIANTS_H
#define ZLLM_VARIANTS_H

#include "fixed.h"
#include "kernels.h"

/* Quantise one row to 15 bits, 128 * high + low; sums: of both. normalise and frac as for quantise_row. */
scale_t quantise_wide_row(const zllm_kernel *k, const int32_t *x, uint32_t n, int normalise, int32_t frac, int8_t *high,
                          int8_t *low, int32_t sums[2]);
/* Bring a head to 14 bits and multiply its elements by a gain. Returns 1 over the root mean square of the 14 bits. */
scale_t multiply_gain(const zllm_kernel *k, int32_t *head, uint32_t n, const int16_t *gain);

#endif
