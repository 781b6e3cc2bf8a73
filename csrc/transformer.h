/* The exact transformer, a token at a time for a batch of lanes (docs/arithmetic.md, sections 3 and 4). */
#ifndef ZLLM_TRANSFORMER_H
#define ZLLM_TRANSFORMER_H

#include "model.h"

/* Keys and values of the last `window` tokens of one stream. A slot is a position modulo the window. */
typedef struct {
    int8_t *keys;         /* [layers][kv_heads] packed matrices [window][head_dim] */
    int8_t *values;       /* [layers][kv_heads][window][head_dim], in the kernel's layout */
    int16_t *key_scale;   /* [layers][kv_heads][window], 2^-18 */
    int16_t *value_scale; /* [layers][kv_heads][window], 2^(v_shift - 23 - 12) */
    uint32_t position;
} lane_t;

typedef struct workspace workspace_t;

/* NULL when out of memory. */
workspace_t *workspace_new(const zllm_model *m, uint32_t lanes);
void workspace_free(workspace_t *w);
lane_t *workspace_lane(workspace_t *w, uint32_t i);
void lane_reset(lane_t *lane);

/* Feed tokens[i] to lane ids[i] (no lane twice). Then logits(w, i) holds that lane's row. */
void transformer_step(workspace_t *w, const uint32_t *ids, const uint32_t *tokens, uint32_t n);
/* int32 [vocab] in log2 units, 2^-16. */
const int32_t *transformer_logits(const workspace_t *w, uint32_t i);

size_t lane_memory(const zllm_model *m);

#endif
