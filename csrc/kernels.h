/* The primitives that a kernel supplies, and which of the predictor's operations go with it. Every one is a sum, product, shift or comparison of integers that cannot
 * overflow within the limits that models are checked for (network/), so the order of evaluation, and with it the SIMD
 * width, changes nothing.
 *
 * A packed matrix has its own layout in every kernel, and so have the caches, which grow by a slot a token. 32 slots from
 * a multiple of 32 on are contiguous, so that a cache can be moved by as many.
 */
#ifndef ZLLM_KERNELS_H
#define ZLLM_KERNELS_H

#include "fixed.h"
#include "zllm.h"

#define ZLLM_ROW_ALIGN 32u /* rows of a packed matrix are padded to this with zeros */
#define ZLLM_MAX_COLS 16384u
#define ZLLM_SUM_BLOCK 64u
#define ZLLM_BLEND ((1 << 27) - 1) /* three products of it and 15 bits, shifted by 13, stay below 2^31 */

static inline uint32_t round_up(uint32_t n, uint32_t to) { return (n + to - 1) / to * to; }
static inline uint32_t padded_rows(uint32_t rows) { return round_up(rows, ZLLM_ROW_ALIGN); }

/* Ask for what lies `ahead` bytes behind p, which nobody may read through this pointer, and which need not exist. */
static inline void prefetch(const int8_t *p, size_t ahead) { __builtin_prefetch((const void *)((uintptr_t)p + ahead)); }

struct operations; /* predictor/operations.h */

typedef struct {
    const char *name;
    int (*supported)(void);
    const struct operations *predictor; /* supported wherever the kernel is */

    /* Bytes of a packed matrix; rows is padded to ZLLM_ROW_ALIGN, cols is a multiple of 32. Its rows from j on, a multiple
     * of ZLLM_ROW_ALIGN, start after packed_size(j, cols) bytes and are a packed matrix themselves. */
    size_t (*packed_size)(uint32_t rows, uint32_t cols);
    /* w int8 [rows][cols], row-major -> packed. */
    void (*pack)(const int8_t *w, uint32_t rows, uint32_t cols, int8_t *packed);
    /* acc[r][j] = sum_i packed[j][i] * act[r][i], j < rows, all of the packed matrix with its padding. act_sum[r] = sum_i
     * act[r][i]. */
    void (*matmul)(const int8_t *packed, uint32_t rows, uint32_t cols, const int8_t *act, size_t act_stride,
                   const int32_t *act_sum, uint32_t batch, int32_t *acc, size_t acc_stride);
    /* Key cache: slot t of [slots][dim]. */
    void (*key_row)(const int8_t *key, uint32_t slot, uint32_t dim, int8_t *cache);
    /* As matmul, of the first slots of a key cache (a multiple of ZLLM_ROW_ALIGN). next: as many bytes from here on will
     * be read soon, and a kernel may prefetch them; or NULL. */
    void (*match_keys)(const int8_t *cache, uint32_t slots, uint32_t dim, const int8_t *act, size_t act_stride,
                       const int32_t *act_sum, uint32_t batch, int32_t *acc, size_t acc_stride, const int8_t *next);
    /* Value cache: slot t of [slots][dim]. */
    void (*value_row)(const int8_t *v, uint32_t slot, uint32_t dim, int8_t *cache);
    /* acc[h][d] = sum_t w[h][t] * cache[t][d], t < slots (even); w [heads][stride], none negative, at most 512 of a head
     * not 0. next: as for match_keys. */
    void (*weigh_values)(const int8_t *cache, uint32_t slots, uint32_t dim, const int16_t *w, size_t stride,
                         uint32_t heads, int32_t *acc, const int8_t *next);

    uint32_t (*absmax)(const int32_t *x, uint32_t n);
    /* Rows of n numbers, `stride` apart, to int8, q_stride apart: q[i] = (x[i] * 2^shift * reciprocal + 2^53) >> 54, each
     * row with the shift and reciprocal of its largest (fixed_reciprocal). */
    void (*quantise)(const int32_t *x, size_t stride, uint32_t rows, uint32_t n, int8_t *q, size_t q_stride,
                     quantised_t *found);
    /* out[i] = (acc[i] * ((scale[i] * mantissa) >> 15) + 2^(shift-1)) >> shift. */
    void (*dequantise)(const int32_t *acc, const int16_t *scale, uint32_t n, uint32_t mantissa, uint32_t shift,
                       int32_t *out);
    void (*add)(int32_t *x, const int32_t *y, uint32_t n);
    /* out[i] = (q[i] * scale + 2^(shift-1)) >> shift; scale from 1 to 32767, shift from 1 to 28. */
    void (*spread)(const int8_t *q, uint32_t n, int32_t scale, uint32_t shift, int32_t *out);
    /* x[i] = (by[0] * x[i] + by[1] * y[i] + by[2] * z[i] + 2^12) >> 13, each of the three first limited to ZLLM_BLEND in size,
     * the result to ZLLM_LIMIT; by at most 32767 in size. */
    void (*blend)(int32_t *x, const int32_t *y, const int32_t *z, uint32_t n, const int16_t *by);
    void (*gate)(const int32_t *gate, const int32_t *up, uint32_t n, int32_t *out);
    void (*gelu)(const int32_t *gate, uint32_t n, int32_t *out);
    /* Wide rows. q[i] = (x[i] * 2^shift * reciprocal + 2^46) >> 47 = 128 * high[i] + low[i]; sums of both, and of q^2. */
    void (*quantise_wide)(const int32_t *x, uint32_t n, uint32_t shift, int32_t reciprocal, int8_t *high, int8_t *low,
                          int32_t *sums, uint64_t *squares);
    /* As dequantise, of 128 * high[i] + low[i], and saturating at 2^30; high and low are below 2^28 in size. */
    void (*dequantise_wide)(const int32_t *high, const int32_t *low, const int16_t *scale, uint32_t n, uint32_t mantissa,
                            uint32_t shift, int32_t *out);
    /* With e = exp2 of (score[i] - max) in 2^-15: w[i] = (e * scale[i] + 2^14) >> 15; returns the sum of all e. No scale is
     * negative. */
    uint32_t (*softmax)(const int32_t *score, const int16_t *scale, uint32_t n, int16_t *w);
    /* out[i] = (acc[i] * reciprocal + 2^18) >> 19. */
    void (*divide)(const int32_t *acc, uint32_t n, int32_t reciprocal, int32_t *out);
    /* The coder's weights of the logits: 1 + exp2 of (logit - max) in 2^-26. */
    void (*weights)(const int32_t *logits, uint32_t n, uint32_t *w);
    /* Rotary position code in place on so many heads, one after the other, of 2 * half values each; sincos holds half sines,
     * then half cosines. Each head is first brought to 14 bits: shifted right by excess[h] bits (left if negative). */
    void (*rotate)(int32_t *x, uint32_t heads, uint32_t half, const int32_t *sincos, int32_t *excess);
    /* sums[b] = sum of w[b * ZLLM_SUM_BLOCK ...], ZLLM_SUM_BLOCK of them, each below 2^26. */
    void (*block_sums)(const uint32_t *w, uint32_t blocks, uint32_t *sums);
} zllm_kernel;

extern const struct operations zllm_operations_generic;
extern const zllm_kernel zllm_kernel_generic;
#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#define ZLLM_X86 1
extern const struct operations zllm_operations_avx2;
extern const zllm_kernel zllm_kernel_avx2;
extern const zllm_kernel zllm_kernel_avx512vnni;
#if defined(__clang__) ? __clang_major__ >= 12 : __GNUC__ >= 11
#define ZLLM_AVX_VNNI 1 /* the compiler knows it */
extern const zllm_kernel zllm_kernel_avxvnni;
#endif
#elif defined(__aarch64__) && defined(__ARM_NEON) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define ZLLM_ARM64 1
extern const zllm_kernel zllm_kernel_neon;
extern const zllm_kernel zllm_kernel_neon_dotprod;
#elif defined(__wasm_simd128__)
#define ZLLM_SIMD128 1
extern const zllm_kernel zllm_kernel_simd128;
#endif

/* The kernel of that name, or the best one here for NULL. */
zllm_result zllm_kernel_find(const char *name, const zllm_kernel **out);

/* Whether every primitive, and every operation of the predictor's, gives the integers that the generic kernel gives, on
 * vectors made from `seed`; and whether the operations alone do. */
int zllm_kernel_matches(const zllm_kernel *k, uint64_t seed);
int zllm_operations_match(const struct operations *o, uint64_t seed);
/* ZLLM_OK if they matched for seed 0, now or earlier in this process; else ZLLM_E_KERNEL_WRONG. */
zllm_result zllm_kernel_trusted(const zllm_kernel *k);
zllm_result zllm_operations_trusted(const struct operations *o);

#endif
