#include "distribution.h"

#include <stdlib.h>

#include "fixed.h"

void distribution_set(distribution_t *d, const zllm_kernel *k, const int32_t *logits) {
    const uint32_t blocks = d->vocab / ZLLM_SUM_BLOCK + 1;
    uint64_t total = 0;
    k->weights(logits, d->vocab, d->weight);
    k->block_sums(d->weight, blocks, d->sums);
    for (uint32_t b = 0; b < blocks; b++) {
        d->base[b] = total;
        total += d->sums[b];
    }
}

int distribution_new(distribution_t *d, uint32_t vocab) {
    const uint32_t blocks = vocab / ZLLM_SUM_BLOCK + 1;
    d->vocab = vocab;
    d->base = calloc(blocks, sizeof *d->base);
    d->sums = calloc(blocks, sizeof *d->sums);
    d->weight = calloc((size_t)blocks * ZLLM_SUM_BLOCK, sizeof *d->weight);
    return d->base && d->sums && d->weight;
}

void distribution_free(distribution_t *d) {
    free(d->base);
    free(d->sums);
    free(d->weight);
}

/* Probability that the token is at or above the split, of those in [low, high), in 2^-24. A mixer joins here: it sees
 * this probability, the decision and the bytes before it, and returns a better one. */
static inline uint32_t probability(uint64_t low, uint64_t split, uint64_t high) {
    uint64_t part = high - split, whole = high - low;
    const uint32_t length = bit_length64(whole);
    if (length > 40) {
        part >>= length - 40;
        whole >>= length - 40;
    }
    const uint64_t p = (part << PROBABILITY_BITS) / whole;
    return p < 1 ? 1u : p > (1u << PROBABILITY_BITS) - 1 ? (1u << PROBABILITY_BITS) - 1 : (uint32_t)p;
}

void token_encode(const zllm_model *m, const distribution_t *d, encoder_t *e, uint32_t token) {
    uint64_t low = 0, high = sum_below(d, d->vocab);
    int32_t at = 0;
    while (at >= 0) {
        const decision_t *c = &m->decisions[at];
        const uint64_t split = sum_below(d, c->split);
        const int bit = token >= c->split;
        encoder_put(e, probability(low, split, high), bit);
        if (bit) low = split;
        else high = split;
        at = bit ? c->high : c->low;
    }
}

uint32_t token_decode(const zllm_model *m, const distribution_t *d, decoder_t *r) {
    uint64_t low = 0, high = sum_below(d, d->vocab);
    int32_t at = 0;
    while (at >= 0) {
        const decision_t *c = &m->decisions[at];
        const uint64_t split = sum_below(d, c->split);
        const int bit = decoder_get(r, probability(low, split, high));
        if (bit) low = split;
        else high = split;
        at = bit ? c->high : c->low;
    }
    return (uint32_t)~at;
}
