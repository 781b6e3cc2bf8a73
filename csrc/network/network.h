/* What the coder asks of a network, whatever it computes: logits of the token that follows, exact integers, for many
 * streams at once. A family of networks is one table of functions (families.c lists them), chosen by a model's
 * config.family; docs/adding-a-network-family.md shows how one is added.
 *
 * A stream that is coded has a lane: what the network remembers of the tokens that it was fed, of which nothing but the
 * network knows what it is. The integers of a row may depend on the tokens before it in its lane, and on nothing else: not
 * on other rows of the step, their number, the kernel, or the number of threads. */
#ifndef ZLLM_NETWORK_H
#define ZLLM_NETWORK_H

#include "heap.h"
#include "kernels.h"
#include "network/source.h"
#include "stages.h"
#include "team.h"

#define ZLLM_BULK 64u      /* tokens of one lane in a step, at most */
#define ZLLM_HEAD_ROWS 16u /* rows whose logits are computed at once, by one thread */

typedef struct network_family network_family_t;

/* Checked and packed for a kernel; read-only, and shared by all threads. The first member of a family's own struct. */
typedef struct {
    const network_family_t *family;
    const zllm_kernel *kernel;
    heap_t *heap;    /* the model's */
    uint32_t inputs; /* tokens that may be fed: the vocabulary, and perhaps a start token after it */
    size_t memory;   /* bytes that it holds */
    /* A head of two levels: classes are ranges of tokens. 0: a head of all tokens. */
    uint32_t classes, largest_class;
    const uint32_t *class_first; /* [classes + 1]: the first token of each, and the vocabulary */
} network_t;

/* Lanes, and what a thread computes with. The first member of a family's own struct. */
typedef struct {
    const network_family_t *family;
    heap_t *heap;    /* that all of it comes from */
    zllm_team *team; /* or NULL */
    uint32_t thread; /* of the team */
    uint32_t head_rows; /* rows whose logits are computed at once: ZLLM_HEAD_ROWS, or more in a team */
    laps_t laps;
} workspace_t;

struct network_family {
    const char *name; /* as in config.family */

    const schema_t *schema;
    /* Whether the config, a struct of uint32_t in the schema's order, is within the limits that everything else relies on,
     * the shapes of its tensors among it: ZLLM_OK, or zllm_refuse(). The vocabulary was checked. */
    zllm_result (*check_config)(const void *config);
    /* The same of all numbers, in tensors of these shapes. */
    zllm_result (*check)(const source_t *source);
    /* Copy what was checked into a network for that kernel. NULL when out of memory. */
    network_t *(*pack)(const source_t *source, const zllm_kernel *kernel, heap_t *heap);
    void (*release)(network_t *network);

    /* Bytes of a lane. */
    size_t (*lane_memory)(const network_t *network);
    /* For steps of up to `rows` tokens of `lanes` lanes. NULL when out of memory. It is that of a team's first thread, if
     * there is a team. */
    workspace_t *(*workspace_new)(const network_t *network, heap_t *heap, uint32_t lanes, uint32_t rows, zllm_team *team,
                                  uint64_t *nanoseconds);
    /* That of another thread of the team, which makes every call of step and head as the first does, at the same time. */
    workspace_t *(*workspace_join)(const workspace_t *lead, uint32_t thread, uint64_t *nanoseconds);
    void (*workspace_free)(workspace_t *w);

    /* A lane forgets all. A new workspace's lanes have to be restarted, too. */
    void (*restart)(workspace_t *w, uint32_t lane);
    /* Feed tokens[i], below network->inputs, to lane ids[i], for n rows. Tokens of one lane stand side by side, in order, at
     * most ZLLM_BULK of them. */
    void (*step)(workspace_t *w, const uint32_t *ids, const uint32_t *tokens, uint32_t n);
    /* Compute what the logits of the last step's rows [from, from + n) need; n up to w->head_rows. */
    void (*head)(workspace_t *w, uint32_t from, uint32_t n);
    /* Logits of row from + i, int32 [vocab], or [classes], in log2 units, 2^-16; they hold until the next call. Each thread
     * of a team asks for rows of its own. */
    const int32_t *(*logits)(workspace_t *w, uint32_t i);
    /* The same of a class's tokens, for a row of the last step of which head was computed, alone: no other thread takes part.
     * NULL in a family without heads of two levels. */
    const int32_t *(*within)(workspace_t *w, uint32_t row, uint32_t class_);
};

/* All of them; NULL ends the list. */
extern const network_family_t *const zllm_network_families[];

/* A part of n: [from, end). */
typedef struct {
    uint32_t from, end;
} share_t;

/* The part of this thread, in whole units. */
static inline share_t share_of(const workspace_t *w, uint32_t n, uint32_t unit) {
    const uint64_t units = (n + unit - 1) / unit, threads = team_threads(w->team);
    const uint32_t from = (uint32_t)(units * w->thread / threads) * unit;
    const uint32_t end = (uint32_t)(units * (w->thread + 1) / threads) * unit;
    return (share_t){from < n ? from : n, end < n ? end : n};
}

/* Wait for the team, if there is one. */
static inline void workspace_barrier(workspace_t *w) {
    if (w->team == NULL) return;
    zllm_team_barrier(w->team);
    lap(&w->laps, ZLLM_STAGE_WAIT);
}

static inline void workspace_free(workspace_t *w) {
    if (w != NULL) w->family->workspace_free(w);
}

#endif
