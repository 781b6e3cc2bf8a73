/* What kernels_template.h does not leave to the compiler: vectors of eight 16-bit numbers, and the scaling of sums. */
#ifndef ZLLM_ARM_ELEMENTWISE_H
#define ZLLM_ARM_ELEMENTWISE_H

#include <arm_neon.h>

#define V16 int16x8_t
#define V16_LANES 8u
#define V16_SET(x) vdupq_n_s16(x)
/* Unsigned: a sum may wrap, and some compilers take vaddq_s16 for an addition of C, which must not. */
#define V16_ADD(a, b) vreinterpretq_s16_u16(vaddq_u16(vreinterpretq_u16_s16(a), vreinterpretq_u16_s16(b)))
#define V16_SUB(a, b) vreinterpretq_s16_u16(vsubq_u16(vreinterpretq_u16_s16(a), vreinterpretq_u16_s16(b)))
#define V16_MIN(a, b) vminq_s16(a, b)
#define V16_ABS(a) vabsq_s16(a)
#define V16_SHIFT_LEFT(a, s) vshlq_n_s16(a, s)
#define V16_MULTIPLY(a, b) vqrdmulhq_s16(a, b)
#define V16_IF_NEGATIVE(x, a, b) vbslq_s16(vcltzq_s16(x), a, b)
#define V16_CLAMP(p) v16_clamp(p)
#define V16_PRODUCTS(a, b, p) v16_products(a, b, p)

/* Eight int32 limited to -32767 to 32767. */
static inline int16x8_t v16_clamp(const int32_t *p) {
    const int16x8_t narrow = vcombine_s16(vqmovn_s32(vld1q_s32(p)), vqmovn_s32(vld1q_s32(p + 4)));
    return vmaxq_s16(narrow, vdupq_n_s16(-32767));
}

static inline void v16_products(int16x8_t a, int16x8_t b, int32_t *out) {
    vst1q_s32(out, vmull_s16(vget_low_s16(a), vget_low_s16(b)));
    vst1q_s32(out + 4, vmull_high_s16(a, b));
}

#define DEQUANTISE dequantise4
#define DEQUANTISE_LANES 4u

/* srshl by a negative number rounds to the nearest as it shifts to the right. */
static inline void dequantise4(const int32_t *acc, const int16_t *scale, uint32_t mantissa, uint32_t shift,
                               int32_t *out) {
    const uint32x4_t product = vmulq_n_u32(vmovl_u16(vreinterpret_u16_s16(vld1_s16(scale))), mantissa);
    const int32x4_t a = vld1q_s32(acc), m = vreinterpretq_s32_u32(vshrq_n_u32(product, 15));
    const int64x2_t right = vdupq_n_s64(-(int64_t)shift);
    const int64x2_t low = vrshlq_s64(vmull_s32(vget_low_s32(a), vget_low_s32(m)), right);
    const int64x2_t high = vrshlq_s64(vmull_high_s32(a, m), right);
    vst1q_s32(out, vcombine_s32(vmovn_s64(low), vmovn_s64(high)));
}

#endif
