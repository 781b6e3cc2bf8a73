#include "transformer.h"

#include "variants.h"
#include "workspace.h"

#define RESIDUAL_FRAC 12
#define GATE_FRAC 10
#define GELU_FRAC 25

/* How a team shares a step: rows where each is alone (normalising, quantising, attention), columns of the result where they
 * are multiplied. Each of these parts reads what others wrote in the one before, so there is a barrier in between; a part
 * that ends with its own columns of x, or of the block's sums, ends with one. Alone, a share is everything. */

/* n rows to the block, as the matrix takes them. */
static void quantise_rows(workspace_t *w, const matrix_t *a, const int32_t *x, size_t stride, int normalise, int32_t frac,
                          uint32_t n) {
    const zllm_kernel *k = w->m->kernel;
    const share_t rows = share_of(w, n, 1);
    rows_t *r = &w->block;
    quantised_t found[BLOCK_ROWS];
    if (!a->wide)
        k->quantise(x + rows.from * stride, stride, rows.end - rows.from, a->cols, r->q + rows.from * r->stride, r->stride,
                    found + rows.from);
    for (uint32_t i = rows.from; i < rows.end; i++) {
        if (a->wide) {
            int8_t *high = r->q + 2 * i * r->stride;
            r->scale[i] = quantise_wide_row(k, x + i * stride, a->cols, normalise, frac, high, high + r->stride,
                                            &r->sum[2 * i]);
            continue;
        }
        r->scale[i] = quantised_scale(&found[i], a->cols, normalise, frac);
        r->sum[i] = found[i].sum;
    }
    lap(&w->laps, ZLLM_STAGE_QUANTISE);
    workspace_barrier(w);
}

/* acc = the block's n rows times these of the matrix; two rows of products for a wide one. */
static void multiply(workspace_t *w, const matrix_t *a, share_t of, int32_t *acc, size_t stride, uint32_t n,
                     zllm_stage stage) {
    const zllm_kernel *k = w->m->kernel;
    const uint32_t rows = padded_rows(of.end - of.from);
    if (rows > 0)
        k->matmul(a->packed + k->packed_size(of.from, a->cols), rows, a->cols, w->block.q, w->block.stride, w->block.sum,
                  a->wide ? 2 * n : n, acc + of.from, stride);
    lap(&w->laps, stage);
}

static uint32_t limit_shift(int32_t shift) { return (uint32_t)(shift < 1 ? 1 : shift > 62 ? 62 : shift); }

/* A sum is below 2^bits and its multiplier at most 2^16, so from a shift of bits - 14 on nothing can saturate, and the
 * kernel need not look. */
void scale_sums(const zllm_kernel *k, const int32_t *acc, const int16_t *scale, uint32_t n, uint32_t cols,
                uint32_t mantissa, int32_t shift, int32_t *out) {
    const uint32_t s = limit_shift(shift);
    if (s + 14 >= bit_length64((uint64_t)cols * 127u * 127u)) {
        k->dequantise(acc, scale, n, mantissa, s, out);
        return;
    }
    for (uint32_t i = 0; i < n; i++) {
        const int64_t m = (int64_t)(((uint32_t)scale[i] * mantissa) >> 15);
        const int64_t v = shift_right(acc[i] * m + ((int64_t)1 << (s - 1)), s);
        out[i] = v > ZLLM_LIMIT ? ZLLM_LIMIT : v < -ZLLM_LIMIT ? -ZLLM_LIMIT : (int32_t)v;
    }
}

/* Outputs [from, from + count) of the block's row i, with frac fractional bits; acc is that of the whole block. The kernel's
 * addition clamps to 2^30 - 1; before it, sum and bias are at most 2^30 in size. */
static void dequantise_row(const workspace_t *w, const matrix_t *a, uint32_t i, const int32_t *acc, size_t stride,
                           uint32_t from, uint32_t count, int32_t frac, int32_t *out) {
    const zllm_kernel *k = w->m->kernel;
    const scale_t s = w->block.scale[i];
    const int32_t shift = a->exponent + s.exponent - 15 - frac;
    acc += (a->wide ? 2 * i : i) * stride + from;
    if (a->wide) k->dequantise_wide(acc, acc + stride, a->scale + from, count, s.mantissa, limit_shift(shift), out);
    else scale_sums(k, acc, a->scale + from, count, a->cols, s.mantissa, shift, out);
    if (a->bias != NULL) k->add(out, a->bias + from, count);
}

/* The same of n rows, to out[of.from] of each. */
static void dequantise(workspace_t *w, const matrix_t *a, share_t of, int32_t frac, int32_t *out, size_t out_stride,
                       uint32_t n) {
    for (uint32_t i = 0; i < n; i++)
        dequantise_row(w, a, i, w->acc, w->widest, of.from, of.end - of.from, frac, out + i * out_stride + of.from);
}

/* Own columns of the block times the matrix, with frac fractional bits, to out. Returns which. */
static share_t project(workspace_t *w, const matrix_t *a, int32_t frac, int32_t *out, size_t stride, uint32_t n) {
    const share_t own = share_of(w, a->rows, ZLLM_ROW_ALIGN);
    multiply(w, a, own, w->acc, w->widest, n, ZLLM_STAGE_MATRIX);
    dequantise(w, a, own, frac, out, stride, n);
    lap(&w->laps, ZLLM_STAGE_SCALE);
    return own;
}

/* Own columns of the residual of rows [from, from + n) += y. */
static void add_rows(workspace_t *w, share_t own, const int32_t *y, size_t stride, uint32_t from, uint32_t n) {
    for (uint32_t i = 0; i < n; i++)
        w->m->kernel->add(w->x + (size_t)(from + i) * w->m->config.dim + own.from, y + i * stride + own.from,
                          own.end - own.from);
    lap(&w->laps, ZLLM_STAGE_SCALE);
}

static void project_qkv(workspace_t *w, const layer_t *layer, uint32_t from, uint32_t n) {
    const uint32_t dim = w->m->config.dim;
    quantise_rows(w, &layer->qkv, w->x + (size_t)from * dim, dim, 1, 0, n);
    (void)project(w, &layer->qkv, QKV_FRAC, w->qkv + (size_t)from * w->qkv_stride, w->qkv_stride, n);
    workspace_barrier(w);
}

static void project_heads(workspace_t *w, const layer_t *layer, uint32_t from, uint32_t n) {
    quantise_rows(w, &layer->o, w->qkv + (size_t)from * w->qkv_stride, w->qkv_stride, 0, 39 - (int32_t)layer->v_shift, n);
    add_rows(w, project(w, &layer->o, RESIDUAL_FRAC, w->out, w->widest, n), w->out, w->widest, from, n);
}

/* Own columns of what the feed-forward has between its matrices, to acc; each thread reads its own sums there only. */
static void project_gate(workspace_t *w, const matrix_t *both, const layer_t *layer, uint32_t n) {
    const zllm_config *c = &w->m->config;
    const size_t wide = w->widest;
    const share_t own = share_of(w, c->ffn, ZLLM_ROW_ALIGN), up = {c->ffn + own.from, c->ffn + own.end};
    const uint32_t count = own.end - own.from;
    multiply(w, both, own, w->acc, wide, n, ZLLM_STAGE_MATRIX);
    if (c->mlp == 0) multiply(w, both, up, w->acc, wide, n, ZLLM_STAGE_MATRIX);
    dequantise(w, both, own, GATE_FRAC, w->out, wide, n);
    if (c->mlp == 0) dequantise(w, both, up, (int32_t)layer->up_frac, w->out, wide, n);
    lap(&w->laps, ZLLM_STAGE_SCALE);
    for (uint32_t i = 0; i < n; i++) {
        int32_t *gate = w->out + i * wide + own.from, *h = w->acc + i * wide + own.from;
        if (c->mlp == 0) w->m->kernel->gate(gate, gate + c->ffn, count, h);
        else w->m->kernel->gelu(gate, count, h);
    }
    lap(&w->laps, ZLLM_STAGE_GATE);
}

/* Own columns of what the feed-forward adds to rows [from, from + n), to out. Returns which. */
static share_t feed_forward(workspace_t *w, const layer_t *layer, uint32_t from, uint32_t n, int32_t *out,
                            size_t stride) {
    const zllm_config *c = &w->m->config;
    quantise_rows(w, &layer->gate_up, w->x + (size_t)from * c->dim, c->dim, 1, 0, n);
    project_gate(w, &layer->gate_up, layer, n);
    workspace_barrier(w);
    quantise_rows(w, &layer->down, w->acc, w->widest, 0, c->mlp == 0 ? GATE_FRAC + (int32_t)layer->up_frac : GELU_FRAC, n);
    return project(w, &layer->down, RESIDUAL_FRAC, out, stride, n);
}

/* Own runs: a run's rows are of one lane. */
static void attend_runs(workspace_t *w, uint32_t l) {
    const share_t own = share_of(w, w->lead->run_count, 1);
    for (uint32_t r = own.from; r < own.end; r++) attention(w, &w->runs[r], own.end - r, l);
    workspace_barrier(w);
}

static void layer_step(workspace_t *w, uint32_t l, uint32_t n) {
    const layer_t *layer = &w->m->layers[l];
    const uint32_t dim = w->m->config.dim;
    for (uint32_t i = 0; i < n; i += BLOCK_ROWS) project_qkv(w, layer, i, n - i < BLOCK_ROWS ? n - i : BLOCK_ROWS);
    attend_runs(w, l);
    for (uint32_t i = 0; i < n; i += BLOCK_ROWS) {
        const uint32_t part = n - i < BLOCK_ROWS ? n - i : BLOCK_ROWS;
        if (w->branch != NULL) { /* parallel: the feed-forward reads x before attention is added to it */
            const share_t own = feed_forward(w, layer, i, part, w->branch, dim);
            workspace_barrier(w);
            project_heads(w, layer, i, part);
            add_rows(w, own, w->branch, dim, i, part);
        } else {
            project_heads(w, layer, i, part);
            workspace_barrier(w);
            add_rows(w, feed_forward(w, layer, i, part, w->out, w->widest), w->out, w->widest, i, part);
        }
        workspace_barrier(w);
    }
}

/* Room for all rows in the caches. A run ends where its lane does, or where learned positions do: what follows starts with
 * an empty cache. A layer computes its runs one after the other, so that they may share slots. */
static void plan(workspace_t *w, const uint32_t *ids, uint32_t n) {
    const uint32_t positions = w->m->config.positions;
    w->run_count = 0;
    for (uint32_t i = 0, end; i < n; i = end) {
        lane_t *lane = &w->lanes[ids[i]];
        if (positions > 0 && lane->position == positions) workspace_restart(w, ids[i]);
        const uint32_t left = positions > 0 ? positions - lane->position : n;
        for (end = i + 1; end < n && ids[end] == ids[i] && end - i < left;) end++;
        lane_reserve(w, lane, end - i);
        w->runs[w->run_count++] = (run_t){ids[i], i, end - i, lane->filled, lane->position};
        lane->filled += end - i;
        lane->position += end - i;
    }
}

/* The embedding of a token, at a position. */
static void embed(const zllm_model *m, uint32_t token, uint32_t position, int32_t *x) {
    const uint32_t dim = m->config.dim, shift = (uint32_t)(m->embed_exponent - RESIDUAL_FRAC);
    const int8_t *e = m->embed + (size_t)token * dim;
    const int32_t scale = m->embed_scale[token], half = 1 << (shift - 1);
    for (uint32_t d = 0; d < dim; d++) x[d] = shift_right32(e[d] * scale + half, shift);
    if (m->positions != NULL) m->kernel->add(x, m->positions + (size_t)position * dim, dim);
}

/* What a run's rows start with, and the rotary code of each one's position. */
static void start_rows(workspace_t *w, const run_t *run, const uint32_t *tokens) {
    const zllm_model *m = w->m;
    const uint32_t half = m->config.head_dim / 2;
    for (uint32_t i = 0; i < run->n; i++) {
        const uint32_t row = run->from + i, position = run->position + i;
        int32_t *rope = w->rope + (size_t)row * 2 * half;
        embed(m, tokens[row], position, w->x + (size_t)row * m->config.dim);
        for (uint32_t k = 0; k < half; k++) fixed_sincos(position * m->rope_step[k], &rope[k], &rope[half + k]);
    }
}

void transformer_step(workspace_t *w, const uint32_t *ids, const uint32_t *tokens, uint32_t n) {
    if (w == w->lead) plan(w, ids, n);
    workspace_barrier(w);
    const share_t own = share_of(w, w->lead->run_count, 1);
    for (uint32_t r = own.from; r < own.end; r++) start_rows(w, &w->runs[r], tokens);
    lap(&w->laps, ZLLM_STAGE_CACHE);
    workspace_barrier(w);
    for (uint32_t l = 0; l < w->m->config.layers; l++) layer_step(w, l, n);
}

void transformer_head(workspace_t *w, uint32_t from, uint32_t n) {
    const matrix_t *head = &w->m->head;
    const uint32_t dim = w->m->config.dim;
    workspace_barrier(w); /* somebody may still read logits */
    quantise_rows(w, head, w->x + (size_t)from * dim, dim, 1, 0, n);
    multiply(w, head, share_of(w, head->rows, ZLLM_ROW_ALIGN), w->head_acc, w->vocab_stride, n, ZLLM_STAGE_HEAD);
    workspace_barrier(w);
}

const int32_t *transformer_logits(workspace_t *w, uint32_t i) {
    dequantise_row(w, &w->m->head, i, w->head_acc, w->vocab_stride, 0, w->m->config.vocab, SCORE_FRAC, w->logits);
    return w->logits;
}
