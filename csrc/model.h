/* A model as it is used: a network, and the byte trie of its vocabulary. */
#ifndef ZLLM_MODEL_H
#define ZLLM_MODEL_H

#include "network/arena.h"
#include "network/network.h"

#define DECISION_END 8u /* as a decision's bit: does the token end here? */

/* One binary decision of the byte trie: tokens below `split` or not. A child >= 0 is another decision; ~child is a
 * token. Tokens are sorted by bytes, so "does it end here" and every bit of the next byte split a range in two.
 * It is about bit `bit` (0: the highest) of the token's byte `depth`; all bits before are those of the token `split`. */
typedef struct {
    uint32_t split;
    int32_t low, high;
    uint16_t depth;
    uint8_t bit;
    uint8_t opens; /* whether the range that it splits is one class of a head of two levels */
} decision_t;

struct zllm_model {
    heap_t *heap;
    network_t *network;
    const zllm_kernel *kernel;
    uint32_t vocab;
    uint8_t *token_bytes;
    uint32_t *token_offsets;
    decision_t *decisions; /* [vocab - 1], the root first */
    uint16_t *class_of;    /* [vocab]: of each token; NULL without classes */
    uint32_t deepest;      /* decisions of a token, at most */
    arena_t arena;         /* the tokens and decisions */
    size_t memory;         /* bytes of it */
};

static inline workspace_t *model_workspace(const zllm_model *m, heap_t *heap, uint32_t lanes, uint32_t rows,
                                           zllm_team *team, uint64_t *nanoseconds) {
    return m->network->family->workspace_new(m->network, heap, lanes, rows, team, nanoseconds);
}

/* Fill decisions[vocab - 1] for tokens that are sorted, distinct and not empty. Returns how many decisions a token
 * takes at most. */
uint32_t zllm_trie_build(const uint8_t *bytes, const uint32_t *offsets, uint32_t vocab, decision_t *decisions);
/* Mark the decisions that open classes. Returns 0 if some class is not a range that decisions lead to. */
int zllm_trie_mark(decision_t *decisions, uint32_t vocab, const uint16_t *class_of);

/* Weights of the first level: of classes, or of all tokens. */
static inline uint32_t model_choices(const zllm_model *m) { return m->class_of ? m->network->classes : m->vocab; }
/* Weights of both levels: of classes, and behind them of tokens. */
static inline uint32_t model_outputs(const zllm_model *m) { return m->vocab + (m->class_of ? m->network->classes : 0); }

#endif
