/* The predictor's operations by AVX2: what predictor/generic.c computes, side by side. No sum overflows (predictor/operations.h). */
#include "../kernels.h"

#ifdef ZLLM_X86
#include <immintrin.h>
#include <string.h>

#include "../predictor/operations.h"

#define AVX2 __attribute__((target("avx2")))

/* The least of four words of uses plus one, 0 where the check byte is right, is found with its place by one instruction,
 * which takes eight: the others are the largest number, whatever the check byte. */
AVX2 static inline uint8_t *avx2_slot(uint8_t *line, uint32_t check) {
    const __m128i checks = _mm_set1_epi16((int16_t)check);
    __m128i w = _mm_set1_epi16(-1);
    int16_t two[4];
    for (int i = 0; i < 4; i++) memcpy(&two[i], line + 16 * i, 2);
    w = _mm_insert_epi16(w, two[0], 0);
    w = _mm_insert_epi16(w, two[1], 1);
    w = _mm_insert_epi16(w, two[2], 2);
    w = _mm_insert_epi16(w, two[3], 3);
    const __m128i right = _mm_cmpeq_epi16(_mm_and_si128(w, _mm_set1_epi16(255)), checks);
    const __m128i uses = _mm_add_epi16(_mm_srli_epi16(w, 8), _mm_set1_epi16(1));
    const __m128i rank = _mm_or_si128(_mm_andnot_si128(right, uses), _mm_set_epi16(-1, -1, -1, -1, 0, 0, 0, 0));
    const __m128i best = _mm_minpos_epu16(rank);
    __m128i *slot = (__m128i *)(line + ((size_t)(uint32_t)_mm_cvtsi128_si32(best) >> 16) * 16);
    const __m128i keep = _mm_cmpeq_epi16(_mm_broadcastw_epi16(best), _mm_setzero_si128());
    _mm_storeu_si128(slot, _mm_or_si128(_mm_and_si128(_mm_loadu_si128(slot), keep), _mm_cvtsi32_si128((int32_t)check)));
    return (uint8_t *)slot;
}

AVX2 static void avx2_find(uint8_t *table, uint32_t line_mask, const uint32_t *hash, uint8_t **slot, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) slot[i] = avx2_slot(table + (size_t)(hash[i] & line_mask) * 64, hash[i] >> 24);
}

AVX2 static inline __m256i load(const int16_t *v) { return _mm256_loadu_si256((const __m256i *)v); }

/* The dot products of all sets, side by side. */
AVX2 static inline __m256i dots(const mixer_t *m) {
    const __m256i x0 = load(m->inputs), x1 = load(m->inputs + 16);
    __m256i a[SETS];
    for (uint32_t s = 0; s < SETS; s++) {
        const int16_t *w = m->weights[m->vector[s]];
        a[s] = _mm256_add_epi32(_mm256_madd_epi16(x0, load(w)), _mm256_madd_epi16(x1, load(w + 16)));
    }
    const __m256i b = _mm256_hadd_epi32(_mm256_hadd_epi32(a[0], a[1]), _mm256_hadd_epi32(a[2], a[3]));
    const __m256i c = _mm256_hadd_epi32(_mm256_hadd_epi32(a[4], a[5]), _mm256_setzero_si256());
    return _mm256_add_epi32(_mm256_permute2x128_si256(b, c, 0x20), _mm256_permute2x128_si256(b, c, 0x31));
}

AVX2 static void avx2_mix(mixer_t *m) {
    const __m256i most = _mm256_set1_epi32(STRETCH_MAX), least = _mm256_set1_epi32(-STRETCH_MAX);
    const __m256i x = _mm256_max_epi32(_mm256_min_epi32(_mm256_srai_epi32(dots(m), 14), most), least);
    _mm256_storeu_si256((__m256i *)m->outputs, x);
    for (uint32_t f = 0; f < FINALS; f++) {
        const __m256i w = _mm256_loadu_si256((const __m256i *)m->final[m->final_vector[f]]);
        const __m256i odd = _mm256_mul_epi32(_mm256_srli_epi64(x, 32), _mm256_srli_epi64(w, 32));
        const __m256i sum = _mm256_add_epi64(_mm256_mul_epi32(x, w), odd);
        int64_t part[4];
        _mm256_storeu_si256((__m256i *)part, sum);
        m->finals[f] = clamp_stretch((part[0] + part[1] + part[2] + part[3]) >> 16);
    }
}

AVX2 static inline void train_16(const int16_t *x, int16_t *w, int32_t step) {
    const __m256i product = _mm256_mulhi_epi16(_mm256_slli_epi16(load(x), 4), _mm256_set1_epi16((int16_t)step));
    const __m256i change = _mm256_srai_epi16(_mm256_add_epi16(product, _mm256_set1_epi16(1)), 1);
    _mm256_storeu_si256((__m256i *)w, _mm256_adds_epi16(load(w), change));
}

AVX2 static void avx2_train(mixer_t *m, const int32_t steps[SETS], const int32_t wrong[FINALS]) {
    const __m256i x = _mm256_loadu_si256((const __m256i *)m->outputs), half = _mm256_set1_epi32(1 << 15);
    const __m256i most = _mm256_set1_epi32(FINAL_MAX), least = _mm256_set1_epi32(-FINAL_MAX);
    for (uint32_t s = 0; s < SETS; s++) {
        int16_t *w = m->weights[m->vector[s]];
        train_16(m->inputs, w, steps[s]);
        train_16(m->inputs + 16, w + 16, steps[s]);
    }
    for (uint32_t f = 0; f < FINALS; f++) {
        __m256i *row = (__m256i *)m->final[m->final_vector[f]];
        const __m256i product = _mm256_mullo_epi32(x, _mm256_set1_epi32(wrong[f]));
        const __m256i change = _mm256_srai_epi32(_mm256_add_epi32(product, half), 16);
        const __m256i w = _mm256_add_epi32(_mm256_loadu_si256(row), change);
        _mm256_storeu_si256(row, _mm256_max_epi32(_mm256_min_epi32(w, most), least));
    }
}

AVX2 static void avx2_mix_flag(flag_mixer_t *m) {
    const __m256i x = load(m->inputs);
    __m256i a[FLAG_SETS];
    for (uint32_t s = 0; s < FLAG_SETS; s++) a[s] = _mm256_madd_epi16(x, load(m->weights[m->vector[s]]));
    const __m256i b = _mm256_hadd_epi32(_mm256_hadd_epi32(a[0], a[1]), _mm256_hadd_epi32(a[2], _mm256_setzero_si256()));
    int32_t sum[4];
    _mm_storeu_si128((__m128i *)sum, _mm_add_epi32(_mm256_castsi256_si128(b), _mm256_extracti128_si256(b, 1)));
    for (uint32_t s = 0; s < FLAG_SETS; s++) m->outputs[s] = clamp_stretch(sum[s] >> 14);
}

AVX2 static void avx2_train_flag(flag_mixer_t *m, const int32_t steps[FLAG_SETS]) {
    for (uint32_t s = 0; s < FLAG_SETS; s++) train_16(m->inputs, m->weights[m->vector[s]], steps[s]);
}

/* As adapted() of generic.c does. */
AVX2 static inline __m256i adapted_8(const uint16_t *reciprocal, __m256i was, __m256i goal, __m256i limit) {
    const __m256i n = _mm256_and_si256(was, _mm256_set1_epi32(1023));
    const __m256i two = _mm256_i32gather_epi32((const int *)(const void *)reciprocal, n, sizeof *reciprocal);
    const __m256i rate = _mm256_and_si256(two, _mm256_set1_epi32(65535));
    const __m256i gap = _mm256_sub_epi32(goal, _mm256_srli_epi32(was, 10));
    const __m256i even = _mm256_srli_epi64(_mm256_mul_epi32(gap, rate), 16);
    const __m256i odd = _mm256_mul_epi32(_mm256_srli_epi64(gap, 32), _mm256_srli_epi64(rate, 32));
    const __m256i step = _mm256_blend_epi32(even, _mm256_slli_epi64(odd, 16), 0xaa);
    return _mm256_sub_epi32(_mm256_add_epi32(was, _mm256_slli_epi32(step, 10)), _mm256_cmpgt_epi32(limit, n));
}

/* Eight lanes from lane i on: what they become. */
AVX2 static inline void learn_8(const uint16_t *reciprocal, const lanes_t *l, uint32_t i, uint32_t answers, adaptive_t *now) {
    const __m256i place = _mm256_set_epi32(128, 64, 32, 16, 8, 4, 2, 1);
    const __m256i answer = _mm256_and_si256(_mm256_set1_epi32((int32_t)(answers >> i)), place);
    const __m256i goal = _mm256_srli_epi32(_mm256_cmpeq_epi32(answer, place), 10);
    const __m256i was = _mm256_loadu_si256((const __m256i *)(l->seen + i));
    const __m256i limit = _mm256_loadu_si256((const __m256i *)(l->limit + i));
    _mm256_storeu_si256((__m256i *)now, adapted_8(reciprocal, was, goal, limit));
}

/* There is room for eights: of the last one, lanes from n on are computed but not learnt. */
AVX2 static void avx2_learn(const uint16_t *reciprocal, const lanes_t *l, uint32_t n, uint32_t answers) {
    adaptive_t now[8];
    uint32_t i = 0;
    for (; i + 8 <= n; i += 8) {
        learn_8(reciprocal, l, i, answers, now);
        for (uint32_t k = 0; k < 8; k++) *l->at[i + k] = now[k];
    }
    if (i == n) return;
    learn_8(reciprocal, l, i, answers, now);
    for (uint32_t k = 0; i + k < n; k++) *l->at[i + k] = now[k];
}

const operations_t zllm_operations_avx2 = {
    "avx2", avx2_find, avx2_mix, avx2_train, avx2_mix_flag, avx2_train_flag, avx2_learn,
};
#endif
