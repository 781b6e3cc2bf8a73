/* What the kernels of 256-bit vectors share: what kernels_template.h does not leave to the compiler, and values.
 * Define NAME(f), TARGET and ADD_PAIRS(sum, a, b), which adds a[2i] b[2i] + a[2i + 1] b[2i + 1], of 16-bit numbers, to
 * each sum[i], before including.
 *
 * Value cache: [slots / 2][dim][2], widened to int16. */
#include <immintrin.h>
#include <string.h>

#define V16 __m256i
#define V16_LANES 16u
#define V16_SET(x) _mm256_set1_epi16(x)
#define V16_ADD(a, b) _mm256_add_epi16(a, b)
#define V16_SUB(a, b) _mm256_sub_epi16(a, b)
#define V16_MIN(a, b) _mm256_min_epi16(a, b)
#define V16_ABS(a) _mm256_abs_epi16(a)
#define V16_SHIFT_LEFT(a, s) _mm256_slli_epi16(a, s)
#define V16_MULTIPLY(a, b) _mm256_mulhrs_epi16(a, b)
#define V16_IF_NEGATIVE(x, a, b) _mm256_blendv_epi8(b, a, _mm256_srai_epi16(x, 15))
#define V16_CLAMP(p) NAME(clamp)(p)
#define V16_PRODUCTS(a, b, p) NAME(products)(a, b, p)

/* Packing takes 4 of each operand in turn, and unpacking undoes it: the order in between does not matter. */
TARGET static inline __m256i NAME(clamp)(const int32_t *p) {
    return _mm256_max_epi16(_mm256_packs_epi32(_mm256_loadu_si256((const __m256i *)p),
                                               _mm256_loadu_si256((const __m256i *)(p + 8))),
                            _mm256_set1_epi16(-32767));
}

TARGET static inline void NAME(products)(__m256i a, __m256i b, int32_t *p) {
    const __m256i low = _mm256_mullo_epi16(a, b), high = _mm256_mulhi_epi16(a, b);
    _mm256_storeu_si256((__m256i *)p, _mm256_unpacklo_epi16(low, high));
    _mm256_storeu_si256((__m256i *)(p + 8), _mm256_unpackhi_epi16(low, high));
}

#define QUANTISE NAME(quantise8)
#define DEQUANTISE NAME(dequantise8)
#define DEQUANTISE_LANES 8u
#define SOFTMAX NAME(softmax16)

TARGET static inline int32_t NAME(total)(__m256i v) {
    int32_t each[8], total = 0;
    _mm256_storeu_si256((__m256i *)each, v);
    for (int k = 0; k < 8; k++) total += each[k];
    return total;
}

/* exp2_15 of fixed.h, its products in 16 bits: f * p / 2^15 is the upper half of 2 f * p, and 2 f has 16 bits. Shifts by
 * a vector are of 32 bits only. Whole sixteens; returns how many elements that is. */
TARGET static inline uint32_t NAME(softmax16)(const int32_t *score, const int16_t *scale, uint32_t n, int32_t largest,
                                              int16_t *w, uint32_t *sum) {
    const __m256i m = _mm256_set1_epi32(largest), low = _mm256_set1_epi32(0xfffe), zero = _mm256_setzero_si256();
    __m256i s = zero;
    uint32_t i = 0;
    for (; i + 16 <= n; i += 16) {
        const __m256i a = _mm256_sub_epi32(m, _mm256_loadu_si256((const __m256i *)(score + i)));
        const __m256i b = _mm256_sub_epi32(m, _mm256_loadu_si256((const __m256i *)(score + i + 8)));
        const __m256i f = _mm256_packus_epi32(_mm256_and_si256(a, low), _mm256_and_si256(b, low));
        __m256i p = _mm256_sub_epi16(_mm256_set1_epi16(7575), _mm256_mulhi_epu16(f, _mm256_set1_epi16(1298)));
        p = _mm256_sub_epi16(_mm256_set1_epi16(22662), _mm256_mulhi_epu16(f, p));
        p = _mm256_sub_epi16(_mm256_set1_epi16(32767), _mm256_mulhi_epu16(f, p));
        const __m256i ea = _mm256_srlv_epi32(_mm256_unpacklo_epi16(p, zero), _mm256_srli_epi32(a, 16));
        const __m256i eb = _mm256_srlv_epi32(_mm256_unpackhi_epi16(p, zero), _mm256_srli_epi32(b, 16));
        const __m256i e = _mm256_permute4x64_epi64(_mm256_packus_epi32(ea, eb), 0xd8);
        _mm256_storeu_si256((__m256i *)(w + i), _mm256_mulhrs_epi16(e, _mm256_loadu_si256((const __m256i *)(scale + i))));
        s = _mm256_add_epi32(s, _mm256_add_epi32(ea, eb));
    }
    *sum += (uint32_t)NAME(total)(s);
    return i;
}

/* Whole eights of a row; returns how many elements that is. Products as below; of a result's 10 bits the lower 8 are
 * the number, which is extended again for the sums. */
TARGET static inline uint32_t NAME(quantise8)(const int32_t *x, uint32_t n, uint32_t shift, int32_t reciprocal,
                                              int8_t *q, int32_t *sum, int32_t *squares) {
    const __m128i count = _mm_cvtsi32_si128((int32_t)shift);
    const __m256i c = _mm256_set1_epi32(reciprocal), half = _mm256_set1_epi64x((int64_t)1 << 53);
    __m256i s = _mm256_setzero_si256(), ss = s;
    uint32_t i = 0;
    for (; i + 8 <= n; i += 8) {
        const __m256i y = _mm256_sll_epi32(_mm256_loadu_si256((const __m256i *)(x + i)), count);
        __m256i even = _mm256_mul_epi32(y, c), odd = _mm256_mul_epi32(_mm256_srli_epi64(y, 32), c);
        even = _mm256_srli_epi64(_mm256_add_epi64(even, half), 54);
        odd = _mm256_srli_epi64(_mm256_add_epi64(odd, half), 54 - 32);
        const __m256i v = _mm256_srai_epi32(_mm256_slli_epi32(_mm256_blend_epi32(even, odd, 0xaa), 24), 24);
        const __m256i low = _mm256_and_si256(v, _mm256_set1_epi32(0xffff));
        s = _mm256_add_epi32(s, v);
        ss = _mm256_add_epi32(ss, _mm256_madd_epi16(low, low));
        const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
        _mm_storel_epi64((__m128i *)(q + i), _mm_packs_epi16(words, words));
    }
    *sum += NAME(total)(s);
    *squares += NAME(total)(ss);
    return i;
}

/* Four products of the even and four of the odd elements; a shift of up to 32 to the right leaves a result in the lower
 * half, and what is left of 32 to the left in the upper one. */
TARGET static inline void NAME(dequantise8)(const int32_t *acc, const int16_t *scale, uint32_t mantissa, uint32_t shift,
                                            int32_t *out) {
    const __m256i a = _mm256_loadu_si256((const __m256i *)acc);
    const __m256i s = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)scale));
    const __m256i m = _mm256_srli_epi32(_mm256_mullo_epi32(s, _mm256_set1_epi32((int32_t)mantissa)), 15);
    const __m256i half = _mm256_set1_epi64x((int64_t)1 << (shift - 1));
    const __m128i right = _mm_cvtsi32_si128((int32_t)shift), left = _mm_cvtsi32_si128(32 - (int32_t)shift);
    __m256i even = _mm256_mul_epi32(a, m), odd = _mm256_mul_epi32(_mm256_srli_epi64(a, 32), _mm256_srli_epi64(m, 32));
    even = _mm256_srl_epi64(_mm256_add_epi64(even, half), right);
    odd = _mm256_sll_epi64(_mm256_add_epi64(odd, half), left);
    _mm256_storeu_si256((__m256i *)out, _mm256_blend_epi32(even, odd, 0xaa));
}

TARGET static inline __m256i load(const int8_t *p) { return _mm256_loadu_si256((const __m256i *)p); }

TARGET static inline __m256i load_wide(const int8_t *p) {
    return _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)p));
}

TARGET static inline __m256i four_of(const int8_t *p) {
    int32_t four;
    memcpy(&four, p, sizeof four);
    return _mm256_set1_epi32(four);
}

/* A slot's byte is the lower or the upper one of 16 bits; the other one stays. */
TARGET static void NAME(value_row)(const int8_t *v, uint32_t slot, uint32_t dim, int8_t *cache) {
    int8_t *p = cache + (size_t)(slot / 2) * 2 * dim;
    const __m256i low = _mm256_set1_epi16(0xff), mine = slot % 2 ? _mm256_slli_epi16(low, 8) : low;
    for (uint32_t d = 0; d < dim; d += 16) {
        __m256i *pair = (__m256i *)(p + (size_t)d * 2);
        __m256i wide = load_wide(v + d);
        if (slot % 2) wide = _mm256_slli_epi16(wide, 8);
        _mm256_storeu_si256(pair, _mm256_blendv_epi8(_mm256_loadu_si256(pair), wide, mine));
    }
}

/* R rows of weights and 16 dimensions: a pair of slots is widened once for all rows. */
#define VALUES(R)                                                                                                     \
    TARGET static void NAME(values##R)(const int8_t *v, uint32_t slots, uint32_t dim, const int16_t *w, size_t stride,\
                                      int32_t *acc, const int8_t *next) {                                             \
        __m256i s[R][2];                                                                                              \
        for (int r = 0; r < R; r++) s[r][0] = s[r][1] = _mm256_setzero_si256();                                       \
        for (uint32_t t = 0; t < slots; t += 2, v += (size_t)2 * dim, next += 32) {                                   \
            const __m256i v0 = load_wide(v), v1 = load_wide(v + 16);                                                  \
            prefetch(next, 0);                                                                                        \
            for (int r = 0; r < R; r++) {                                                                             \
                int32_t both;                                                                                         \
                memcpy(&both, w + r * stride + t, sizeof both);                                                       \
                const __m256i a = _mm256_set1_epi32(both);                                                            \
                ADD_PAIRS(s[r][0], v0, a);                                                                            \
                ADD_PAIRS(s[r][1], v1, a);                                                                            \
            }                                                                                                         \
        }                                                                                                             \
        for (int r = 0; r < R; r++) {                                                                                 \
            _mm256_storeu_si256((__m256i *)(acc + (size_t)r * dim), s[r][0]);                                         \
            _mm256_storeu_si256((__m256i *)(acc + (size_t)r * dim + 8), s[r][1]);                                     \
        }                                                                                                             \
    }

VALUES(1)
VALUES(3)
VALUES(4)

/* Each of the passes asks for its share of what is next. Without any, or when others have asked, for what it reads
 * itself. */
TARGET static void NAME(weigh_values)(const int8_t *cache, uint32_t slots, uint32_t dim, const int16_t *w, size_t stride,
                                      uint32_t heads, int32_t *acc, const int8_t *next) {
    for (uint32_t d = 0; d < dim; d += 16) {
        const int8_t *v = cache + (size_t)d * 2, *soon = (next ? next : cache) + (size_t)d * slots;
        for (uint32_t h = 0, n; h < heads; h += n, soon = cache) {
            const uint32_t left = heads - h;
            const int16_t *weights = w + h * stride;
            int32_t *out = acc + (size_t)h * dim + d;
            n = left >= 4 ? 4 : left == 3 ? 3 : 1;
            if (n == 4) NAME(values4)(v, slots, dim, weights, stride, out, soon);
            else if (n == 3) NAME(values3)(v, slots, dim, weights, stride, out, soon);
            else NAME(values1)(v, slots, dim, weights, stride, out, soon);
        }
    }
}
