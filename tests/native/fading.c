/* A toy network: a lane's state is a sum of its tokens' embeddings that fades by a quarter with every token, and
 * logits are a linear map of the state. */
#include <string.h>

#include "network/matrix.h"

/* What its model files have. */

#define FAMILY_SCHEMA zllm_fading_schema
#define FAMILY_CONFIG_T fading_config_t
#define FAMILY_CONFIG(F)          \
    F(vocab, NEEDED, "tokens")    \
    F(dim, NEEDED, "numbers of the state")
#define FAMILY_LAYER(F)
#define FAMILY_TENSORS(T)                                                    \
    MATRIX_TENSORS(T, HEAD, "head", vocab, dim, "output weights")            \
    T(EMBED, "embed.q", I8, vocab, dim, always, NULL, 0, 0, 0,               \
      "what a token adds to the state, in 2^-7")

typedef struct {
    FAMILY_CONFIG(SCHEMA_FIELD)
} fading_config_t;

#include "network/schema_template.h"

static zllm_result check_config(const void *config) {
    const fading_config_t *c = config;
    CHECK(c->dim >= 32 && c->dim <= ZLLM_MAX_COLS && c->dim % 32 == 0, "dim must be a multiple of 32 up to 16384");
    return ZLLM_OK;
}

/* What a token adds is below 2^12 in size, so that a state stays below 4 * 2^12 + 4. */
static zllm_result check(const source_t *s) {
    const zllm_result rc = zllm_matrix_check(s, 0, T_HEAD_Q);
    return rc == ZLLM_OK ? zllm_tensor_check(source_tensor(s, 0, T_EMBED), -127, 127) : rc;
}

/* The network, packed for a kernel. */

typedef struct {
    network_t base;
    uint32_t vocab, dim;
    int8_t *embed; /* [vocab][dim] */
    matrix_t head;
    arena_t arena;
} fading_t;

static void lay_out(fading_t *f, const source_t *s) {
    f->arena.used = 0;
    f->embed = zllm_tensor_copy(&f->arena, source_tensor(s, 0, T_EMBED));
    zllm_matrix_pack(&f->arena, f->base.kernel, s, 0, T_HEAD_Q, 0, &f->head);
}

static network_t *pack(const source_t *s, const zllm_kernel *kernel, heap_t *heap) {
    const fading_config_t *c = (const void *)s->config;
    fading_t *f = zllm_heap_zeroed(heap, 1, sizeof *f);
    if (f == NULL) return NULL;
    f->base = (network_t){.kernel = kernel, .heap = heap, .inputs = c->vocab};
    f->vocab = c->vocab;
    f->dim = c->dim;
    lay_out(f, s); /* sizes only */
    f->base.memory = f->arena.used;
    f->arena.base = zllm_heap_pages(heap, f->base.memory);
    if (f->arena.base == NULL) {
        zllm_heap_free(heap, f);
        return NULL;
    }
    lay_out(f, s);
    return &f->base;
}

static void release(network_t *network) {
    fading_t *f = (fading_t *)network;
    heap_t *heap = f->base.heap;
    zllm_heap_free_pages(heap, f->arena.base, f->base.memory);
    zllm_heap_free(heap, f);
}

/* Computing with it. */

typedef struct {
    workspace_t base;
    const fading_t *net;
    int32_t *states; /* [lanes][dim], in 2^-12 */
    int32_t *x;      /* [rows][dim]: the state after each of the step's tokens */
    int32_t *acc;    /* [ZLLM_HEAD_ROWS][stride] */
    rows_t block;    /* [ZLLM_HEAD_ROWS] */
    uint32_t stride; /* the vocabulary, padded */
    int32_t *logits; /* [stride]; each thread of a team has its own, and shares what is above */
} fading_workspace_t;

static size_t lane_memory(const network_t *network) { return ((const fading_t *)network)->dim * sizeof(int32_t); }

static void workspace_end(workspace_t *base) {
    fading_workspace_t *w = (fading_workspace_t *)base;
    heap_t *heap = base->heap;
    if (w->base.thread == 0) {
        zllm_heap_free(heap, w->states);
        zllm_heap_free(heap, w->x);
        zllm_heap_free(heap, w->acc);
        zllm_rows_free(&w->block, heap);
    }
    zllm_heap_free(heap, w->logits);
    zllm_heap_free(heap, w);
}

static workspace_t *workspace_new(const network_t *network, heap_t *heap, uint32_t lanes, uint32_t rows,
                                  zllm_team *team, uint64_t *nanoseconds) {
    const fading_t *f = (const fading_t *)network;
    fading_workspace_t *w = zllm_heap_zeroed(heap, 1, sizeof *w);
    if (w == NULL) return NULL;
    w->base = (workspace_t){.family = network->family, .heap = heap, .team = team, .head_rows = ZLLM_HEAD_ROWS};
    w->net = f;
    w->stride = padded_rows(f->vocab);
    w->states = zllm_heap_take(heap, (size_t)lanes * f->dim * sizeof *w->states);
    w->x = zllm_heap_take(heap, (size_t)rows * f->dim * sizeof *w->x);
    w->acc = zllm_heap_take(heap, (size_t)ZLLM_HEAD_ROWS * w->stride * sizeof *w->acc);
    w->logits = zllm_heap_take(heap, w->stride * sizeof *w->logits);
    if (!zllm_rows_new(&w->block, heap, ZLLM_HEAD_ROWS, f->dim) || !w->states || !w->x || !w->acc || !w->logits) {
        workspace_end(&w->base);
        return NULL;
    }
    laps_start(&w->base.laps, nanoseconds);
    return &w->base;
}

static workspace_t *workspace_join(const workspace_t *lead, uint32_t thread, uint64_t *nanoseconds) {
    fading_workspace_t *w = zllm_heap_zeroed(lead->heap, 1, sizeof *w);
    if (w == NULL) return NULL;
    *w = *(const fading_workspace_t *)lead;
    w->base.thread = thread;
    w->logits = zllm_heap_take(lead->heap, w->stride * sizeof *w->logits);
    if (w->logits == NULL) {
        workspace_end(&w->base);
        return NULL;
    }
    laps_start(&w->base.laps, nanoseconds);
    return &w->base;
}

static void restart(workspace_t *base, uint32_t lane) {
    const fading_workspace_t *w = (const fading_workspace_t *)base;
    memset(w->states + (size_t)lane * w->net->dim, 0, w->net->dim * sizeof *w->states);
}

/* A row is a few additions: the first thread does them all. */
static void step(workspace_t *base, const uint32_t *ids, const uint32_t *tokens, uint32_t n) {
    const fading_workspace_t *w = (const fading_workspace_t *)base;
    const uint32_t dim = w->net->dim;
    workspace_barrier(base); /* the others may still read what the last step left */
    for (uint32_t i = 0; i < n && base->thread == 0; i++) {
        int32_t *state = w->states + (size_t)ids[i] * dim, *x = w->x + (size_t)i * dim;
        const int8_t *embed = w->net->embed + (size_t)tokens[i] * dim;
        for (uint32_t d = 0; d < dim; d++) state[d] += embed[d] * (1 << 5) - shift_right32(state[d], 2);
        memcpy(x, state, dim * sizeof *x);
    }
    lap(&base->laps, ZLLM_STAGE_CACHE);
    workspace_barrier(base);
}

/* Each thread quantises some of the rows, and computes some of their columns. */
static void head(workspace_t *base, uint32_t from, uint32_t n) {
    fading_workspace_t *w = (fading_workspace_t *)base;
    const matrix_t *a = &w->net->head;
    const zllm_kernel *k = w->net->base.kernel;
    const uint32_t dim = w->net->dim;
    workspace_barrier(base);
    zllm_matrix_quantise(a, k, w->x + (size_t)from * dim, dim, 1, 0, share_of(base, n, 1), &w->block);
    workspace_barrier(base);
    zllm_matrix_multiply(a, k, &w->block, n, share_of(base, a->rows, ZLLM_ROW_ALIGN), w->acc, w->stride);
    lap(&base->laps, ZLLM_STAGE_HEAD);
    workspace_barrier(base);
}

static const int32_t *logits(workspace_t *base, uint32_t i) {
    fading_workspace_t *w = (fading_workspace_t *)base;
    zllm_matrix_dequantise(&w->net->head, w->net->base.kernel, &w->block, i, w->acc, w->stride, 0, w->net->vocab, 16,
                           w->logits);
    return w->logits;
}

const network_family_t zllm_network_fading = {
    .name = "fading",
    .schema = &zllm_fading_schema,
    .check_config = check_config,
    .check = check,
    .pack = pack,
    .release = release,
    .lane_memory = lane_memory,
    .workspace_new = workspace_new,
    .workspace_join = workspace_join,
    .workspace_free = workspace_end,
    .restart = restart,
    .step = step,
    .head = head,
    .logits = logits,
};
