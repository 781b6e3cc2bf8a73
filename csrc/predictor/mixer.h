/* The selected weight vectors' dot products with the inputs, the final vectors that mix these, and the training of both:
 * inputs in [-2047, 2047], weights in 16 bits (1 is 2^14).
 *
 * No sum overflows 32 bits: INPUTS products, half of at most 2047 * 2^15 and half of at most 512 * 2^15, are below 2^31
 * in size, and so is every part of the sum. The order of summation therefore changes nothing. */
#ifndef ZLLM_PREDICTOR_MIXER_H
#define ZLLM_PREDICTOR_MIXER_H

#include "state.h"
#include "wide.h"

#define FINAL_MAX (1 << 20) /* 1 is 2^16 */

#ifdef NARROW

static inline int32_t dot(const int16_t *x, const int16_t *w, uint32_t inputs) {
    __m128i s = _mm_setzero_si128();
    for (uint32_t i = 0; i < inputs; i += 8)
        s = _mm_add_epi32(s, _mm_madd_epi16(_mm_loadu_si128((const __m128i *)(x + i)),
                                            _mm_loadu_si128((const __m128i *)(w + i))));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1));
    return _mm_cvtsi128_si32(s);
}

static inline void train(const int16_t *x, int16_t *w, int32_t step, uint32_t inputs) {
    const __m128i e = _mm_set1_epi16((int16_t)step), one = _mm_set1_epi16(1);
    for (uint32_t i = 0; i < inputs; i += 8) {
        const __m128i v = _mm_slli_epi16(_mm_loadu_si128((const __m128i *)(x + i)), 4);
        const __m128i d = _mm_srai_epi16(_mm_add_epi16(_mm_mulhi_epi16(v, e), one), 1);
        _mm_storeu_si128((__m128i *)(w + i), _mm_adds_epi16(_mm_loadu_si128((const __m128i *)(w + i)), d));
    }
}

#else

static inline int32_t dot(const int16_t *x, const int16_t *w, uint32_t inputs) {
    int32_t s = 0;
    for (uint32_t i = 0; i < inputs; i++) s += x[i] * w[i];
    return s;
}

/* step in 16 bits. */
static inline void train(const int16_t *x, int16_t *w, int32_t step, uint32_t inputs) {
    for (uint32_t i = 0; i < inputs; i++) {
        const int32_t sum = w[i] + (((x[i] * 16 * step >> 16) + 1) >> 1);
        w[i] = (int16_t)(sum > 32767 ? 32767 : sum < -32768 ? -32768 : sum);
    }
}

#endif

#ifdef WIDE

AVX2 static inline __m256i load(const int16_t *v) { return _mm256_loadu_si256((const __m256i *)v); }

/* The dot products of all sets, side by side. */
AVX2 static __m256i dots_avx2(const predictor_t *p) {
    const __m256i x0 = load(p->inputs), x1 = load(p->inputs + 16);
    __m256i a[SETS];
    for (uint32_t s = 0; s < SETS; s++) {
        const int16_t *w = p->weights[p->vector[s]];
        a[s] = _mm256_add_epi32(_mm256_madd_epi16(x0, load(w)), _mm256_madd_epi16(x1, load(w + 16)));
    }
    const __m256i b = _mm256_hadd_epi32(_mm256_hadd_epi32(a[0], a[1]), _mm256_hadd_epi32(a[2], a[3]));
    const __m256i c = _mm256_hadd_epi32(_mm256_hadd_epi32(a[4], a[5]), _mm256_setzero_si256());
    return _mm256_add_epi32(_mm256_permute2x128_si256(b, c, 0x20), _mm256_permute2x128_si256(b, c, 0x31));
}

AVX2 static void mix_avx2(predictor_t *p) {
    const __m256i most = _mm256_set1_epi32(STRETCH_MAX), least = _mm256_set1_epi32(-STRETCH_MAX);
    const __m256i x = _mm256_max_epi32(_mm256_min_epi32(_mm256_srai_epi32(dots_avx2(p), 14), most), least);
    _mm256_storeu_si256((__m256i *)p->outputs, x);
    for (uint32_t f = 0; f < FINALS; f++) {
        const __m256i w = _mm256_loadu_si256((const __m256i *)p->final[p->final_vector[f]]);
        const __m256i odd = _mm256_mul_epi32(_mm256_srli_epi64(x, 32), _mm256_srli_epi64(w, 32));
        const __m256i sum = _mm256_add_epi64(_mm256_mul_epi32(x, w), odd);
        int64_t part[4];
        _mm256_storeu_si256((__m256i *)part, sum);
        p->finals[f] = clamp_stretch((part[0] + part[1] + part[2] + part[3]) >> 16);
    }
}

AVX2 static inline void train_16(const int16_t *x, int16_t *w, __m256i step) {
    const __m256i product = _mm256_mulhi_epi16(_mm256_slli_epi16(load(x), 4), step);
    const __m256i change = _mm256_srai_epi16(_mm256_add_epi16(product, _mm256_set1_epi16(1)), 1);
    _mm256_storeu_si256((__m256i *)w, _mm256_adds_epi16(load(w), change));
}

AVX2 static void train_avx2(predictor_t *p, const int32_t steps[SETS], const int32_t wrong[FINALS]) {
    const __m256i x = _mm256_loadu_si256((const __m256i *)p->outputs), half = _mm256_set1_epi32(1 << 15);
    const __m256i most = _mm256_set1_epi32(FINAL_MAX), least = _mm256_set1_epi32(-FINAL_MAX);
    for (uint32_t s = 0; s < SETS; s++) {
        const __m256i step = _mm256_set1_epi16((int16_t)steps[s]);
        int16_t *w = p->weights[p->vector[s]];
        train_16(p->inputs, w, step);
        train_16(p->inputs + 16, w + 16, step);
    }
    for (uint32_t f = 0; f < FINALS; f++) {
        __m256i *row = (__m256i *)p->final[p->final_vector[f]];
        const __m256i product = _mm256_mullo_epi32(x, _mm256_set1_epi32(wrong[f]));
        const __m256i change = _mm256_srai_epi32(_mm256_add_epi32(product, half), 16);
        const __m256i w = _mm256_add_epi32(_mm256_loadu_si256(row), change);
        _mm256_storeu_si256(row, _mm256_max_epi32(_mm256_min_epi32(w, most), least));
    }
}
#endif

/* The sets' outputs, and what the final vectors make of them. */
static inline void mixer_mix(predictor_t *p) {
#ifdef WIDE
    if (p->wide) {
        mix_avx2(p);
        return;
    }
#endif
    for (uint32_t s = 0; s < SETS; s++)
        p->outputs[s] = clamp_stretch(dot(p->inputs, p->weights[p->vector[s]], INPUTS) >> 14);
    for (uint32_t f = 0; f < FINALS; f++) {
        const int32_t *w = p->final[p->final_vector[f]];
        int64_t sum = 0;
        for (uint32_t s = 0; s < SETS; s++) sum += (int64_t)p->outputs[s] * w[s];
        p->finals[f] = clamp_stretch(sum >> 16);
    }
}

/* steps: of the sets' weights. wrong: errors of the finals in 2^-16; times an output they are below 2^28. */
static inline void mixer_train(predictor_t *p, const int32_t steps[SETS], const int32_t wrong[FINALS]) {
#ifdef WIDE
    if (p->wide) {
        train_avx2(p, steps, wrong);
        return;
    }
#endif
    for (uint32_t s = 0; s < SETS; s++) train(p->inputs, p->weights[p->vector[s]], steps[s], INPUTS);
    for (uint32_t f = 0; f < FINALS; f++) {
        int32_t *w = p->final[p->final_vector[f]];
        for (uint32_t s = 0; s < SETS; s++) {
            w[s] += (p->outputs[s] * wrong[f] + (1 << 15)) >> 16;
            w[s] = w[s] > FINAL_MAX ? FINAL_MAX : w[s] < -FINAL_MAX ? -FINAL_MAX : w[s];
        }
    }
}

#endif
