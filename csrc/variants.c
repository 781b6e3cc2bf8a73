#include "variants.h"

/* q is at most 127 * 128 = 16256 in size, for the reciprocal is rounded down: high is within 127, low from -64 to 63.
 * Squares of ZLLM_MAX_COLS of them stay below 2^42. */
scale_t quantise_wide(const zllm_kernel *k, const int32_t *restrict x, uint32_t n, int normalise, int32_t frac,
                      int8_t *restrict high, int8_t *restrict low, int32_t sums[2]) {
    uint32_t shift;
    int32_t reciprocal, high_sum = 0, low_sum = 0;
    uint64_t squares = 0;
    const uint32_t largest = k->absmax(x, n);
    fixed_reciprocal(largest, &shift, &reciprocal);
    for (uint32_t i = 0; i < n; i++) {
        const int64_t y = (int64_t)(int32_t)((uint32_t)x[i] << shift);
        const int32_t q = (int16_t)low_bits(y * reciprocal + ((int64_t)1 << 46), 47);
        const int32_t h = shift_right32(q + 64, 7), l = q - 128 * h;
        high[i] = (int8_t)h;
        low[i] = (int8_t)l;
        high_sum += h;
        low_sum += l;
        squares += (uint32_t)(q * q);
    }
    sums[0] = high_sum;
    sums[1] = low_sum;
    if (normalise) return fixed_norm_scale(n, squares);
    scale_t s = fixed_abs_scale(largest, frac);
    s.exponent += largest ? 7 : 0;
    return s;
}

/* 128 high + low is a sum of ZLLM_MAX_COLS products below 127 * 16256, so below 2^35, its multiplier below 2^16: with the
 * 2^61 that rounds the largest shift it stays below 2^62. */
void scale_wide(const int32_t *restrict high, const int32_t *restrict low, const int16_t *restrict scale, uint32_t n,
                uint32_t mantissa, int32_t shift, int32_t *restrict out) {
    const uint32_t s = (uint32_t)(shift < 1 ? 1 : shift > 62 ? 62 : shift);
    const int64_t half = (int64_t)1 << (s - 1);
    for (uint32_t i = 0; i < n; i++) {
        const int64_t m = (int64_t)(((uint32_t)scale[i] * mantissa) >> 15);
        const int64_t v = shift_right(((int64_t)high[i] * 128 + low[i]) * m + half, s);
        out[i] = v > ZLLM_LIMIT ? ZLLM_LIMIT : v < -ZLLM_LIMIT ? -ZLLM_LIMIT : (int32_t)v;
    }
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

void gelu(const int32_t *restrict gate, uint32_t n, int32_t *restrict out) {
    for (uint32_t i = 0; i < n; i++) out[i] = gelu16((int16_t)clamp32(gate[i], 32767));
}
