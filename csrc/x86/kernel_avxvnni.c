/* AVX-VNNI: the products of AVX-512 VNNI for processors that have vectors of 256 bits only. vpdpbusd multiplies
 * unsigned by signed bytes and adds four products to an int32 without saturating. Weights are stored with 128 added (1
 * to 255), and 128 * sum of the row's activations is taken off again: sum (w + 128) a - 128 sum a = sum w a, each part
 * below 2^31 for up to 2^16 columns. Values are multiplied by vpdpwssd, which is exact like vpmaddwd.
 *
 * Packed matrix, key cache: [rows / 8][cols / 4][8][4]; a 32-byte load holds four columns of eight rows. */
#include "../kernels.h"

#ifdef ZLLM_AVX_VNNI
#include <cpuid.h>

#include "../fixed.h"
#include "../tables.h"

#define NAME(f) avxvnni_##f
#define TARGET __attribute__((target("avx2,avxvnni,bmi2")))
/* By name, with the sum as both input and output, as in kernel_avx512vnni.c. */
#define DPBUSD(sum, w, a) __asm__("%{vex%} vpdpbusd %2, %1, %0" : "+x"(sum) : "x"(w), "x"(a))
#define ADD_PAIRS(sum, a, b) __asm__("%{vex%} vpdpwssd %2, %1, %0" : "+x"(sum) : "x"(a), "x"(b))
#include "vectors256.h"

#define MATCH_KEYS avxvnni_match_keys

static void avxvnni_match_keys(const int8_t *cache, uint32_t slots, uint32_t dim, const int8_t *act, size_t act_stride,
                               const int32_t *act_sum, uint32_t batch, int32_t *acc, size_t acc_stride,
                               const int8_t *next);

#include "../kernels_template.h"

/* Compilers name it later than they know it: leaf 7.1, eax, bit 4. avx2 implies that the system keeps the registers. */
static int avxvnni_supported(void) {
    unsigned eax, ebx, ecx, edx;
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2") &&
           __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) && (eax >> 4 & 1);
}

#define LOAD_ROWS 8u
#include "biased.h"

/* R rows of activations times 8 V rows of weights, R * V sums in registers, of which there are 16. Meanwhile, as many bytes
 * as it reads at a time, `step` after the last ones, are prefetched. */
#define VNNI_TILE(R, V)                                                                                               \
    TARGET static void tile##R(const int8_t *w, uint32_t cols, const int8_t *act, size_t stride,                      \
                               const int32_t *act_sum, int32_t *acc, size_t acc_stride, const int8_t *soon,           \
                               size_t step) {                                                                         \
        const size_t part = (size_t)cols * 8;                                                                         \
        const int8_t *end = w + part;                                                                                 \
        __m256i s[R][V];                                                                                              \
        UNROLL for (int r = 0; r < R; r++)                                                                            \
            UNROLL for (int v = 0; v < V; v++) s[r][v] = _mm256_set1_epi32(-128 * act_sum[r]);                        \
        for (; w < end; w += 32, act += 4, soon += step) {                                                            \
            __m256i m[V];                                                                                             \
            UNROLL for (int v = 0; v < V; v++) m[v] = load(w + v * part);                                             \
            prefetch(soon, 0);                                                                                        \
            if (V > 2) prefetch(soon, 64);                                                                            \
            UNROLL for (int r = 0; r < R; r++) {                                                                      \
                const __m256i a = four_of(act + r * stride);                                                          \
                UNROLL for (int v = 0; v < V; v++) DPBUSD(s[r][v], m[v], a);                                          \
            }                                                                                                         \
        }                                                                                                             \
        UNROLL for (int r = 0; r < R; r++)                                                                            \
            UNROLL for (int v = 0; v < V; v++)                                                                        \
                _mm256_storeu_si256((__m256i *)(acc + r * acc_stride + 8 * v), s[r][v]);                              \
    }

#ifdef __clang__
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 8")
#endif

VNNI_TILE(1, 4)
VNNI_TILE(2, 4)
VNNI_TILE(3, 2)
VNNI_TILE(4, 2)
VNNI_TILE(5, 2)
VNNI_TILE(6, 2)

typedef void tile_t(const int8_t *w, uint32_t cols, const int8_t *act, size_t stride, const int32_t *act_sum,
                    int32_t *acc, size_t acc_stride, const int8_t *soon, size_t step);
static const struct {
    tile_t *multiply;
    uint32_t rows; /* of weights */
} TILES[] = {{NULL, 32}, {tile1, 32}, {tile2, 32}, {tile3, 16}, {tile4, 16}, {tile5, 16}, {tile6, 16}};

/* Rows of activations for one tile: six or fewer, about the same, for tiles of few rows wait for their own sums. */
static uint32_t tile_rows(uint32_t left) { return left >= 12 || left == 6 ? 6 : left > 6 ? (left + 1) / 2 : left; }

static uint32_t tile_count(uint32_t batch) {
    uint32_t count = 0;
    for (; batch > 0; batch -= tile_rows(batch)) count++;
    return count;
}

/* 32 rows of weights stay in the first cache while all activations meet them. Meanwhile what lies `ahead` bytes behind is
 * prefetched, a part by each tile. From row `prefetching` on nothing is prefetched but what is read anyway. */
static void avxvnni_multiply(const int8_t *packed, uint32_t rows, uint32_t cols, const int8_t *act, size_t act_stride,
                             const int32_t *act_sum, uint32_t batch, int32_t *acc, size_t acc_stride, size_t ahead,
                             uint32_t prefetching) {
    const uint32_t tiles = tile_count(batch);
    for (uint32_t j = 0; j < rows; j += 32) {
        const int8_t *w = packed + (size_t)j * cols;
        const int8_t *soon = (const int8_t *)((uintptr_t)w + (j < prefetching ? ahead : 0));
        for (uint32_t r = 0, n; r < batch; r += n) {
            n = tile_rows(batch - r);
            const uint32_t own = TILES[n].rows;
            const size_t part = (size_t)own * cols / tiles;
            for (uint32_t k = 0; k < 32; k += own, soon += part)
                TILES[n].multiply(w + (size_t)k * cols, cols, act + r * act_stride, act_stride, act_sum + r,
                                  acc + r * acc_stride + j + k, acc_stride, soon, 4 * own / tiles);
        }
    }
}

/* The rows that follow are prefetched. */
static void avxvnni_matmul(const int8_t *packed, uint32_t rows, uint32_t cols, const int8_t *act, size_t act_stride,
                           const int32_t *act_sum, uint32_t batch, int32_t *acc, size_t acc_stride) {
    avxvnni_multiply(packed, rows, cols, act, act_stride, act_sum, batch, acc, acc_stride, (size_t)32 * cols,
                     rows > 32 ? rows - 32 : 0);
}

static void avxvnni_match_keys(const int8_t *cache, uint32_t slots, uint32_t dim, const int8_t *act, size_t act_stride,
                               const int32_t *act_sum, uint32_t batch, int32_t *acc, size_t acc_stride,
                               const int8_t *next) {
    avxvnni_multiply(cache, slots, dim, act, act_stride, act_sum, batch, acc, acc_stride,
                     (uintptr_t)next - (uintptr_t)cache, next == NULL ? 0 : slots);
}

const zllm_kernel zllm_kernel_avxvnni = KERNEL_TABLE("avxvnni", &zllm_operations_avx2);
#endif
