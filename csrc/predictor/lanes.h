/* The adaptive probabilities that a decision was predicted from, side by side: what they were when it was asked for
 * learns its answer. No probability has two lanes. */
#ifndef ZLLM_PREDICTOR_LANES_H
#define ZLLM_PREDICTOR_LANES_H

#include "state.h"
#include "wide.h"

/* It is in lane i; returns what it is. */
static inline adaptive_t lane_see(lanes_t *l, uint32_t i, adaptive_t *a) {
    l->at[i] = a;
    return l->seen[i] = *a;
}

/* Towards the answer by 1 / (count + 1.5) of the way, at last by 1 / (limit + 1.5). The gap has 23 bits with its sign, its
 * reciprocal 16. */
static inline adaptive_t adapted(const tables_t *t, adaptive_t was, int answer, uint32_t limit) {
    const uint32_t n = was & 1023;
    const int64_t gap = (answer ? (1 << 22) - 1 : 0) - (int32_t)(was >> 10);
    return was + ((uint32_t)((gap * t->reciprocal[n]) >> 16) << 10) + (n < limit);
}

#ifdef WIDE
AVX2 static inline __m256i adapted_avx2(const tables_t *t, __m256i was, __m256i goal, __m256i limit) {
    const __m256i n = _mm256_and_si256(was, _mm256_set1_epi32(1023));
    const __m256i two = _mm256_i32gather_epi32((const int *)(const void *)t->reciprocal, n, sizeof *t->reciprocal);
    const __m256i rate = _mm256_and_si256(two, _mm256_set1_epi32(65535));
    const __m256i gap = _mm256_sub_epi32(goal, _mm256_srli_epi32(was, 10));
    const __m256i even = _mm256_srli_epi64(_mm256_mul_epi32(gap, rate), 16);
    const __m256i odd = _mm256_mul_epi32(_mm256_srli_epi64(gap, 32), _mm256_srli_epi64(rate, 32));
    const __m256i step = _mm256_blend_epi32(even, _mm256_slli_epi64(odd, 16), 0xaa);
    return _mm256_sub_epi32(_mm256_add_epi32(was, _mm256_slli_epi32(step, 10)), _mm256_cmpgt_epi32(limit, n));
}

/* Whole eights of n; returns how many that is. */
AVX2 static uint32_t lanes_learn_avx2(const tables_t *t, const lanes_t *l, uint32_t n, uint32_t answers) {
    const __m256i place = _mm256_set_epi32(128, 64, 32, 16, 8, 4, 2, 1);
    uint32_t i = 0;
    for (; i + 8 <= n; i += 8) {
        const __m256i answer = _mm256_and_si256(_mm256_set1_epi32((int32_t)(answers >> i)), place);
        const __m256i goal = _mm256_srli_epi32(_mm256_cmpeq_epi32(answer, place), 10);
        const __m256i was = _mm256_loadu_si256((const __m256i *)(l->seen + i));
        const __m256i limit = _mm256_loadu_si256((const __m256i *)(l->limit + i));
        adaptive_t now[8];
        _mm256_storeu_si256((__m256i *)now, adapted_avx2(t, was, goal, limit));
        for (uint32_t k = 0; k < 8; k++) *l->at[i + k] = now[k];
    }
    return i;
}
#endif

/* The first n lanes learn: lane i bit i of the answers. */
static inline void lanes_learn(const tables_t *t, const lanes_t *l, uint32_t n, uint32_t answers, int wide) {
    uint32_t i = 0;
#ifdef WIDE
    if (wide) i = lanes_learn_avx2(t, l, n, answers);
#endif
    (void)wide;
    for (; i < n; i++) *l->at[i] = adapted(t, l->seen[i], answers >> i & 1, l->limit[i]);
}

#endif
