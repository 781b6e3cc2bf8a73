/* A model as it is used: checked, packed for one kernel, with the byte trie of its vocabulary. */
#ifndef ZLLM_MODEL_H
#define ZLLM_MODEL_H

#include "kernels.h"

typedef struct {
    int8_t *packed;
    int16_t *scale;
    int32_t *bias; /* or NULL */
    uint32_t rows, cols;
    int32_t exponent;
    uint32_t wide; /* whether its input rows are: then each is two rows of the kernel's, high and low part */
} matrix_t;

typedef struct {
    int16_t *value; /* [head_dim], or NULL */
    int32_t exponent;
} gain_t;

typedef struct {
    matrix_t qkv, o, gate_up, down;
    gain_t q_gain, k_gain;
    uint32_t temperature;
    int32_t temperature_exponent;
    uint32_t v_shift, up_frac, k_frac;
} layer_t;

#define DECISION_END 8u /* as a decision's bit: does the token end here? */

/* One binary decision of the byte trie: tokens below `split` or not. A child >= 0 is another decision; ~child is a
 * token. Tokens are sorted by bytes, so "does it end here" and every bit of the next byte split a range in two.
 * It is about bit `bit` (0: the highest) of the token's byte `depth`; all bits before are those of the token `split`. */
typedef struct {
    uint32_t split;
    int32_t low, high;
    uint16_t depth, bit;
} decision_t;

struct zllm_model {
    zllm_config config;
    const zllm_kernel *kernel;
    uint32_t inputs; /* tokens that may be fed: the vocabulary, and perhaps a start token after it */
    int wide;        /* whether any matrix of a layer is */
    int8_t *embed;   /* [inputs][dim] */
    int16_t *embed_scale;
    int32_t embed_exponent;
    int32_t *positions; /* [config.positions][dim] */
    uint32_t *rope_step;
    matrix_t head;
    layer_t *layers;
    uint8_t *token_bytes;
    uint32_t *token_offsets;
    decision_t *decisions; /* [vocab - 1], the root first */
    uint32_t deepest;      /* decisions of a token, at most */
    uint8_t *arena;        /* all of the above but layers */
    size_t memory;         /* bytes of it */
};

/* Fill decisions[vocab - 1] for tokens that are sorted, distinct and not empty. Returns how many decisions a token
 * takes at most. */
uint32_t trie_build(const uint8_t *bytes, const uint32_t *offsets, uint32_t vocab, decision_t *decisions);

#endif
