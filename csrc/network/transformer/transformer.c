#include <string.h>

#include "network/transformer/scratch.h"

#define RESIDUAL_FRAC 12
#define GATE_FRAC 10
#define GELU_FRAC 25

/* How a team shares a step: rows where each is alone (normalising, quantising, attention), columns of the result where they
 * are multiplied. Each of these parts reads what others wrote in the one before, so there is a barrier in between; a part
 * that ends with its own columns of x, or of the block's sums, ends with one. Alone, a share is everything. */

/* n rows to the block, as the matrix takes them. */
static void quantise_rows(scratch_t *w, const matrix_t *a, const int32_t *x, size_t stride, int normalise, int32_t frac,
                          uint32_t n) {
    zllm_matrix_quantise(a, w->net->base.kernel, x, stride, normalise, frac, share_of(&w->base, n, 1), &w->block);
    lap(&w->base.laps, ZLLM_STAGE_QUANTISE);
    workspace_barrier(&w->base);
}

/* acc = the block's n rows times these of the matrix. */
static void multiply(scratch_t *w, const matrix_t *a, share_t of, int32_t *acc, size_t stride, uint32_t n,
                     zllm_stage stage) {
    zllm_matrix_multiply(a, w->net->base.kernel, &w->block, n, of, acc, stride);
    lap(&w->base.laps, stage);
}

/* Own results of the block's n rows, to out[of.from] of each. */
static void dequantise(scratch_t *w, const matrix_t *a, share_t of, int32_t frac, int32_t *out, size_t out_stride,
                       uint32_t n) {
    for (uint32_t i = 0; i < n; i++)
        zllm_matrix_dequantise(a, w->net->base.kernel, &w->block, i, w->acc, w->widest, of.from, of.end - of.from, frac,
                               out + i * out_stride + of.from);
}

/* Own columns of the block times the matrix, with frac fractional bits, to out. Returns which. */
static share_t project(scratch_t *w, const matrix_t *a, int32_t frac, int32_t *out, size_t stride, uint32_t n) {
    const share_t own = share_of(&w->base, a->rows, ZLLM_ROW_ALIGN);
    multiply(w, a, own, w->acc, w->widest, n, ZLLM_STAGE_MATRIX);
    dequantise(w, a, own, frac, out, stride, n);
    lap(&w->base.laps, ZLLM_STAGE_SCALE);
    return own;
}

/* Own columns of the residual of rows [from, from + n) += y. */
static void add_rows(scratch_t *w, share_t own, const int32_t *y, size_t stride, uint32_t from, uint32_t n) {
    for (uint32_t i = 0; i < n; i++)
        w->net->base.kernel->add(w->x + (size_t)(from + i) * w->net->config.dim + own.from, y + i * stride + own.from,
                          own.end - own.from);
    lap(&w->base.laps, ZLLM_STAGE_SCALE);
}

/* Own rows of [from, from + n), those that this thread quantises next: residual, embedding and pair's row, each times the
 * layer's scale. */
static void blend_rows(scratch_t *w, const layer_t *layer, uint32_t from, uint32_t n) {
    const share_t own = share_of(&w->base, n, 1);
    const uint32_t dim = w->net->config.dim;
    const int32_t *pair = w->pair != NULL ? w->pair : w->first; /* whose scale is 0 then */
    for (size_t i = from + own.from; i < from + own.end; i++)
        w->net->base.kernel->blend(w->x + i * dim, w->first + i * dim, pair + i * dim, dim, layer->by);
    lap(&w->base.laps, ZLLM_STAGE_SCALE);
}

static void project_qkv(scratch_t *w, const layer_t *layer, uint32_t from, uint32_t n) {
    const uint32_t dim = w->net->config.dim;
    if (layer->blends) blend_rows(w, layer, from, n);
    quantise_rows(w, &layer->qkv, w->x + (size_t)from * dim, dim, 1, 0, n);
    (void)project(w, &layer->qkv, QKV_FRAC, w->qkv + (size_t)from * w->qkv_stride, w->qkv_stride, n);
    workspace_barrier(&w->base);
}

static void project_heads(scratch_t *w, const layer_t *layer, uint32_t from, uint32_t n) {
    quantise_rows(w, &layer->o, w->qkv + (size_t)from * w->qkv_stride, w->qkv_stride, 0, 39 - (int32_t)layer->v_shift, n);
    add_rows(w, project(w, &layer->o, RESIDUAL_FRAC, w->out, w->widest, n), w->out, w->widest, from, n);
}

/* Own columns of what the feed-forward has between its matrices, to acc; each thread reads its own sums there only. */
static void project_gate(scratch_t *w, const matrix_t *both, const layer_t *layer, uint32_t n) {
    const transformer_config_t *c = &w->net->config;
    const size_t wide = w->widest;
    const share_t own = share_of(&w->base, c->ffn, ZLLM_ROW_ALIGN), up = {c->ffn + own.from, c->ffn + own.end};
    const uint32_t count = own.end - own.from;
    multiply(w, both, own, w->acc, wide, n, ZLLM_STAGE_MATRIX);
    if (c->mlp == 0) multiply(w, both, up, w->acc, wide, n, ZLLM_STAGE_MATRIX);
    dequantise(w, both, own, GATE_FRAC, w->out, wide, n);
    if (c->mlp == 0) dequantise(w, both, up, (int32_t)layer->up_frac, w->out, wide, n);
    lap(&w->base.laps, ZLLM_STAGE_SCALE);
    for (uint32_t i = 0; i < n; i++) {
        int32_t *gate = w->out + i * wide + own.from, *h = w->acc + i * wide + own.from;
        if (c->mlp == 0) w->net->base.kernel->gate(gate, gate + c->ffn, count, h);
        else w->net->base.kernel->gelu(gate, count, h);
    }
    lap(&w->base.laps, ZLLM_STAGE_GATE);
}

/* Own columns of what the feed-forward adds to rows [from, from + n), to out. Returns which. */
static share_t feed_forward(scratch_t *w, const layer_t *layer, uint32_t from, uint32_t n, int32_t *out,
                            size_t stride) {
    const transformer_config_t *c = &w->net->config;
    quantise_rows(w, &layer->gate_up, w->x + (size_t)from * c->dim, c->dim, 1, 0, n);
    project_gate(w, &layer->gate_up, layer, n);
    workspace_barrier(&w->base);
    quantise_rows(w, &layer->down, w->acc, w->widest, 0, c->mlp == 0 ? GATE_FRAC + (int32_t)layer->up_frac : GELU_FRAC, n);
    return project(w, &layer->down, RESIDUAL_FRAC, out, stride, n);
}

/* Own runs: a run's rows are of one lane. */
static void attend_runs(scratch_t *w, uint32_t l) {
    const share_t own = share_of(&w->base, w->lead->run_count, 1);
    for (uint32_t r = own.from; r < own.end; r++) zllm_attention(w, &w->runs[r], own.end - r, l);
    workspace_barrier(&w->base);
}

static void layer_step(scratch_t *w, uint32_t l, uint32_t n) {
    const layer_t *layer = &w->net->layers[l];
    const uint32_t dim = w->net->config.dim;
    for (uint32_t i = 0; i < n; i += BLOCK_ROWS) project_qkv(w, layer, i, n - i < BLOCK_ROWS ? n - i : BLOCK_ROWS);
    attend_runs(w, l);
    for (uint32_t i = 0; i < n; i += BLOCK_ROWS) {
        const uint32_t part = n - i < BLOCK_ROWS ? n - i : BLOCK_ROWS;
        if (w->branch != NULL) { /* parallel: the feed-forward reads x before attention is added to it */
            const share_t own = feed_forward(w, layer, i, part, w->branch, dim);
            workspace_barrier(&w->base);
            project_heads(w, layer, i, part);
            add_rows(w, own, w->branch, dim, i, part);
        } else {
            project_heads(w, layer, i, part);
            workspace_barrier(&w->base);
            add_rows(w, feed_forward(w, layer, i, part, w->out, w->widest), w->out, w->widest, i, part);
        }
        workspace_barrier(&w->base);
    }
}

/* Room for all rows in the caches. A run ends where its lane does, or where learned positions do: what follows starts with
 * an empty cache. A layer computes its runs one after the other, so that they may share slots. */
static void plan(scratch_t *w, const uint32_t *ids, uint32_t n) {
    const uint32_t positions = w->net->config.positions;
    w->run_count = 0;
    for (uint32_t i = 0, end; i < n; i = end) {
        lane_t *lane = &w->lanes[ids[i]];
        if (positions > 0 && lane->position == positions) lane_restart(lane);
        const uint32_t left = positions > 0 ? positions - lane->position : n;
        for (end = i + 1; end < n && ids[end] == ids[i] && end - i < left;) end++;
        zllm_lane_reserve(w, lane, end - i);
        w->runs[w->run_count++] = (run_t){ids[i], i, end - i, lane->filled, lane->position, lane->before};
        lane->before = w->tokens[end - 1];
        lane->filled += end - i;
        lane->position += end - i;
    }
}

/* The embedding of a token, at a position. */
static void embed(const transformer_t *t, uint32_t token, uint32_t position, int32_t *x) {
    const uint32_t dim = t->config.dim;
    zllm_table_row(&t->embed, t->base.kernel, token, x);
    if (t->positions != NULL) t->base.kernel->add(x, t->positions + (size_t)position * dim, dim);
}

/* The row of two tokens, of which each table has a part. */
static void pair_row(const transformer_t *t, uint32_t token, uint32_t before, int32_t *out) {
    size_t rows[PAIR_PARTS];
    zllm_pair_rows(token, before, t->config.pair_bits, rows);
    for (uint32_t i = 0; i < PAIR_PARTS; i++) zllm_table_row(&t->pairs, t->base.kernel, rows[i], out + i * t->pairs.cols);
}

/* What the rows will be looked up by is known: all that lies in large tables is asked for before any of it is used. */
static void prefetch_run(const scratch_t *w, const run_t *run) {
    const transformer_t *t = w->net;
    for (uint32_t i = 0; i < run->n; i++) {
        const uint32_t token = w->tokens[run->from + i], before = i ? w->tokens[run->from + i - 1] : run->before;
        size_t rows[PAIR_PARTS];
        table_prefetch(&t->embed, token);
        for (uint32_t l = 0; l < t->config.layers; l++)
            if (t->layers[l].values.q != NULL) table_prefetch(&t->layers[l].values, token);
        if (w->pair == NULL) continue;
        zllm_pair_rows(token, before, t->config.pair_bits, rows);
        for (uint32_t k = 0; k < PAIR_PARTS; k++) table_prefetch(&t->pairs, rows[k]);
    }
}

/* What a run's rows start with, and the rotary code of each one's position. */
static void start_rows(scratch_t *w, const run_t *run) {
    const transformer_t *t = w->net;
    const uint32_t half = t->config.head_dim / 2, dim = t->config.dim;
    for (uint32_t i = 0; i < run->n; i++) {
        const uint32_t row = run->from + i, position = run->position + i, token = w->tokens[row];
        int32_t *rope = w->rope + (size_t)row * 2 * half, *x = w->x + (size_t)row * dim;
        embed(t, token, position, x);
        if (w->first != NULL) memcpy(w->first + (size_t)row * dim, x, dim * sizeof *x);
        if (w->pair != NULL) pair_row(t, token, i ? w->tokens[row - 1] : run->before, w->pair + (size_t)row * dim);
        for (uint32_t k = 0; k < half; k++) zllm_fixed_sincos(position * t->rope_step[k], &rope[k], &rope[half + k]);
    }
}

static void step(workspace_t *base, const uint32_t *ids, const uint32_t *tokens, uint32_t n) {
    scratch_t *w = (scratch_t *)base;
    w->tokens = tokens;
    if (w == w->lead) plan(w, ids, n);
    workspace_barrier(base);
    const share_t own = share_of(base, w->lead->run_count, 1);
    for (uint32_t r = own.from; r < own.end; r++) prefetch_run(w, &w->runs[r]);
    for (uint32_t r = own.from; r < own.end; r++) start_rows(w, &w->runs[r]);
    lap(&base->laps, ZLLM_STAGE_CACHE);
    workspace_barrier(base);
    for (uint32_t l = 0; l < w->net->config.layers; l++) layer_step(w, l, n);
}

/* The first level's matrix. */
static const matrix_t *first_level(const scratch_t *w) {
    return w->net->config.classes ? &w->net->classes.map : &w->net->head;
}

/* Rows from `row` on of what the head reads: with classes of all of the step's rows, else of those in work. */
static rows_t head_rows(const scratch_t *w, uint32_t row) {
    if (!w->net->config.classes) return w->block;
    const size_t at = (size_t)(w->net->config.wide_head ? 2 : 1) * row;
    return (rows_t){w->last.q + at * w->last.stride, w->last.stride, w->last.sum + at, w->last.scale + row};
}

static void head(workspace_t *base, uint32_t from, uint32_t n) {
    scratch_t *w = (scratch_t *)base;
    const matrix_t *a = first_level(w);
    const uint32_t dim = w->net->config.dim;
    workspace_barrier(base); /* somebody may still read logits */
    w->head_rows = head_rows(w, from);
    zllm_matrix_quantise(a, w->net->base.kernel, w->x + (size_t)from * dim, dim, 1, 0, share_of(base, n, 1), &w->head_rows);
    lap(&base->laps, ZLLM_STAGE_QUANTISE);
    workspace_barrier(base);
    zllm_matrix_multiply(a, w->net->base.kernel, &w->head_rows, n, share_of(base, a->rows, ZLLM_ROW_ALIGN), w->head_acc,
                         w->head_stride);
    lap(&base->laps, ZLLM_STAGE_HEAD);
    workspace_barrier(base);
}

static const int32_t *logits(workspace_t *base, uint32_t i) {
    scratch_t *w = (scratch_t *)base;
    const matrix_t *a = first_level(w);
    zllm_matrix_dequantise(a, w->net->base.kernel, &w->head_rows, i, w->head_acc, w->head_stride, 0, a->rows, SCORE_FRAC,
                           w->logits);
    return w->logits;
}

static const int32_t *within(workspace_t *base, uint32_t row, uint32_t class_) {
    scratch_t *w = (scratch_t *)base;
    const zllm_kernel *k = w->net->base.kernel;
    const matrix_t part = zllm_class_rows(w->net, class_);
    const rows_t one = head_rows(w, row);
    zllm_matrix_multiply(&part, k, &one, 1, (share_t){0, part.rows}, w->class_acc, w->class_stride);
    zllm_matrix_dequantise(&part, k, &one, 0, w->class_acc, w->class_stride, 0, part.rows, SCORE_FRAC, w->logits);
    lap(&base->laps, ZLLM_STAGE_HEAD);
    return w->logits;
}

const network_family_t zllm_network_transformer = {
    .name = "transformer",
    .schema = &zllm_transformer_schema,
    .check_config = zllm_transformer_check_config,
    .check = zllm_transformer_check,
    .pack = zllm_transformer_pack,
    .release = zllm_transformer_release,
    .lane_memory = zllm_transformer_lane_memory,
    .workspace_new = zllm_scratch_new,
    .workspace_join = zllm_scratch_join,
    .workspace_free = zllm_scratch_free,
    .restart = zllm_scratch_restart,
    .step = step,
    .head = head,
    .logits = logits,
    .within = within,
};
