/* Integer weights over the vocabulary, their prefix sums, and a token's path through the byte trie by them
 * (docs/arithmetic.md, section 5). */
#ifndef ZLLM_DISTRIBUTION_H
#define ZLLM_DISTRIBUTION_H

#include "model.h"
#include "predictor/predictor.h"
#include "rangecoder.h"

/* Of all tokens, of classes, or of a class's tokens, which are the elements numbers `from` to `end` - 1 of the arrays. */
typedef struct {
    const uint64_t *base;   /* [end / ZLLM_SUM_BLOCK + 1]: sum of the weights before a block */
    const uint32_t *weight; /* [end] */
    uint32_t from, end;
} distribution_t;

/* What may follow in a stream, as a walk through the trie asks for it. */
typedef struct {
    distribution_t first; /* of all tokens, or of classes */
    /* Of a class's tokens, when the walk comes to it; it holds until the next call. */
    distribution_t (*within)(void *context, uint32_t class_);
    void *context;
} outcome_t;

/* Room for a distribution, which is made of logits. */
typedef struct {
    uint64_t *base;
    uint32_t *weight; /* [size], and zeros to a whole block */
    uint32_t *sums;   /* [size / ZLLM_SUM_BLOCK + 1]: of each block */
    uint32_t size;
    heap_t *heap;
} distribution_buffer_t;

/* Of `size` elements; 0 when out of memory; free it all the same. */
int zllm_distribution_new(distribution_buffer_t *d, heap_t *heap, uint32_t size);
void zllm_distribution_free(distribution_buffer_t *d);
void zllm_distribution_set(distribution_buffer_t *d, const zllm_kernel *k, const int32_t *logits);
/* From now on it is of `size` elements, for which it has room. */
void zllm_distribution_resize(distribution_buffer_t *d, uint32_t size);

static inline distribution_t distribution_view(const distribution_buffer_t *d) {
    return (distribution_t){.base = d->base, .weight = d->weight, .end = d->size};
}

/* Sum of the weights of all elements before number `at`, which may be `end`. A walk asks for a dozen of them, most in one
 * block: adding them up on the way is cheaper than keeping every one. All of a whole block are looked at, for nobody can
 * predict how many count. */
static inline uint64_t sum_below(const distribution_t *d, uint32_t at) {
    const uint32_t block = at / ZLLM_SUM_BLOCK, from = block * ZLLM_SUM_BLOCK;
    const uint32_t *weight = d->weight + from;
    const int32_t count = (int32_t)(at - from);
    uint32_t sum = 0;
    if (d->end - from >= ZLLM_SUM_BLOCK)
        for (int32_t i = 0; i < (int32_t)ZLLM_SUM_BLOCK; i++) sum += weight[i] & (uint32_t)shift_right32(i - count, 31);
    else
        for (int32_t i = 0; i < count; i++) sum += weight[i];
    return d->base[block] + sum;
}

/* Decisions on the token's path through the trie. */
uint32_t zllm_token_decisions(const zllm_model *m, uint32_t token);
/* The model's probability of a one for each decision on the token's path, at most m->deepest. */
void zllm_token_probabilities(const zllm_model *m, const outcome_t *o, uint32_t token, uint32_t *p);
/* Such a token comes next at the cursor: what coding it will read is prefetched. */
void zllm_token_expect(const zllm_model *m, const predictor_t *p, const cursor_t *cursor, uint32_t token);
/* Code a token: the predictor makes its own probabilities of the model's. */
void zllm_token_encode(const zllm_model *m, const uint32_t *lm, predictor_t *p, cursor_t *cursor, encoder_t *e,
                       uint32_t token);
uint32_t zllm_token_decode(const zllm_model *m, const outcome_t *o, predictor_t *p, cursor_t *cursor,
                           decoder_t *r);

#endif
