/* What the parts of the transformer share: scratch memory of one thread, and each lane's keys and values. */
#ifndef ZLLM_TRANSFORMER_SCRATCH_H
#define ZLLM_TRANSFORMER_SCRATCH_H

#include "network/transformer/transformer.h"

#define QUERY_ROWS 16u /* tokens of one lane whose queries meet the cache together */
#define CACHE_UNIT 32u /* slots that lie together in every kernel's layout, so that they can be moved */

#define SUM_SLOTS 512u   /* slots of one sum of values in 32 bits: products of a weight (2^15) and 127 stay below 2^31 */

#define QKV_FRAC 12
#define SCORE_FRAC 16

/* Keys and values of a lane, oldest first. When the cache is full, all but the last window is dropped. */
typedef struct {
    int8_t *keys;         /* [layers][kv_heads] key caches [capacity][head_dim] */
    int8_t *values;       /* [layers][kv_heads][capacity][head_dim], in the kernel's layout */
    int16_t *key_scale;   /* [layers][kv_heads][capacity], 2^-k_frac */
    int16_t *value_scale; /* [layers][kv_heads][capacity], 2^(v_shift - 23 - 12) */
    uint32_t filled;
    uint32_t before; /* the token that was fed last; at first that of the byte 0x00 */
    uint32_t position; /* of the next token in its stream */
} lane_t;

/* Rows [from, from + n) of a step: tokens of one lane, whose keys and values go to the cache's slots from `slot` on. */
typedef struct {
    uint32_t lane, from, n, slot, position, before;
} run_t;

/* What a thread computes with. Threads of a team have what follows `own` for themselves, and share the rest. */
typedef struct scratch scratch_t;
struct scratch {
    workspace_t base;
    const transformer_t *net;
    const scratch_t *lead; /* the first thread's; itself, if it is that one or there is no team */
    lane_t *lanes;
    int8_t *caches; /* of all lanes */
    size_t caches_size;
    uint32_t lane_count, rows, capacity; /* capacity: slots of a lane */
    run_t *runs; /* [rows] */
    uint32_t run_count; /* of the lead */
    int32_t *x;    /* residual [rows][dim] */
    int32_t *first, *pair; /* [rows][dim]: what it started with, and the pair's row; NULL if no layer blends */
    int32_t *qkv;  /* [rows][qkv_stride]; then the heads' outputs */
    int32_t *rope; /* [rows][head_dim]: sines and cosines of the row's position */
    int32_t *acc, *out; /* [BLOCK_ROWS][widest]; acc has twice as many rows if any are wide */
    int32_t *branch;    /* [BLOCK_ROWS][dim], of the feed-forward if it is parallel; else NULL */
    int32_t *head_acc;  /* [head_rows][head_stride], or twice as many if they are wide */
    rows_t last;        /* with classes: what they are computed of, of each of the step's rows; parts as in the block */
    rows_t block;       /* [BLOCK_ROWS][longest], or twice as many: the parts of wide row i are rows 2 i and 2 i + 1 */
    uint32_t widest, longest, qkv_stride;
    uint32_t head_stride;  /* logits of classes, or of tokens, padded */
    uint32_t class_stride; /* of the largest class, padded */
    /* own */
    const uint32_t *tokens; /* of the step's rows */
    int32_t *logits;    /* [head_stride], or [class_stride] if that is more */
    rows_t head_rows;   /* part of the block or of `last`: what the head was computed of last; memory of those */
    int32_t *class_acc; /* [class_stride], or twice as much if they are wide; NULL without classes */
    int32_t *looked_up; /* [kv_heads * head_dim]: a row of a table of values */
    rows_t queries;     /* [kv_heads][QUERY_ROWS][group], each [head_dim] */
    /* of one token */
    int8_t *kept;       /* [2 * kv_heads][head_dim]: keys, then values */
    quantised_t *found; /* [heads] of queries, or [2 * kv_heads] of keys and values */
    int32_t *excess;    /* [heads + kv_heads] of queries and keys: bits that they had too many; */
    scale_t *norm;      /* those that they were normalised by */
    int32_t *score_acc; /* [QUERY_ROWS][group][capacity] */
    int32_t *score;     /* [capacity] */
    int16_t *weight;    /* [QUERY_ROWS][group][capacity] */
    int32_t *mixed;     /* [QUERY_ROWS][group][head_dim] */
    int64_t *total;     /* the same of windows over SUM_SLOTS; NULL without any */
    int32_t *reciprocal; /* [QUERY_ROWS][group] */
};

static inline void lane_restart(lane_t *lane) { lane->filled = lane->position = 0; }
/* Make room for n more tokens. */
void zllm_lane_reserve(scratch_t *w, lane_t *lane, uint32_t n);
/* Attention of a run's rows in one layer; it is the first of `left` that this thread computes. */
void zllm_attention(scratch_t *w, const run_t *run, uint32_t left, uint32_t l);


/* As in network_family. */
size_t zllm_transformer_lane_memory(const network_t *network);
workspace_t *zllm_scratch_new(const network_t *network, heap_t *heap, uint32_t lanes, uint32_t rows, zllm_team *team,
                              uint64_t *nanoseconds);
workspace_t *zllm_scratch_join(const workspace_t *lead, uint32_t thread, uint64_t *nanoseconds);
void zllm_scratch_free(workspace_t *w);
void zllm_scratch_restart(workspace_t *w, uint32_t lane);

#endif
