/* What zllm's own tests, known answers and measurements call beside zllm.h. The static library has it; the shared one does not
 * export it, and nothing of it is promised to stay. */
#ifndef ZLLM_TESTING_H
#define ZLLM_TESTING_H

#include "zllm.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Compare every primitive of a kernel, and the predictor's operations that go with it, with the scalar ones on fixed vectors:
 * ZLLM_OK or ZLLM_E_KERNEL_WRONG. zllm_model_new does it once a process for the kernel it takes; text without a model needs
 * the predictor's operations alone. */
zllm_result zllm_kernel_check(const char *name);

/* Shortest of `repeats` runs of the kernel's product of an int8 matrix [rows][cols] with `batch` rows, in nanoseconds;
 * rows and cols multiples of 32, each up to 4096, batch up to 256. */
zllm_result zllm_kernel_time(const char *name, uint32_t rows, uint32_t cols, uint32_t batch, uint32_t repeats,
                             const zllm_options *options, uint64_t *nanoseconds);

/* What the time is spent on. */
typedef enum {
    ZLLM_STAGE_MATRIX = 0, /* products with the layers' matrices */
    ZLLM_STAGE_HEAD,       /* product with the head's matrix */
    ZLLM_STAGE_ATTENTION,  /* products with cached keys and values */
    ZLLM_STAGE_QUANTISE,   /* normalising and quantising rows */
    ZLLM_STAGE_SCALE,      /* sums to fixed point, residual */
    ZLLM_STAGE_CACHE,      /* rotary code, keys and values into the cache */
    ZLLM_STAGE_SOFTMAX,    /* scores to weights of values */
    ZLLM_STAGE_GATE,       /* SwiGLU */
    ZLLM_STAGE_WEIGHTS,    /* logits to prefix sums */
    ZLLM_STAGE_WALK,       /* prefix sums to probabilities of decisions, when encoding */
    ZLLM_STAGE_MIXER,      /* predictor and range coder; when decoding, the walk as well */
    ZLLM_STAGE_WAIT,       /* for other threads */
    ZLLM_STAGES
} zllm_stage;

/* For tests, measurements and known answers: feed `tokens`, `bulk` (1 to 64) at a time, which changes no number, and store,
 * after each, the logits (int32 [n][outputs], log2 units in 2^-16; outputs as of zllm_model_outputs) and the weights' prefix
 * sums (uint64 [n][outputs + 1]). Either output may be NULL. */
zllm_result zllm_evaluate(const zllm_model *model, const uint32_t *tokens, size_t n, uint32_t bulk, int32_t *logits,
                          uint64_t *sums);

/* The binary range coder alone. Probabilities are of a one, in 2^-24, 1 to 2^24 - 1. */
zllm_result zllm_coder_encode(const uint8_t *bits, const uint32_t *probabilities, size_t n, uint8_t *out, size_t *size);
void zllm_coder_decode(const uint8_t *coded, size_t size, const uint32_t *probabilities, size_t n, uint8_t *bits);

/* Fixed-point functions of the specification, for its worked vectors. */
uint32_t zllm_rsqrt(uint64_t x, int32_t *exponent);
uint32_t zllm_exp2(uint32_t d);
int32_t zllm_sigmoid(int32_t x);
int32_t zllm_gelu(int32_t x);
void zllm_sincos(uint32_t phase, int32_t *sine, int32_t *cosine);
void zllm_quantise(const int32_t *x, uint32_t n, int normalise, int8_t *q, uint32_t *mantissa, int32_t *exponent);

/* An allocator for zllm_options, with one of these as its context: its call number `fail_at` fails, and with `after` all that
 * come later do as well. It counts what it has given and not got back, and what it was given back with another size. */
typedef struct {
    uint64_t fail_at; /* from 1; 0: none */
    uint32_t after;
    uint32_t wrong;
    uint64_t calls, blocks, bytes, most; /* most: bytes at a time */
} zllm_failing;
void *zllm_failing_allocate(void *context, size_t size);
void zllm_failing_release(void *context, void *memory, size_t size);

#ifdef __cplusplus
}
#endif

#endif
