#include "variants.h"

scale_t quantise_wide_row(const zllm_kernel *k, const int32_t *x, uint32_t n, int normalise, int32_t frac, int8_t *high,
                          int8_t *low, int32_t sums[2]) {
    uint32_t shift;
    int32_t reciprocal;
    uint64_t squares;
    const uint32_t largest = k->absmax(x, n);
    fixed_reciprocal(largest, &shift, &reciprocal);
    k->quantise_wide(x, n, shift, reciprocal, high, low, sums, &squares);
    if (normalise) return fixed_norm_scale(n, squares); /* 16256^2 * ZLLM_MAX_COLS is below 2^42 */
    scale_t s = fixed_abs_scale(largest, frac);
    s.exponent += largest ? 7 : 0;
    return s;
}

/* Squares of 256 numbers of 14 bits stay within 2^36, products with gains below 2^29. */
scale_t multiply_gain(const zllm_kernel *k, int32_t *head, uint32_t n, const int16_t *gain) {
    const int32_t excess = (int32_t)bit_length32(k->absmax(head, n)) - 14;
    const uint32_t right = excess > 0 ? (uint32_t)excess : 0u, left = excess < 0 ? (uint32_t)-excess : 0u;
    uint64_t squares = 0;
    for (uint32_t i = 0; i < n; i++) {
        const int32_t t = shift_right32(head[i], right) * (1 << left);
        squares += (uint32_t)(t * t);
        head[i] = t * gain[i];
    }
    return fixed_norm_scale(n, squares);
}
