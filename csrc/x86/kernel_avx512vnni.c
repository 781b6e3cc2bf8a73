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
#define V16 __m512i
#define V16_LANES 32u
#define V16_SET(x) _mm512_set1_epi16(x)
#define V16_ADD(a, b) _mm512_add_epi16(a, b)
#define V16_SUB(a, b) _mm512_sub_epi16(a, b)
#define V16_MIN(a, b) _mm512_min_epi16(a, b)
#define V16_ABS(a) _mm512_abs_epi16(a)
#define V16_SHIFT_LEFT(a, s) _mm512_slli_epi16(a, s)
#define V16_MULTIPLY(a, b) _mm512_mulhrs_epi16(a, b)
#define V16_IF_NEGATIVE(x, a, b) _mm512_mask_mov_epi16(b, _mm512_movepi16_mask(x), a)
#define V16_CLAMP(p) avx512vnni_clamp(p)
#define V16_PRODUCTS(a, b, p) avx512vnni_products(a, b, p)

/* Packing takes 4 of each operand in turn, and unpacking undoes it: the order in between does not matter. */
TARGET static inline __m512i avx512vnni_clamp(const int32_t *p) {
    return _mm512_max_epi16(_mm512_packs_epi32(_mm512_loadu_si512(p), _mm512_loadu_si512(p + 16)),
                            _mm512_set1_epi16(-32767));
}

TARGET static inline void avx512vnni_products(__m512i a, __m512i b, int32_t *p) {
    const __m512i low = _mm512_mullo_epi16(a, b), high = _mm512_mulhi_epi16(a, b);
    _mm512_storeu_si512(p, _mm512_unpacklo_epi16(low, high));
    _mm512_storeu_si512(p + 16, _mm512_unpackhi_epi16(low, high));
}

#define ABSMAX avx512vnni_absmax32
#define QUANTISE avx512vnni_quantise16
#define DEQUANTISE avx512vnni_dequantise16
#define DEQUANTISE_LANES 16u
#define LARGEST avx512vnni_largest32
#define SOFTMAX avx512vnni_softmax32
#define WEIGHTS avx512vnni_all_weights
#define MATCH_KEYS avx512vnni_match_keys

/* Products of the even and of the odd elements, shifted so that a result is in the lower half of 64 bits, or rotated so that
 * it is in the upper half, back in one vector (see low_bits in fixed.h). */
TARGET static inline __m512i avx512vnni_scaled(__m512i a, __m512i m, __m512i m_odd, __m512i half, uint32_t shift) {
    const __m128i count = _mm_cvtsi32_si128((int32_t)shift);
    const __m512i even = _mm512_mul_epi32(a, m), odd = _mm512_mul_epi32(_mm512_srli_epi64(a, 32), m_odd);
    const __m512i low = _mm512_srl_epi64(_mm512_add_epi64(even, half), count);
    const __m512i turn = _mm512_set1_epi64(32 - (int64_t)shift);
    return _mm512_mask_mov_epi32(low, 0xaaaa, _mm512_rolv_epi64(_mm512_add_epi64(odd, half), turn));
}

TARGET static inline int32_t avx512vnni_total(__m128i v) {
    v = _mm_add_epi32(v, _mm_shuffle_epi32(v, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(v, _mm_shuffle_epi32(v, 0xb1)));
}

/* Whole thirty-twos of a row; returns how many elements that is. */
TARGET static inline uint32_t avx512vnni_absmax32(const int32_t *x, uint32_t n, int32_t *largest) {
    __m512i a = _mm512_setzero_si512(), b = a;
    uint32_t i = 0;
    for (; i + 32 <= n; i += 32) {
        a = _mm512_max_epi32(a, _mm512_abs_epi32(_mm512_loadu_si512(x + i)));
        b = _mm512_max_epi32(b, _mm512_abs_epi32(_mm512_loadu_si512(x + i + 16)));
    }
    *largest = _mm512_reduce_max_epi32(_mm512_max_epi32(a, b));
    return i;
}

/* Whole sixteens of a row; returns how many elements that is. Of a result's 10 bits the lower 8 are the number. */
TARGET static inline uint32_t avx512vnni_quantise16(const int32_t *x, uint32_t n, uint32_t shift, int32_t reciprocal,
                                                    int8_t *q, int32_t *sum, int32_t *squares) {
    const __m128i count = _mm_cvtsi32_si128((int32_t)shift);
    const __m512i c = _mm512_set1_epi32(reciprocal), half = _mm512_set1_epi64((int64_t)1 << 53);
    __m128i s = _mm_setzero_si128(), ss = s;
    uint32_t i = 0;
    for (; i + 16 <= n; i += 16) {
        const __m512i y = _mm512_sll_epi32(_mm512_loadu_si512(x + i), count);
        const __m128i v = _mm512_cvtepi32_epi8(avx512vnni_scaled(y, c, c, half, 54)), size = _mm_abs_epi8(v);
        _mm_storeu_si128((__m128i *)(q + i), v);
        s = _mm_dpbusd_epi32(s, _mm_set1_epi8(1), v);
        ss = _mm_dpbusd_epi32(ss, size, size);
    }
    *sum += avx512vnni_total(s);
    *squares += avx512vnni_total(ss);
    return i;
}

TARGET static inline void avx512vnni_dequantise16(const int32_t *acc, const int16_t *scale, uint32_t mantissa,
                                                  uint32_t shift, int32_t *out) {
    const __m512i s = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)scale));
    const __m512i m = _mm512_srli_epi32(_mm512_mullo_epi32(s, _mm512_set1_epi32((int32_t)mantissa)), 15);
    _mm512_storeu_si512(out, avx512vnni_scaled(_mm512_loadu_si512(acc), m, _mm512_srli_epi64(m, 32),
                                               _mm512_set1_epi64((int64_t)1 << (shift - 1)), shift));
}

/* exp2_fraction of fixed.h for 32 numbers, in 16 bits: f * p / 2^15 is the upper half of 2 f * p, and 2 f has 16 bits. */
TARGET static inline __m512i avx512vnni_fractions(__m512i a, __m512i b) {
    const __m512i even = _mm512_set_epi16(62, 60, 58, 56, 54, 52, 50, 48, 46, 44, 42, 40, 38, 36, 34, 32, 30, 28, 26, 24,
                                          22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
    const __m512i f = _mm512_and_si512(_mm512_permutex2var_epi16(a, even, b), _mm512_set1_epi16(-2));
    __m512i p = _mm512_sub_epi16(_mm512_set1_epi16(7575), _mm512_mulhi_epu16(f, _mm512_set1_epi16(1298)));
    p = _mm512_sub_epi16(_mm512_set1_epi16(22662), _mm512_mulhi_epu16(f, p));
    return _mm512_sub_epi16(_mm512_set1_epi16(32767), _mm512_mulhi_epu16(f, p));
}

/* Whole thirty-twos; returns how many elements that is. */
TARGET static inline uint32_t avx512vnni_largest32(const int32_t *x, uint32_t n, int32_t *largest) {
    __m512i a = _mm512_set1_epi32(*largest), b = a;
    uint32_t i = 0;
    for (; i + 32 <= n; i += 32) {
        a = _mm512_max_epi32(a, _mm512_loadu_si512(x + i));
        b = _mm512_max_epi32(b, _mm512_loadu_si512(x + i + 16));
    }
    *largest = _mm512_reduce_max_epi32(_mm512_max_epi32(a, b));
    return i;
}

/* exp2_15: a shift by 16 or more leaves nothing, as one by 31. Whole thirty-twos; returns how many elements that is. */
TARGET static inline uint32_t avx512vnni_softmax32(const int32_t *score, const int16_t *scale, uint32_t n, int32_t largest,
                                                   int16_t *w, uint32_t *sum) {
    const __m512i odd = _mm512_set_epi16(63, 61, 59, 57, 55, 53, 51, 49, 47, 45, 43, 41, 39, 37, 35, 33, 31, 29, 27, 25,
                                         23, 21, 19, 17, 15, 13, 11, 9, 7, 5, 3, 1);
    const __m512i m = _mm512_set1_epi32(largest);
    __m512i s = _mm512_setzero_si512();
    uint32_t i = 0;
    for (; i + 32 <= n; i += 32) {
        const __m512i a = _mm512_sub_epi32(m, _mm512_loadu_si512(score + i));
        const __m512i b = _mm512_sub_epi32(m, _mm512_loadu_si512(score + i + 16));
        const __m512i e = _mm512_srlv_epi16(avx512vnni_fractions(a, b), _mm512_permutex2var_epi16(a, odd, b));
        _mm512_storeu_si512(w + i, _mm512_mulhrs_epi16(e, _mm512_loadu_si512(scale + i)));
        s = _mm512_add_epi32(s, _mm512_madd_epi16(e, _mm512_set1_epi16(1)));
    }
    *sum += (uint32_t)_mm512_reduce_add_epi32(s);
    return i;
}

/* 1 + (p * 2^11 >> n) for 16 of the fractions. */
TARGET static inline __m512i avx512vnni_weighed(__m256i p, __m512i d) {
    const __m512i wide = _mm512_slli_epi32(_mm512_cvtepu16_epi32(p), 11);
    return _mm512_add_epi32(_mm512_srlv_epi32(wide, _mm512_srli_epi32(d, 16)), _mm512_set1_epi32(1));
}

/* exp2_weight. Whole thirty-twos; returns how many elements that is. */
TARGET static inline uint32_t avx512vnni_all_weights(const int32_t *logits, uint32_t n, int32_t largest, uint32_t *w) {
    const __m512i m = _mm512_set1_epi32(largest);
    uint32_t i = 0;
    for (; i + 32 <= n; i += 32) {
        const __m512i a = _mm512_sub_epi32(m, _mm512_loadu_si512(logits + i));
        const __m512i b = _mm512_sub_epi32(m, _mm512_loadu_si512(logits + i + 16));
        const __m512i p = avx512vnni_fractions(a, b);
        _mm512_storeu_si512(w + i, avx512vnni_weighed(_mm512_castsi512_si256(p), a));
        _mm512_storeu_si512(w + i + 16, avx512vnni_weighed(_mm512_extracti64x4_epi64(p, 1), b));
    }
    return i;
}

#include "../kernels_template.h"

static int avx512vnni_supported(void) {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2");
}

#define LOAD_ROWS 16u
#include "biased.h"

/* By name, with the sum as both input and output: gcc 12 copies sums from register to register, or to the stack, for
 * arrays of sums and for the intrinsic, and takes 1.4 times as long. */
#define DPBUSD(sum, w, a) __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(w), "v"(a))
#define DPWSSD(sum, v, w) __asm__("vpdpwssd %2, %1, %0" : "+v"(sum) : "v"(v), "v"(w))

TARGET static inline __m512i four_bytes(const void *p) {
    int32_t four;
    memcpy(&four, p, sizeof four);
    return _mm512_set1_epi32(four);
}

/* Row r: sums x and y of 16 packed rows each. */
#define ROW_START(r) __m512i x##r = _mm512_set1_epi32(-128 * act_sum[r]), y##r = x##r
#define ROW_ADD(r, p)                                                                                                 \
    do {                                                                                                              \
        const __m512i a = four_bytes(p);                                                                              \
        DPBUSD(x##r, w0, a);                                                                                          \
        DPBUSD(y##r, w1, a);                                                                                          \
    } while (0)
#define ROW_END(r)                                                                                                    \
    do {                                                                                                              \
        _mm512_storeu_si512(acc + r * acc_stride, x##r);                                                              \
        _mm512_storeu_si512(acc + r * acc_stride + 16, y##r);                                                         \
    } while (0)

#define VNNI_BLOCK(R, START, ADD, END)                                                                                \
    TARGET static void vnni_block##R(const int8_t *w, uint32_t cols, const int8_t *act, size_t stride,                \
                                     const int32_t *act_sum, int32_t *acc, size_t acc_stride, const int8_t *soon,     \
                                     size_t step) {                                                                   \
        START;                                                                                                        \
        const int8_t *v = w + (size_t)cols * 16, *end = v, *high = act + 4 * stride;                                  \
        for (; w < end; w += 64, v += 64, act += 4, high += 4, soon += step) {                                        \
            const __m512i w0 = _mm512_loadu_si512(w), w1 = _mm512_loadu_si512(v);                                     \
            prefetch(soon, 0);                                                                                        \
            prefetch(soon, 64);                                                                                       \
            ADD;                                                                                                      \
        }                                                                                                             \
        (void)high;                                                                                                   \
        END;                                                                                                          \
    }

/* Everything for 1, 2, ... rows; a row's activations are reached without multiplying. */
#define START2 ROW_START(0); ROW_START(1)
#define START3 START2; ROW_START(2)
#define START4 START3; ROW_START(3)
#define START5 START4; ROW_START(4)
#define START6 START5; ROW_START(5)
#define START7 START6; ROW_START(6)
#define START8 START7; ROW_START(7)
#define ADD2 ROW_ADD(0, act); ROW_ADD(1, act + stride)
#define ADD3 ADD2; ROW_ADD(2, act + 2 * stride)
#define ADD4 ADD3; ROW_ADD(3, act + 3 * stride)
#define ADD5 ADD4; ROW_ADD(4, high)
#define ADD6 ADD5; ROW_ADD(5, high + stride)
#define ADD7 ADD6; ROW_ADD(6, high + 2 * stride)
#define ADD8 ADD7; ROW_ADD(7, high + 3 * stride)
#define END2 ROW_END(0); ROW_END(1)
#define END3 END2; ROW_END(2)
#define END4 END3; ROW_END(3)
#define END5 END4; ROW_END(4)
#define END6 END5; ROW_END(5)
#define END7 END6; ROW_END(6)
#define END8 END7; ROW_END(7)

VNNI_BLOCK(2, START2, ADD2, END2)
VNNI_BLOCK(3, START3, ADD3, END3)
VNNI_BLOCK(4, START4, ADD4, END4)
VNNI_BLOCK(5, START5, ADD5, END5)
VNNI_BLOCK(6, START6, ADD6, END6)
VNNI_BLOCK(7, START7, ADD7, END7)
VNNI_BLOCK(8, START8, ADD8, END8)

typedef void block_t(const int8_t *w, uint32_t cols, const int8_t *act, size_t stride, const int32_t *act_sum,
                     int32_t *acc, size_t acc_stride, const int8_t *soon, size_t step);
static block_t *const BLOCKS[] = {NULL,        NULL,        vnni_block2, vnni_block3, vnni_block4,
                                  vnni_block5, vnni_block6, vnni_block7, vnni_block8};

/* Few rows of activations, 64 of weights: as many chains of sums as it takes to hide the latency of each. */
#define WIDE_START(r) ROW_START(r); __m512i z##r = x##r, u##r = x##r
#define WIDE_ADD(r, p)                                                                                                \
    do {                                                                                                              \
        const __m512i a = four_bytes(p);                                                                              \
        DPBUSD(x##r, w0, a);                                                                                          \
        DPBUSD(y##r, w1, a);                                                                                          \
        DPBUSD(z##r, w2, a);                                                                                          \
        DPBUSD(u##r, w3, a);                                                                                          \
    } while (0)
#define WIDE_END(r)                                                                                                   \
    do {                                                                                                              \
        ROW_END(r);                                                                                                   \
        _mm512_storeu_si512(acc + r * acc_stride + 32, z##r);                                                         \
        _mm512_storeu_si512(acc + r * acc_stride + 48, u##r);                                                         \
    } while (0)
#define VNNI_WIDE(R, START, ADD, END)                                                                                 \
    TARGET static void vnni_wide##R(const int8_t *w, uint32_t cols, const int8_t *act, size_t stride,                 \
                                    const int32_t *act_sum, int32_t *acc, size_t acc_stride, size_t ahead) {          \
        START;                                                                                                        \
        const size_t part = (size_t)cols * 16;                                                                        \
        const int8_t *v = w + 2 * part, *end = w + part;                                                              \
        for (; w < end; w += 64, v += 64, act += 4) {                                                                 \
            const __m512i w0 = _mm512_loadu_si512(w), w1 = _mm512_loadu_si512(w + part);                              \
            const __m512i w2 = _mm512_loadu_si512(v), w3 = _mm512_loadu_si512(v + part);                              \
            prefetch(w, ahead);                                                                                       \
            prefetch(w + part, ahead);                                                                                \
            prefetch(v, ahead);                                                                                       \
            prefetch(v + part, ahead);                                                                                \
            ADD;                                                                                                      \
        }                                                                                                             \
        END;                                                                                                          \
    }

VNNI_WIDE(3, WIDE_START(0); WIDE_START(1); WIDE_START(2),
          WIDE_ADD(0, act); WIDE_ADD(1, act + stride); WIDE_ADD(2, act + 2 * stride),
          WIDE_END(0); WIDE_END(1); WIDE_END(2))
VNNI_WIDE(4, WIDE_START(0); WIDE_START(1); WIDE_START(2); WIDE_START(3),
          WIDE_ADD(0, act); WIDE_ADD(1, act + stride); WIDE_ADD(2, act + 2 * stride); WIDE_ADD(3, act + 3 * stride),
          WIDE_END(0); WIDE_END(1); WIDE_END(2); WIDE_END(3))

/* One row of activations: four chains of sums instead of two, and as many streams of weights. */
TARGET static void vnni_single(const int8_t *w, uint32_t cols, const int8_t *act, int32_t act_sum, int32_t *acc,
                               size_t ahead) {
    __m512i x0 = _mm512_set1_epi32(-128 * act_sum), y0 = x0, x1 = _mm512_setzero_si512(), y1 = x1;
    const int8_t *v = w + (size_t)cols * 16, *end = v;
    for (; w < end; w += 128, v += 128, act += 8) {
        const __m512i a0 = four_bytes(act), a1 = four_bytes(act + 4);
        prefetch(w, ahead);
        prefetch(v, ahead);
        prefetch(w + 64, ahead);
        prefetch(v + 64, ahead);
        DPBUSD(x0, _mm512_loadu_si512(w), a0);
        DPBUSD(y0, _mm512_loadu_si512(v), a0);
        DPBUSD(x1, _mm512_loadu_si512(w + 64), a1);
        DPBUSD(y1, _mm512_loadu_si512(v + 64), a1);
    }
    _mm512_storeu_si512(acc, _mm512_add_epi32(x0, x1));
    _mm512_storeu_si512(acc + 16, _mm512_add_epi32(y0, y1));
}

/* Blocks of n rows: eight or fewer, about the same, for blocks of few rows wait for their own sums. */
static uint32_t block_rows(uint32_t left) { return left >= 16 || left == 8 ? 8 : left > 8 ? (left + 1) / 2 : left; }

static uint32_t block_count(uint32_t batch) {
    uint32_t count = 0;
    for (; batch > 0; batch -= block_rows(batch)) count++;
    return count;
}

/* Packed rows are read once and met by all activation rows. Meanwhile what lies `ahead` bytes behind is prefetched from a far
 * cache, or from memory: a part by each block of activation rows, for a core waits when it has asked for too many lines at
 * once. From row `prefetching` on nothing is prefetched but what is read anyway. */
TARGET static void vnni_multiply(const int8_t *packed, uint32_t rows, uint32_t cols, const int8_t *act, size_t act_stride,
                                 const int32_t *act_sum, uint32_t batch, int32_t *acc, size_t acc_stride, size_t ahead,
                                 uint32_t prefetching) {
    const uint32_t blocks = block_count(batch);
    uint32_t j = 0;
    for (; (batch == 3 || batch == 4) && j + 64 <= rows; j += 64) {
        const int8_t *w = packed + (size_t)j * cols;
        const size_t next = j < prefetching ? ahead : 0;
        if (batch == 3) vnni_wide3(w, cols, act, act_stride, act_sum, acc + j, acc_stride, next);
        else vnni_wide4(w, cols, act, act_stride, act_sum, acc + j, acc_stride, next);
    }
    for (; j < rows; j += 32) {
        const int8_t *w = packed + (size_t)j * cols;
        const size_t next = j < prefetching ? ahead : 0, part = (size_t)32 * cols / blocks;
        const int8_t *soon = (const int8_t *)((uintptr_t)w + next);
        for (uint32_t r = 0, n; r < batch; r += n, soon += part) {
            const int8_t *a = act + r * act_stride;
            int32_t *out = acc + r * acc_stride + j;
            n = block_rows(batch - r);
            if (n > 1) BLOCKS[n](w, cols, a, act_stride, act_sum + r, out, acc_stride, soon, 128 / blocks);
            else vnni_single(w, cols, a, act_sum[r], out, next);
        }
    }
}

/* The rows that follow are prefetched. */
static void avx512vnni_matmul(const int8_t *packed, uint32_t rows, uint32_t cols, const int8_t *act, size_t act_stride,
                              const int32_t *act_sum, uint32_t batch, int32_t *acc, size_t acc_stride) {
    const uint32_t step = batch == 3 || batch == 4 ? 64 : 32;
    vnni_multiply(packed, rows, cols, act, act_stride, act_sum, batch, acc, acc_stride, (size_t)step * cols,
                  rows > step ? rows - step : 0);
}

static void avx512vnni_match_keys(const int8_t *cache, uint32_t slots, uint32_t dim, const int8_t *act,
                                  size_t act_stride, const int32_t *act_sum, uint32_t batch, int32_t *acc,
                                  size_t acc_stride, const int8_t *next) {
    vnni_multiply(cache, slots, dim, act, act_stride, act_sum, batch, acc, acc_stride,
                  (uintptr_t)next - (uintptr_t)cache, next == NULL ? 0 : slots);
}

/* A slot's byte is the lower or the upper one of 16 bits; the other one stays. */
TARGET static void avx512vnni_value_row(const int8_t *v, uint32_t slot, uint32_t dim, int8_t *cache) {
    int8_t *p = cache + (size_t)(slot / 2) * 2 * dim;
    const __mmask64 mine = slot % 2 ? 0xaaaaaaaaaaaaaaaau : 0x5555555555555555u;
    for (uint32_t d = 0; d < dim; d += 32) {
        __m512i wide = _mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i *)(v + d)));
        if (slot % 2) wide = _mm512_slli_epi16(wide, 8);
        _mm512_mask_storeu_epi8(p + (size_t)d * 2, mine, wide);
    }
}

/* Rows of weights and 32 dimensions: a pair of slots is widened once for all rows. */
#define HEAD_START(r) __m512i x##r = _mm512_setzero_si512(), y##r = x##r
#define HEAD_ADD(r, p)                                                                                                \
    do {                                                                                                              \
        const __m512i a = four_bytes(p);                                                                              \
        DPWSSD(x##r, v0, a);                                                                                          \
        DPWSSD(y##r, v1, a);                                                                                          \
    } while (0)
#define HEAD_END(r)                                                                                                   \
    do {                                                                                                              \
        _mm512_storeu_si512(acc + (size_t)r * dim, x##r);                                                             \
        _mm512_storeu_si512(acc + (size_t)r * dim + 16, y##r);                                                        \
    } while (0)
#define PAIR_OF_SLOTS(v)                                                                                              \
    const __m512i v0 = _mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i *)(v)));                                \
    const __m512i v1 = _mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i *)((v) + 32)))

#define VNNI_VALUES(R, START, ADD, END)                                                                               \
    TARGET static void vnni_values##R(const int8_t *v, uint32_t slots, uint32_t dim, const int16_t *w, size_t stride, \
                                      int32_t *acc, const int8_t *next) {                                             \
        START;                                                                                                        \
        const int16_t *high = w + 4 * stride;                                                                         \
        for (uint32_t t = 0; t < slots; t += 2, v += (size_t)2 * dim, w += 2, high += 2, next += 64) {                \
            PAIR_OF_SLOTS(v);                                                                                         \
            prefetch(next, 0);                                                                                        \
            ADD;                                                                                                      \
        }                                                                                                             \
        (void)high;                                                                                                   \
        END;                                                                                                          \
    }

#define HEADS_START3 HEAD_START(0); HEAD_START(1); HEAD_START(2)
#define HEADS_START4 HEADS_START3; HEAD_START(3)
#define HEADS_START8 HEADS_START4; HEAD_START(4); HEAD_START(5); HEAD_START(6); HEAD_START(7)
#define HEADS_ADD3 HEAD_ADD(0, w); HEAD_ADD(1, w + stride); HEAD_ADD(2, w + 2 * stride)
#define HEADS_ADD4 HEADS_ADD3; HEAD_ADD(3, w + 3 * stride)
#define HEADS_ADD8                                                                                                    \
    HEADS_ADD4; HEAD_ADD(4, high); HEAD_ADD(5, high + stride); HEAD_ADD(6, high + 2 * stride); HEAD_ADD(7, high + 3 * stride)
#define HEADS_END3 HEAD_END(0); HEAD_END(1); HEAD_END(2)
#define HEADS_END4 HEADS_END3; HEAD_END(3)
#define HEADS_END8 HEADS_END4; HEAD_END(4); HEAD_END(5); HEAD_END(6); HEAD_END(7)

VNNI_VALUES(3, HEADS_START3, HEADS_ADD3, HEADS_END3)
VNNI_VALUES(4, HEADS_START4, HEADS_ADD4, HEADS_END4)
VNNI_VALUES(8, HEADS_START8, HEADS_ADD8, HEADS_END8)

VNNI_VALUES(1, HEAD_START(0), HEAD_ADD(0, w), HEAD_END(0))

/* Each of the passes asks for its share of what is next. Without any, or when others have asked, for what it reads
 * itself. */
TARGET static void avx512vnni_weigh_values(const int8_t *cache, uint32_t slots, uint32_t dim, const int16_t *w,
                                           size_t stride, uint32_t heads, int32_t *acc, const int8_t *next) {
    for (uint32_t d = 0; d < dim; d += 32) {
        const int8_t *v = cache + (size_t)d * 2, *soon = (next ? next : cache) + (size_t)d * slots;
        for (uint32_t h = 0, n; h < heads; h += n, soon = cache) {
            const uint32_t left = heads - h;
            const int16_t *weights = w + h * stride;
            int32_t *out = acc + (size_t)h * dim + d;
            n = left >= 8 ? 8 : left >= 4 ? 4 : left == 3 ? 3 : 1;
            if (n == 8) vnni_values8(v, slots, dim, weights, stride, out, soon);
            else if (n == 4) vnni_values4(v, slots, dim, weights, stride, out, soon);
            else if (n == 3) vnni_values3(v, slots, dim, weights, stride, out, soon);
            else vnni_values1(v, slots, dim, weights, stride, out, soon);
        }
    }
}

const zllm_kernel zllm_kernel_avx512vnni = KERNEL_TABLE("avx512vnni", &zllm_operations_avx2);
#endif
