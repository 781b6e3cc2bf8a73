/* AVX-512 VNNI: vpdpbusd multiplies unsigned by signed bytes and adds four products to an int32 without saturating.
 * Weights are stored with 128 added (1 to 255), and 128 * sum of the row's activations is taken off again:
 * sum (w + 128) a - 128 sum a = sum w a, each part below 2^31 for up to 2^16 columns.
 *
 * Packed matrix: [rows / 16][cols / 4][16][4]; a 64-byte load holds four columns of sixteen rows.
 * Value cache: [slots / 2][dim][2], widened to int16 for vpdpwssd, which is exact like vpmaddwd. */
#include "../kernels.h"

#ifdef ZLLM_X86
#include <immintrin.h>
#include <string.h>

#include "../fixed.h"
#include "../tables.h"

#define NAME(f) avx512vnni_##f
#define TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,bmi2")))
#include "../kernels_template.h"

static int avx512vnni_supported(void) {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("bmi2");
}

static void avx512vnni_pack_row(const int8_t *w, uint32_t row, uint32_t cols, int8_t *packed) {
    uint8_t *p = (uint8_t *)packed + (size_t)(row / 16) * 16 * cols + (row % 16) * 4;
    for (uint32_t i = 0; i < cols; i += 4)
        for (uint32_t k = 0; k < 4; k++) p[(size_t)i * 16 + k] = (uint8_t)(w[i + k] + 128);
}

static void avx512vnni_pack(const int8_t *w, uint32_t rows, uint32_t cols, int8_t *packed) {
    const size_t padded = (rows + ZLLM_ROW_ALIGN - 1) / ZLLM_ROW_ALIGN * ZLLM_ROW_ALIGN;
    memset(packed, 128, padded * cols);
    for (uint32_t j = 0; j < rows; j++) avx512vnni_pack_row(w + (size_t)j * cols, j, cols, packed);
}

#define VNNI_BLOCK(R)                                                                                                 \
    TARGET static void vnni_block##R(const int8_t *w, uint32_t cols, const int8_t *act, size_t act_stride,            \
                                     const int32_t *act_sum, int32_t *acc, size_t acc_stride) {                       \
        __m512i s[R][2];                                                                                              \
        for (int r = 0; r < R; r++) s[r][0] = s[r][1] = _mm512_set1_epi32(-128 * act_sum[r]);                         \
        for (uint32_t i = 0; i < cols; i += 4) {                                                                      \
            const __m512i w0 = _mm512_loadu_si512(w + (size_t)i * 16);                                                \
            const __m512i w1 = _mm512_loadu_si512(w + ((size_t)cols + i) * 16);                                       \
            for (int r = 0; r < R; r++) {                                                                             \
                int32_t four;                                                                                         \
                memcpy(&four, act + r * act_stride + i, sizeof four);                                                 \
                const __m512i a = _mm512_set1_epi32(four);                                                            \
                s[r][0] = _mm512_dpbusd_epi32(s[r][0], w0, a);                                                        \
                s[r][1] = _mm512_dpbusd_epi32(s[r][1], w1, a);                                                        \
            }                                                                                                         \
        }                                                                                                             \
        for (int r = 0; r < R; r++) {                                                                                 \
            _mm512_storeu_si512(acc + r * acc_stride, s[r][0]);                                                       \
            _mm512_storeu_si512(acc + r * acc_stride + 16, s[r][1]);                                                  \
        }                                                                                                             \
    }

VNNI_BLOCK(1)
VNNI_BLOCK(2)
VNNI_BLOCK(4)
VNNI_BLOCK(8)

TARGET static void avx512vnni_matmul(const int8_t *packed, uint32_t rows, uint32_t cols, const int8_t *act,
                                     size_t act_stride, const int32_t *act_sum, uint32_t batch, int32_t *acc,
                                     size_t acc_stride) {
    for (uint32_t j = 0; j < rows; j += 32) {
        const int8_t *w = packed + (size_t)j * cols;
        uint32_t r = 0;
        for (; r + 8 <= batch; r += 8)
            vnni_block8(w, cols, act + r * act_stride, act_stride, act_sum + r, acc + r * acc_stride + j, acc_stride);
        if (r + 4 <= batch) {
            vnni_block4(w, cols, act + r * act_stride, act_stride, act_sum + r, acc + r * acc_stride + j, acc_stride);
            r += 4;
        }
        if (r + 2 <= batch) {
            vnni_block2(w, cols, act + r * act_stride, act_stride, act_sum + r, acc + r * acc_stride + j, acc_stride);
            r += 2;
        }
        if (r < batch)
            vnni_block1(w, cols, act + r * act_stride, act_stride, act_sum + r, acc + r * acc_stride + j, acc_stride);
    }
}

static void avx512vnni_value_row(const int8_t *v, uint32_t slot, uint32_t dim, int8_t *cache) {
    int8_t *p = cache + (size_t)(slot / 2) * 2 * dim + slot % 2;
    for (uint32_t d = 0; d < dim; d++) p[(size_t)d * 2] = v[d];
}

TARGET static void avx512vnni_weigh_values(const int8_t *cache, uint32_t slots, uint32_t dim, const int16_t *w,
                                           size_t stride, uint32_t heads, int32_t *acc) {
    for (uint32_t h = 0; h < heads; h++)
        for (uint32_t d = 0; d < dim; d += 32) {
            __m512i s0 = _mm512_setzero_si512(), s1 = s0;
            for (uint32_t t = 0; t < slots; t += 2) {
                int32_t both;
                memcpy(&both, w + h * stride + t, sizeof both);
                const __m512i a = _mm512_set1_epi32(both);
                const int8_t *v = cache + ((size_t)t / 2 * dim + d) * 2;
                const __m512i v0 = _mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i *)v));
                const __m512i v1 = _mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i *)(v + 32)));
                s0 = _mm512_dpwssd_epi32(s0, v0, a);
                s1 = _mm512_dpwssd_epi32(s1, v1, a);
            }
            _mm512_storeu_si512(acc + (size_t)h * dim + d, s0);
            _mm512_storeu_si512(acc + (size_t)h * dim + d + 16, s1);
        }
}

const zllm_kernel zllm_kernel_avx512vnni = KERNEL_TABLE("avx512vnni");
#endif
