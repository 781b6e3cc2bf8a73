/* The exact transformer (docs/arithmetic.md, sections 3 and 4). A step computes any mix of rows: one token each of many
 * lanes, or many tokens of one. A row's integers depend on the tokens before it in its lane only. */
#ifndef ZLLM_TRANSFORMER_H
#define ZLLM_TRANSFORMER_H

#include "model.h"
#include "stages.h"
#include "team.h"

#define ZLLM_BULK 64u      /* tokens of one lane in a step, at most */
#define ZLLM_HEAD_ROWS 16u /* rows whose logits are computed at once, by one thread */

typedef struct workspace workspace_t;

/* For steps of up to `rows` tokens. NULL when out of memory. It is that of a team's first thread, if there is one. */
workspace_t *workspace_new(const zllm_model *m, uint32_t lanes, uint32_t rows, zllm_team *team, uint64_t *nanoseconds);
/* That of another thread of the team, which computes every step and every head as the first does, at the same time. */
workspace_t *workspace_join(const workspace_t *lead, uint32_t thread, uint64_t *nanoseconds);
void workspace_free(workspace_t *w);
laps_t *workspace_laps(workspace_t *w);
/* Rows whose logits are computed at once: ZLLM_HEAD_ROWS, or more in a team. */
uint32_t workspace_head_rows(const workspace_t *w);
void workspace_restart(workspace_t *w, uint32_t lane);

/* Feed tokens[i] to lane ids[i]. Tokens of one lane stand side by side, in order, at most ZLLM_BULK of them. */
void transformer_step(workspace_t *w, const uint32_t *ids, const uint32_t *tokens, uint32_t n);
/* Multiply rows [from, from + n) of the last step by the head's matrix; n up to workspace_head_rows. */
void transformer_head(workspace_t *w, uint32_t from, uint32_t n);
/* Logits of row from + i, int32 [vocab] in log2 units, 2^-16; they hold until the next call. */
const int32_t *transformer_logits(workspace_t *w, uint32_t i);

size_t lane_memory(const zllm_model *m);

#endif
