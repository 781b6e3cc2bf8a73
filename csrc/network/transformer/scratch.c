#include "network/transformer/scratch.h"

#include <string.h>

static uint32_t max_of(uint32_t a, uint32_t b) { return a > b ? a : b; }

/* Room for a window and a step's tokens, after dropping to a multiple of CACHE_UNIT. */
static uint32_t capacity_of(const transformer_config_t *c) { return c->window + ZLLM_BULK + CACHE_UNIT; }

static size_t scale_count(const transformer_config_t *c) { return (size_t)c->layers * c->kv_heads * capacity_of(c); }
static size_t cache_size(const transformer_config_t *c) { return scale_count(c) * c->head_dim; }

size_t zllm_transformer_lane_memory(const network_t *network) {
    const transformer_config_t *c = &((const transformer_t *)network)->config;
    return sizeof(lane_t) + 2 * cache_size(c) + 4 * scale_count(c);
}

/* All lanes' keys and values in one piece. Slots not yet written are read by whole vectors and then ignored; they are
 * given a value all the same. */
static int lanes_new(scratch_t *w) {
    const transformer_config_t *c = &w->net->config;
    const size_t bytes = cache_size(c), scales = scale_count(c) * sizeof(int16_t);
    w->caches_size = w->lane_count * (2 * bytes + 2 * scales);
    int8_t *at = w->caches = zllm_heap_pages(w->base.heap, w->caches_size);
    if (at == NULL) return 0;
    memset(at, 0, w->caches_size);
    for (uint32_t i = 0; i < w->lane_count; i++, at += 2 * bytes) {
        w->lanes[i].keys = at;
        w->lanes[i].values = at + bytes;
    }
    for (uint32_t i = 0; i < w->lane_count; i++, at += 2 * scales) {
        w->lanes[i].key_scale = (int16_t *)(void *)at;
        w->lanes[i].value_scale = (int16_t *)(void *)(at + scales);
    }
    return 1;
}

void zllm_lane_reserve(scratch_t *w, lane_t *lane, uint32_t n) {
    const transformer_config_t *c = &w->net->config;
    if (lane->filled + n <= w->capacity) return;
    /* More than the window and a unit are filled (n is at most ZLLM_BULK), so this is positive. */
    const uint32_t drop = (lane->filled - (c->window - 1)) / CACHE_UNIT * CACHE_UNIT;
    const uint32_t units_end = round_up(lane->filled, CACHE_UNIT);
    for (size_t i = 0; i < (size_t)c->layers * c->kv_heads; i++) {
        int8_t *keys = lane->keys + i * w->capacity * c->head_dim, *values = lane->values + i * w->capacity * c->head_dim;
        int16_t *ks = lane->key_scale + i * w->capacity, *vs = lane->value_scale + i * w->capacity;
        const size_t from = (size_t)drop * c->head_dim, size = (size_t)(units_end - drop) * c->head_dim;
        memmove(keys, keys + from, size);
        memmove(values, values + from, size);
        memmove(ks, ks + drop, (lane->filled - drop) * sizeof *ks);
        memmove(vs, vs + drop, (lane->filled - drop) * sizeof *vs);
    }
    lane->filled -= drop;
}

_Static_assert(2 * ZLLM_HEAD_ROWS <= BLOCK_ROWS, "the head's wide rows fit the block of a model without others");

/* What one thread has for itself. */
static int own_new(scratch_t *w) {
    heap_t *heap = w->base.heap;
    const transformer_config_t *c = &w->net->config;
    const size_t queries = QUERY_ROWS * (c->heads / c->kv_heads), heads = c->heads + c->kv_heads;
    w->logits = zllm_heap_take(heap, max_of(w->head_stride, w->class_stride) * sizeof(int32_t));
    w->looked_up = zllm_heap_take(heap, (size_t)c->kv_heads * c->head_dim * sizeof(int32_t));
    w->class_acc = c->classes ? zllm_heap_take(heap, (c->wide_head ? 2 : 1) * w->class_stride * sizeof(int32_t)) : NULL;
    w->score_acc = zllm_heap_take(heap, queries * w->capacity * sizeof(int32_t));
    w->score = zllm_heap_take(heap, w->capacity * sizeof(int32_t));
    w->weight = zllm_heap_take(heap, queries * w->capacity * sizeof(int16_t));
    w->mixed = zllm_heap_take(heap, queries * c->head_dim * sizeof(int32_t));
    w->total = c->window > SUM_SLOTS ? zllm_heap_take(heap, queries * c->head_dim * sizeof(int64_t)) : NULL;
    w->reciprocal = zllm_heap_take(heap, queries * sizeof(int32_t));
    w->kept = zllm_heap_take(heap, 2 * (size_t)c->kv_heads * c->head_dim);
    w->found = zllm_heap_zeroed(heap, heads, sizeof *w->found); /* no fewer than keys and values */
    w->excess = zllm_heap_zeroed(heap, heads, sizeof *w->excess);
    w->norm = zllm_heap_zeroed(heap, heads, sizeof *w->norm);
    return w->logits && w->looked_up && (w->class_acc || !c->classes) && w->score_acc && w->score && w->weight &&
           w->mixed && (w->total || c->window <= SUM_SLOTS) && w->reciprocal && w->kept && w->found && w->excess && w->norm &&
           zllm_rows_new(&w->queries, heap, QUERY_ROWS * c->heads, c->head_dim);
}

static void own_free(scratch_t *w) {
    void *all[] = {w->logits, w->class_acc, w->looked_up, w->score_acc, w->score,  w->weight, w->mixed, w->total,
                   w->reciprocal, w->kept, w->found, w->excess, w->norm};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) zllm_heap_free(w->base.heap, all[i]);
    zllm_rows_free(&w->queries, w->base.heap);
}

/* What only some networks need. */
static int extras_new(scratch_t *w) {
    heap_t *heap = w->base.heap;
    const transformer_config_t *c = &w->net->config;
    if (w->net->blends) {
        w->first = zllm_heap_take(heap, (size_t)w->rows * c->dim * sizeof(int32_t));
        if (w->first == NULL) return 0;
    }
    if (w->net->pairs.q != NULL) {
        w->pair = zllm_heap_take(heap, (size_t)w->rows * c->dim * sizeof(int32_t));
        if (w->pair == NULL) return 0;
    }
    return !c->classes || zllm_rows_new(&w->last, heap, (c->wide_head ? 2 : 1) * w->rows, c->dim);
}

/* What the threads of a team share. */
static int shared_new(scratch_t *w) {
    heap_t *heap = w->base.heap;
    const transformer_config_t *c = &w->net->config;
    const size_t rows = w->rows, parts = w->net->wide ? 2 : 1;
    w->lanes = zllm_heap_zeroed(heap, w->lane_count, sizeof *w->lanes);
    w->runs = zllm_heap_zeroed(heap, rows, sizeof *w->runs);
    w->x = zllm_heap_take(heap, rows * c->dim * sizeof(int32_t));
    w->qkv = zllm_heap_take(heap, rows * w->qkv_stride * sizeof(int32_t));
    w->rope = zllm_heap_take(heap, rows * c->head_dim * sizeof(int32_t));
    w->acc = zllm_heap_take(heap, parts * BLOCK_ROWS * w->widest * sizeof(int32_t));
    w->out = zllm_heap_take(heap, (size_t)BLOCK_ROWS * w->widest * sizeof(int32_t));
    w->head_acc = zllm_heap_take(heap, (c->wide_head ? 2 : 1) * w->base.head_rows * w->head_stride * sizeof(int32_t));
    if (!extras_new(w)) return 0;
    if (c->parallel) {
        w->branch = zllm_heap_take(heap, (size_t)BLOCK_ROWS * c->dim * sizeof(int32_t));
        if (w->branch == NULL) return 0;
    }
    return w->lanes && w->runs && w->x && w->qkv && w->rope && w->acc && w->out && w->head_acc &&
           zllm_rows_new(&w->block, heap, (uint32_t)(parts * BLOCK_ROWS), w->longest) && lanes_new(w);
}

static void shared_free(scratch_t *w) {
    void *all[] = {w->lanes, w->runs, w->x, w->qkv, w->rope, w->acc, w->out, w->head_acc, w->branch, w->first, w->pair};
    zllm_heap_free_pages(w->base.heap, w->caches, w->caches_size);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) zllm_heap_free(w->base.heap, all[i]);
    zllm_rows_free(&w->block, w->base.heap);
    zllm_rows_free(&w->last, w->base.heap);
}

workspace_t *zllm_scratch_new(const network_t *network, heap_t *heap, uint32_t lanes, uint32_t rows, zllm_team *team,
                              uint64_t *nanoseconds) {
    const transformer_t *t = (const transformer_t *)network;
    const transformer_config_t *c = &t->config;
    const uint32_t heads = c->heads * c->head_dim;
    scratch_t *w = zllm_heap_zeroed(heap, 1, sizeof *w);
    if (w == NULL) return NULL;
    /* A team reads the head from memory: by all rows of a step at once, if the block has room for them. */
    const uint32_t head_rows = team != NULL && !c->wide_head ? BLOCK_ROWS : ZLLM_HEAD_ROWS;
    w->base = (workspace_t){.family = network->family, .heap = heap, .team = team, .head_rows = head_rows};
    w->net = t;
    w->lead = w;
    w->rows = rows;
    w->lane_count = lanes;
    w->capacity = capacity_of(c);
    w->qkv_stride = padded_rows((c->heads + 2 * c->kv_heads) * c->head_dim);
    w->longest = max_of(max_of(c->dim, heads), c->ffn);
    w->widest = padded_rows(max_of(max_of(w->qkv_stride, 2 * c->ffn), max_of(c->dim, heads)));
    w->head_stride = padded_rows(c->classes ? c->classes : c->vocab);
    w->class_stride = padded_rows(t->base.largest_class);
    if (!shared_new(w) || !own_new(w)) {
        zllm_scratch_free(&w->base);
        return NULL;
    }
    laps_start(&w->base.laps, nanoseconds);
    return &w->base;
}

workspace_t *zllm_scratch_join(const workspace_t *base, uint32_t thread, uint64_t *nanoseconds) {
    const scratch_t *lead = (const scratch_t *)base;
    scratch_t *w = zllm_heap_zeroed(base->heap, 1, sizeof *w);
    if (w == NULL) return NULL;
    *w = *lead;
    w->base.thread = thread;
    w->queries = (rows_t){0};
    if (!own_new(w)) {
        zllm_scratch_free(&w->base);
        return NULL;
    }
    laps_start(&w->base.laps, nanoseconds);
    return &w->base;
}

void zllm_scratch_free(workspace_t *base) {
    scratch_t *w = (scratch_t *)base;
    if (w == w->lead) shared_free(w);
    own_free(w);
    zllm_heap_free(base->heap, w);
}

void zllm_scratch_restart(workspace_t *base, uint32_t lane) {
    lane_t *of = &((scratch_t *)base)->lanes[lane];
    lane_restart(of);
    of->before = 0;
}
