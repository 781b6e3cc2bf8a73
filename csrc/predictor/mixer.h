/* Dot product and training of one weight vector: inputs in [-2047, 2047], weights in 16 bits (1 is 2^14).
 *
 * No sum overflows: a product is at most 2047 * 2^15 < 2^26 in size, and the INPUTS products of a vector are summed in
 * 64 bits, or first in lanes of INPUTS / 4 < 2^4 products, which is below 2^30. */
#ifndef ZLLM_PREDICTOR_MIXER_H
#define ZLLM_PREDICTOR_MIXER_H

#include "state.h"

#if defined(__SSE2__)
#include <emmintrin.h>

static inline int64_t mixer_dot(const int16_t *x, const int16_t *w) {
    __m128i s = _mm_setzero_si128();
    for (uint32_t i = 0; i < INPUTS; i += 8)
        s = _mm_add_epi32(s, _mm_madd_epi16(_mm_loadu_si128((const __m128i *)(x + i)),
                                            _mm_loadu_si128((const __m128i *)(w + i))));
    int32_t each[4];
    _mm_storeu_si128((__m128i *)each, s);
    return (int64_t)each[0] + each[1] + each[2] + each[3];
}

static inline void mixer_train(const int16_t *x, int16_t *w, int32_t step) {
    const __m128i e = _mm_set1_epi16((int16_t)step), one = _mm_set1_epi16(1);
    for (uint32_t i = 0; i < INPUTS; i += 8) {
        const __m128i v = _mm_slli_epi16(_mm_loadu_si128((const __m128i *)(x + i)), 4);
        const __m128i d = _mm_srai_epi16(_mm_add_epi16(_mm_mulhi_epi16(v, e), one), 1);
        _mm_storeu_si128((__m128i *)(w + i), _mm_adds_epi16(_mm_loadu_si128((const __m128i *)(w + i)), d));
    }
}

#else

static inline int64_t mixer_dot(const int16_t *x, const int16_t *w) {
    int64_t s = 0;
    for (uint32_t i = 0; i < INPUTS; i++) s += (int32_t)x[i] * w[i];
    return s;
}

/* w += round(16 x * step / 2^17), halves up, after 16 x * step / 2^16 was rounded down; saturating. step in 16 bits. */
static inline void mixer_train(const int16_t *x, int16_t *w, int32_t step) {
    for (uint32_t i = 0; i < INPUTS; i++) {
        const int32_t d = ((x[i] * 16 * step >> 16) + 1) >> 1, sum = w[i] + d;
        w[i] = (int16_t)(sum > 32767 ? 32767 : sum < -32768 ? -32768 : sum);
    }
}

#endif
#endif
