#include "fixed.h"

#include "tables.h"
#include "zllm_testing.h"

uint32_t zllm_fixed_rsqrt(uint64_t x, int32_t *exponent) {
    /* y = x * 2^k in [2^30, 2^32) with k even, so that sqrt(y) = sqrt(x) * 2^(k/2). */
    const int32_t length = (int32_t)bit_length64(x);
    int32_t k = 32 - length;
    k -= k & 1;
    const uint64_t y = k >= 0 ? x << k : x >> -k;
    /* r is 2^46 / sqrt(y): the table is good to 0.4%, and each step of Newton's r (3 - y r^2) / 2 squares the error
     * times 1.5. y * (r^2 >> 30) is about 2^62, so 3 * 2^62 minus it stays positive and in 64 bits. */
    uint64_t r = RSQRT[(y >> 24) - 64];
    for (int i = 0; i < 2; i++) {
        const uint64_t e = ((uint64_t)3 << 62) - y * ((r * r) >> 30);
        r = (r * (e >> 32)) >> 31;
    }
    *exponent = 46 - k / 2;
    return r > ((uint64_t)1 << 31) ? (uint32_t)1 << 31 : (uint32_t)r;
}

static int32_t sine_of(uint32_t phase) {
    const uint32_t i = phase >> 22;
    const int32_t f = (int32_t)((phase >> 12) & 1023);
    return (int32_t)(shift_right((int64_t)SINE[i] * (1024 - f) + (int64_t)SINE[i + 1] * f + 512, 10));
}

void zllm_fixed_sincos(uint32_t phase, int32_t *sine, int32_t *cosine) {
    *sine = sine_of(phase);
    *cosine = sine_of(phase + 0x40000000u);
}

scale_t zllm_fixed_norm_scale(uint32_t n, uint64_t squares) {
    scale_t s = {32768u, 40};
    if (squares == 0) return s; /* every q is zero */
    const uint64_t y = (squares << 20) / n;
    int32_t e;
    const uint32_t r = zllm_fixed_rsqrt(y, &e); /* 1 / sqrt(squares / n) = 2^10 / sqrt(y) = r * 2^(10 - e) */
    s.mantissa = r >> 15 > 65535u ? 65535u : r >> 15;
    s.exponent = e - 25;
    return s;
}

scale_t zllm_fixed_abs_scale(uint32_t absmax, int32_t frac) {
    scale_t s = {32768u, 62};
    if (absmax == 0) return s;
    const uint32_t shift = 31u - bit_length32(absmax);
    const uint32_t t = (absmax << shift) / 127u; /* above 2^23 */
    const uint32_t drop = t >> 24 ? 9u : 8u;
    s.mantissa = t >> drop;
    s.exponent = (int32_t)shift + frac - (int32_t)drop;
    return s;
}

scale_t zllm_fixed_multiply(scale_t a, scale_t b) {
    scale_t s = {(a.mantissa * b.mantissa) >> 15, a.exponent + b.exponent - 15};
    if (s.mantissa >> 16) {
        s.mantissa >>= 1;
        s.exponent -= 1;
    }
    return s;
}

uint32_t zllm_rsqrt(uint64_t x, int32_t *exponent) { return zllm_fixed_rsqrt(x ? x : 1, exponent); }
uint32_t zllm_exp2(uint32_t d) { return exp2_15(d); }
int32_t zllm_sigmoid(int32_t x) { return sigmoid16((int16_t)clamp32(x, 32767)); }
int32_t zllm_gelu(int32_t x) { return gelu16((int16_t)clamp32(x, 32767)); }
void zllm_sincos(uint32_t phase, int32_t *sine, int32_t *cosine) { zllm_fixed_sincos(phase, sine, cosine); }
