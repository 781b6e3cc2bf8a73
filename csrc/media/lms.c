/* Products are summed in 32 bits, modulo 2^32: the sum of a prediction in range is in range. */
#include "lms.h"

#include <string.h>

#define SLACK 512u
#define SHORT 16u

int zllm_lms_new(heap_t *heap, lms_t *l, uint32_t n, uint32_t step) {
    memset(l, 0, sizeof *l);
    l->n = n;
    l->at = n;
    l->step = step;
    l->weights = zllm_heap_zeroed(heap, n, sizeof(int16_t));
    l->inputs = zllm_heap_zeroed(heap, n + SLACK, sizeof(int16_t));
    l->changes = zllm_heap_zeroed(heap, n + SLACK, sizeof(int16_t));
    return l->weights != NULL && l->inputs != NULL && l->changes != NULL;
}

void zllm_lms_free(heap_t *heap, lms_t *l) {
    zllm_heap_free(heap, l->weights);
    zllm_heap_free(heap, l->inputs);
    zllm_heap_free(heap, l->changes);
}

int32_t zllm_lms_predict(const lms_t *l) {
    const int16_t *restrict x = l->inputs + (l->at - l->n), *restrict w = l->weights;
    uint32_t sum = 0;
    for (uint32_t i = 0; i < l->n; i++) sum += (uint32_t)(x[i] * w[i]);
    return (int32_t)(sum + (1u << 14)) >> 15;
}

static int16_t clamp16(int32_t x) { return (int16_t)(x > 32767 ? 32767 : x < -32767 ? -32767 : x); }

static void move(lms_t *l, int32_t sign) {
    int16_t *restrict w = l->weights;
    const int16_t *restrict c = l->changes + (l->at - l->n);
    for (uint32_t i = 0; i < l->n; i++) {
        const int32_t sum = w[i] + (sign < 0 ? -c[i] : c[i]);
        w[i] = (int16_t)(sum > 32767 ? 32767 : sum < -32768 ? -32768 : sum);
    }
}

void zllm_lms_learn(lms_t *l, int32_t error, int32_t input) {
    if (error != 0) move(l, error);
    const int32_t x = clamp16(input), size = x < 0 ? -x : x;
    const int32_t step = (int32_t)l->step;
    const int32_t change = 16 * size > 3 * l->average ? 4 * step : 12 * size > l->average ? 2 * step : size ? step : 0;
    if (l->at == l->n + SLACK) {
        memmove(l->inputs, l->inputs + SLACK, l->n * sizeof(int16_t));
        memmove(l->changes, l->changes + SLACK, l->n * sizeof(int16_t));
        l->at = l->n;
    }
    l->inputs[l->at] = (int16_t)x;
    l->changes[l->at] = (int16_t)(x < 0 ? -change : change);
    l->average += (16 * size - l->average) / 16;
    if (l->n > SHORT) { /* what is older teaches less */
        l->changes[l->at - 1] /= 2;
        l->changes[l->at - 8] /= 2;
    }
    l->at++;
}
