/* Fixed-point functions of docs/arithmetic.md, section 2. */
#ifndef ZLLM_FIXED_H
#define ZLLM_FIXED_H

#include <stdint.h>

#define ZLLM_LIMIT ((1 << 30) - 1) /* |residual| and every dequantised value stay within it */

static inline uint32_t bit_length64(uint64_t x) { return x ? 64u - (uint32_t)__builtin_clzll(x) : 0u; }
static inline uint32_t bit_length32(uint32_t x) { return x ? 32u - (uint32_t)__builtin_clz(x) : 0u; }

static inline int32_t clamp32(int32_t x, int32_t limit) { return x > limit ? limit : x < -limit ? -limit : x; }

/* v >> s for |v| <= 2^62, s <= 62, rounding towards minus infinity. Shifting a negative number to the right is the
 * compiler's choice in C, and all choose this; but without a vector instruction for 64 bits they do it one by one. So
 * add 2^62 first, which makes it non-negative and is a multiple of 2^s. */
_Static_assert((-3 >> 1) == -2, "signed numbers are shifted arithmetically");
static inline int64_t shift_right(int64_t v, uint32_t s) {
    const uint64_t bias = (uint64_t)1 << 62;
    return (int64_t)(((uint64_t)v + bias) >> s) - (int64_t)(bias >> s);
}

/* v >> s where the result is known to fit 32 bits and s <= 32 (or 8 and s <= 56, 16 and s <= 48): a shift of an unsigned number has
 * the same lower bits, and every vector unit has it. */
static inline int32_t low_bits(int64_t v, uint32_t s) { return (int32_t)(uint32_t)((uint64_t)v >> s); }

/* The same for 32 bits. */
static inline int32_t shift_right32(int32_t v, uint32_t s) { return v >> s; }

/* a * b / 2^15, rounded: pmulhrsw and sqrdmulh have it, and compilers know these by this form. Never both -2^15. */
static inline int16_t multiply15(int16_t a, int16_t b) { return (int16_t)((a * b + 16384) >> 15); }

/* 1 / (1 + 2^(-|x| log2(e) / 2^10)) in 2^-15, in 16 bits; |x| counts up to 8191 (8 - 2^-10), where it is 1 - 2^-11.
 *   z = |x| log2(e) / 2^14 = 4 |x| * 23637 / 2^15, below 0.7214;
 *   t = 2^-z = 1 - z (22710 - z (7793 - 1514 z)) (all in 2^-15; the fit is good to 5e-5), and four squares make 2^-16z;
 *   1 / (1 + t) = 2 / (3 + (2 t - 1)), a polynomial of degree 5 in 2 t - 1 (good to 2e-5 of 1).
 * Both are Chebyshev fits with rounded coefficients. The whole is within 2.2e-4 of the sigmoid. */
static inline int16_t sigmoid16(int16_t x) {
    const int16_t positive = (int16_t)(x < 0 ? -x : x), near = positive > 8191 ? 8191 : positive;
    const int16_t z = multiply15((int16_t)(4 * near), 23637);
    int16_t t = multiply15(z, 1514);
    t = multiply15(z, (int16_t)(t - 7793));
    t = multiply15(z, (int16_t)(t + 22710));
    t = (int16_t)(32767 - t);
    t = multiply15(t, t);
    t = multiply15(t, t);
    t = multiply15(t, t);
    t = multiply15(t, t);
    const int16_t c = (int16_t)(2 * t - 32767);
    int16_t w = multiply15(c, -110);
    w = multiply15(c, (int16_t)(w + 321));
    w = multiply15(c, (int16_t)(w - 798));
    w = multiply15(c, (int16_t)(w + 2407));
    w = multiply15(c, (int16_t)(w - 7283));
    w = (int16_t)(w + 21845);
    return (int16_t)(x < 0 ? 32767 - w + 1 : w);
}

/* What the sigmoid is taken of for gelu(x), x in 2^-10 (docs/arithmetic.md, "GELU"). From 4095 on it is beyond 8191,
 * where the sigmoid is constant, so x counts up to there, and all products fit 32 bits: x * x * 74821 / 2^10 < 2^31, and
 * x * f in two parts, for f < 2^22. */
static inline int32_t gelu_argument(int32_t x) {
    const int32_t near = clamp32(x, 4095), f = 1673285 + ((((near * near) >> 10) * 74821) >> 10);
    return (near * (f >> 10) + ((near * (f & 1023)) >> 10)) >> 10;
}

/* x * sigmoid(1.59577 (x + 0.044715 x^3)) in 2^-25, |x| <= 32767. */
static inline int32_t gelu16(int16_t x) { return x * sigmoid16((int16_t)gelu_argument(x)); }

/* 2^(-d / 2^16) in 2^-15 for d >= 0: a cubic in the fraction's upper 15 bits, shifted by the integer part.
 * Coefficients: least maximum relative error (1.5e-4) with the value 1 at 0. Decreasing by a half over [0, 1). */
static inline uint32_t exp2_fraction(uint32_t d) {
    const uint32_t f = (d & 0xffffu) >> 1;
    uint32_t p = 7575u - ((f * 1298u) >> 15);
    p = 22662u - ((f * p) >> 15);
    return 32767u - ((f * p) >> 15);
}

static inline uint32_t exp2_15(uint32_t d) {
    const uint32_t n = d >> 16;
    return exp2_fraction(d) >> (n > 31u ? 31u : n);
}

/* The coder's weight, 1 to 2^26 - 2047: the floor of 1 keeps every token codable at a cost of at most
 * vocab / 2^26 * log2(e) bits a token (0.0033 at 151,936 tokens). 64 of them sum to less than 2^32. */
static inline uint32_t exp2_weight(uint32_t d) {
    const uint32_t n = d >> 16;
    return 1u + ((exp2_fraction(d) << 11) >> (n > 31u ? 31u : n));
}

typedef struct {
    uint32_t mantissa; /* 2^15 to 2^16 - 1 */
    int32_t exponent;  /* value = mantissa * 2^-exponent */
} scale_t;

/* 1 / 2^exponent * result = 1 / sqrt(x), x > 0; result in [2^30, 2^31]. */
uint32_t zllm_fixed_rsqrt(uint64_t x, int32_t *exponent);
void zllm_fixed_sincos(uint32_t phase, int32_t *sine, int32_t *cosine);
/* sqrt(n / squares): what a normalised row's q is to be multiplied by. */
scale_t zllm_fixed_norm_scale(uint32_t n, uint64_t squares); /* squares below 2^43 */
/* absmax / 127 * 2^-frac. */
scale_t zllm_fixed_abs_scale(uint32_t absmax, int32_t frac);
scale_t zllm_fixed_multiply(scale_t a, scale_t b);
/* The shift and reciprocal that a row of that largest absolute value is quantised by. With a = absmax * 2^shift in
 * [2^30, 2^31), 127 * 2^54 / a is below 2^31, and q = x * 127 / absmax. */
static inline void fixed_reciprocal(uint32_t absmax, uint32_t *shift, int32_t *reciprocal) {
    *shift = absmax ? 31u - bit_length32(absmax) : 0u;
    *reciprocal = absmax ? (int32_t)(((uint64_t)127 << 54) / ((uint64_t)absmax << *shift)) : 0;
}

/* What is known of a quantised row: the largest absolute value that it had, sums of its numbers and of their squares. */
typedef struct {
    uint32_t largest;
    int32_t sum, squares;
} quantised_t;

/* Its scale: of x / rms(x) if it is normalised, else of x * 2^-frac; n numbers. */
static inline scale_t quantised_scale(const quantised_t *f, uint32_t n, int normalise, int32_t frac) {
    return normalise ? zllm_fixed_norm_scale(n, (uint32_t)f->squares) : zllm_fixed_abs_scale(f->largest, frac);
}

#endif
