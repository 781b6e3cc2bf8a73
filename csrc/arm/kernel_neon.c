/* NEON without extensions: smull and smlal add two products of int8 in an int16, which is exact (2 * 127^2 = 32258;
 * three would not fit), and sadalp adds neighbours to int32: sixteen products in three instructions. */
#include "../kernels.h"

#ifdef ZLLM_ARM64
#include <arm_neon.h>

#include "../fixed.h"
#include "../tables.h"
#include "elementwise.h"

#define NAME(f) neon_##f
#define TARGET
#include "../kernels_template.h"

static int neon_supported(void) { return 1; } /* AdvSIMD is part of what every compiler means by aarch64 */

/* Adds eight columns of four rows to the sums of two rows each, two parts of a row's sum side by side. */
static inline void add_columns(int32x4_t *s, int8x16_t w0, int8x16_t w1, int8x16_t a0, int8x16_t a1) {
    int16x8_t low = vmull_s8(vget_low_s8(w0), vget_low_s8(a0)), high = vmull_high_s8(w0, a0);
    low = vmlal_s8(low, vget_low_s8(w1), vget_low_s8(a1));
    high = vmlal_high_s8(high, w1, a1);
    s[0] = vpadalq_s16(s[0], low);
    s[1] = vpadalq_s16(s[1], high);
}

#ifdef __clang__
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 4")
#endif

/* R activation rows times eight packed rows, eight columns at a time. */
#define NEON_TILE(R)                                                                                                  \
    static void neon_tile##R(const int8_t *w, uint32_t cols, const int8_t *act, size_t act_stride, int32_t *acc,      \
                             size_t acc_stride) {                                                                     \
        int32x4_t s[R][4];                                                                                            \
        UNROLL for (int r = 0; r < R; r++) s[r][0] = s[r][1] = s[r][2] = s[r][3] = vdupq_n_s32(0);                    \
        for (uint32_t i = 0; i < cols; i += 8, w += 64) {                                                             \
            const int8x16_t w0 = vld1q_s8(w), w1 = vld1q_s8(w + 16), w2 = vld1q_s8(w + 32), w3 = vld1q_s8(w + 48);    \
            UNROLL for (int r = 0; r < R; r++) {                                                                      \
                const int32x2_t a = vreinterpret_s32_s8(vld1_s8(act + r * act_stride + i));                           \
                const int8x16_t a0 = vreinterpretq_s8_s32(vdupq_lane_s32(a, 0));                                      \
                const int8x16_t a1 = vreinterpretq_s8_s32(vdupq_lane_s32(a, 1));                                      \
                add_columns(&s[r][0], w0, w2, a0, a1);                                                                \
                add_columns(&s[r][2], w1, w3, a0, a1);                                                                \
            }                                                                                                         \
        }                                                                                                             \
        UNROLL for (int r = 0; r < R; r++) {                                                                          \
            vst1q_s32(acc + r * acc_stride, vpaddq_s32(s[r][0], s[r][1]));                                            \
            vst1q_s32(acc + r * acc_stride + 4, vpaddq_s32(s[r][2], s[r][3]));                                        \
        }                                                                                                             \
    }

NEON_TILE(4)
NEON_TILE(2)
NEON_TILE(1)

#define TILES {4, 8, neon_tile4}, {2, 8, neon_tile2}, {1, 8, neon_tile1}
#include "shared.h"

const zllm_kernel zllm_kernel_neon = KERNEL_TABLE("neon", &zllm_operations_generic);
#endif
