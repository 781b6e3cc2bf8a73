/* A long adaptive filter that learns by the sign of its error (sign-error LMS): 16-bit integers, which compilers vectorise. */
#ifndef ZLLM_MEDIA_LMS_H
#define ZLLM_MEDIA_LMS_H

#include "../heap.h"

typedef struct {
    uint32_t n, at, step;
    int16_t *weights;  /* [n], of the oldest input first */
    int16_t *inputs;   /* [n + SLACK]; the newest n before `at` count */
    int16_t *changes;  /* the same of what weights change by, for each input */
    int32_t average;   /* of inputs' magnitudes, in 2^-4 */
} lms_t;

/* n: a multiple of 16. 0 when out of memory. */
int zllm_lms_new(heap_t *heap, lms_t *l, uint32_t n, uint32_t step);
void zllm_lms_free(heap_t *heap, lms_t *l);
int32_t zllm_lms_predict(const lms_t *l);
/* By the sign of the error; then the next input, which is clamped to 16 bits. */
void zllm_lms_learn(lms_t *l, int32_t error, int32_t input);

#endif
