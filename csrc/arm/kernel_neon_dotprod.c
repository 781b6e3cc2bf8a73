/* NEON with the dot-product extension: sdot adds four exact products of int8 to an int32. */
#include "../kernels.h"

#ifdef ZLLM_ARM64
#if defined(__clang__) && __clang_major__ < 16 && !defined(__ARM_FEATURE_DOTPROD)
#define __ARM_FEATURE_DOTPROD 1 /* these clangs declare vdotq only if the whole file may use it */
#endif
#include <arm_neon.h>

#if defined(__linux__)
#include <sys/auxv.h>
#ifndef HWCAP_ASIMDDP
#define HWCAP_ASIMDDP (1 << 20)
#endif
#elif defined(__APPLE__)
#include <sys/sysctl.h>
#endif

#include "../fixed.h"
#include "../tables.h"
#include "elementwise.h"

#define NAME(f) neon_dotprod_##f
#ifdef __clang__
#define TARGET __attribute__((target("dotprod")))
#else
#define TARGET __attribute__((target("arch=armv8.2-a+dotprod")))
#endif
#include "../kernels_template.h"

static int neon_dotprod_supported(void) {
#if defined(__linux__)
    return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
#elif defined(__APPLE__)
    int has = 0;
    size_t size = sizeof has;
    return sysctlbyname("hw.optional.arm.FEAT_DotProd", &has, &size, NULL, 0) == 0 && has;
#else
    return 0;
#endif
}

/* Four columns, which are lane LANE of a. */
#define DOT_STEP(R, G, LANE)                                                                                          \
    for (int k = 0; k < 2 * G; k++) {                                                                                 \
        const int8x16_t w0 = vld1q_s8(w + ((size_t)(k / 2) * cols + i + 4 * LANE) * 8 + k % 2 * 16);                  \
        for (int r = 0; r < R; r++) s[r][k] = vdotq_laneq_s32(s[r][k], w0, a[r], LANE);                               \
    }

#define DOT_TILE(R, G)                                                                                                \
    TARGET static void dot_tile##R(const int8_t *w, uint32_t cols, const int8_t *act, size_t act_stride,              \
                                   int32_t *acc, size_t acc_stride) {                                                 \
        int32x4_t s[R][2 * G];                                                                                        \
        for (int r = 0; r < R; r++)                                                                                   \
            for (int k = 0; k < 2 * G; k++) s[r][k] = vdupq_n_s32(0);                                                 \
        for (uint32_t i = 0; i < cols; i += 16) {                                                                     \
            int8x16_t a[R];                                                                                           \
            for (int r = 0; r < R; r++) a[r] = vld1q_s8(act + r * act_stride + i);                                    \
            DOT_STEP(R, G, 0)                                                                                         \
            DOT_STEP(R, G, 1)                                                                                         \
            DOT_STEP(R, G, 2)                                                                                         \
            DOT_STEP(R, G, 3)                                                                                         \
        }                                                                                                             \
        for (int r = 0; r < R; r++)                                                                                   \
            for (int k = 0; k < 2 * G; k++) vst1q_s32(acc + r * acc_stride + 4 * k, s[r][k]);                         \
    }

DOT_TILE(8, 1)
DOT_TILE(4, 2)
DOT_TILE(2, 4)
DOT_TILE(1, 4)

#define TILES {8, 8, dot_tile8}, {4, 16, dot_tile4}, {2, 32, dot_tile2}, {1, 32, dot_tile1}
#include "shared.h"

const zllm_kernel zllm_kernel_neon_dotprod = KERNEL_TABLE("neon_dotprod", &zllm_operations_generic);
#endif
