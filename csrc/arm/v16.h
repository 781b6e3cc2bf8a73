/* Vectors of eight 16-bit numbers for kernels_template.h. */
#ifndef ZLLM_ARM_V16_H
#define ZLLM_ARM_V16_H

#include <arm_neon.h>

#define V16 int16x8_t
#define V16_LANES 8u
#define V16_SET(x) vdupq_n_s16(x)
#define V16_ADD(a, b) vaddq_s16(a, b)
#define V16_SUB(a, b) vsubq_s16(a, b)
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

#endif
