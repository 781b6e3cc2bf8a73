#include "transformer.h"

#include "workspace.h"

#define RESIDUAL_FRAC 12
#define EMBED_FRAC 16
#define GATE_FRAC 10

scale_t quantise_row(const zllm_kernel *k, const int32_t *x, uint32_t n, int normalise, int32_t frac, int8_t *q,
                     int32_t *sum) {
    uint32_t shift;
    int32_t reciprocal, squares;
    const uint32_t largest = k->absmax(x, n);
    fixed_reciprocal(largest, &shift, &reciprocal);
    k->quantise(x, n, shift, reciprocal, q, sum, &squares);
    return normalise ? fixed_norm_scale(n, (uint32_t)squares) : fixed_abs_scale(largest, frac);
}

static void quantise_rows(workspace_t *w, const int32_t *x, size_t stride, uint32_t cols, int normalise, int32_t frac,
                          uint32_t n) {
    rows_t *r = &w->block;
    for (uint32_t i = 0; i < n; i++)
        r->scale[i] = quantise_row(w->m->kernel, x + i * stride, cols, normalise, frac, r->q + i * r->stride, &r->sum[i]);
    lap(&w->laps, ZLLM_STAGE_QUANTISE);
}

/* acc = the block's rows times the matrix. */
static void multiply(workspace_t *w, const matrix_t *a, int32_t *acc, size_t stride, uint32_t n, zllm_stage stage) {
    w->m->kernel->matmul(a->packed, round_up(a->rows, ZLLM_ROW_ALIGN), a->cols, w->block.q, w->block.stride,
                         w->block.sum, n, acc, stride);
    lap(&w->laps, stage);
}

/* A sum is below 2^bits and its multiplier at most 2^16, so from a shift of bits - 14 on nothing can saturate, and the
 * kernel need not look. */
void scale_sums(const zllm_kernel *k, const int32_t *acc, const int16_t *scale, uint32_t n, uint32_t cols,
                uint32_t mantissa, int32_t shift, int32_t *out) {
    const uint32_t s = (uint32_t)(shift < 1 ? 1 : shift > 62 ? 62 : shift);
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

/* Rows [from, from + count) of a product of n of the block's rows, with frac fractional bits. */
static void dequantise(workspace_t *w, const matrix_t *a, uint32_t from, uint32_t count, int32_t frac, int32_t *out,
                       size_t out_stride, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) {
        const scale_t s = w->block.scale[i];
        scale_sums(w->m->kernel, w->acc + (size_t)i * w->widest + from, a->scale + from, count, a->cols, s.mantissa,
                   a->exponent + s.exponent - 15 - frac, out + i * out_stride + from);
    }
}

/* The residual of rows [from, from + n) += block times matrix. */
static void project(workspace_t *w, const matrix_t *a, uint32_t from, uint32_t n) {
    const uint32_t dim = w->m->config.dim;
    multiply(w, a, w->acc, w->widest, n, ZLLM_STAGE_MATRIX);
    dequantise(w, a, 0, dim, RESIDUAL_FRAC, w->out, w->widest, n);
    for (uint32_t i = 0; i < n; i++)
        w->m->kernel->add(w->x + (size_t)(from + i) * dim, w->out + (size_t)i * w->widest, dim);
    lap(&w->laps, ZLLM_STAGE_SCALE);
}

static void project_qkv(workspace_t *w, const layer_t *layer, uint32_t from, uint32_t n) {
    const uint32_t dim = w->m->config.dim;
    quantise_rows(w, w->x + (size_t)from * dim, dim, dim, 1, 0, n);
    multiply(w, &layer->qkv, w->acc, w->widest, n, ZLLM_STAGE_MATRIX);
    dequantise(w, &layer->qkv, 0, layer->qkv.rows, QKV_FRAC, w->qkv + (size_t)from * w->qkv_stride, w->qkv_stride, n);
    lap(&w->laps, ZLLM_STAGE_SCALE);
}

static void feed_forward(workspace_t *w, const layer_t *layer, uint32_t from, uint32_t n) {
    const zllm_config *c = &w->m->config;
    const size_t stride = w->widest;
    quantise_rows(w, w->x + (size_t)from * c->dim, c->dim, c->dim, 1, 0, n);
    multiply(w, &layer->gate_up, w->acc, stride, n, ZLLM_STAGE_MATRIX);
    dequantise(w, &layer->gate_up, 0, c->ffn, GATE_FRAC, w->out, stride, n);
    dequantise(w, &layer->gate_up, c->ffn, c->ffn, (int32_t)layer->up_frac, w->out, stride, n);
    lap(&w->laps, ZLLM_STAGE_SCALE);
    for (uint32_t i = 0; i < n; i++)
        w->m->kernel->gate(w->out + i * stride, w->out + i * stride + c->ffn, c->ffn, w->acc + i * stride);
    lap(&w->laps, ZLLM_STAGE_GATE);
    quantise_rows(w, w->acc, stride, c->ffn, 0, GATE_FRAC + (int32_t)layer->up_frac, n);
    project(w, &layer->down, from, n);
}

static void layer_step(workspace_t *w, const uint32_t *ids, uint32_t l, uint32_t n) {
    const zllm_config *c = &w->m->config;
    const layer_t *layer = &w->m->layers[l];
    for (uint32_t i = 0; i < n; i += BLOCK_ROWS) project_qkv(w, layer, i, n - i < BLOCK_ROWS ? n - i : BLOCK_ROWS);
    for (uint32_t i = 0, end; i < n; i = end) {
        for (end = i + 1; end < n && ids[end] == ids[i];) end++;
        attention(w, &w->lanes[ids[i]], l, i, end - i);
    }
    for (uint32_t i = 0; i < n; i += BLOCK_ROWS) {
        const uint32_t part = n - i < BLOCK_ROWS ? n - i : BLOCK_ROWS;
        quantise_rows(w, w->qkv + (size_t)i * w->qkv_stride, w->qkv_stride, c->heads * c->head_dim, 0,
                      39 - (int32_t)layer->v_shift, part);
        project(w, &layer->o, i, part);
        feed_forward(w, layer, i, part);
    }
}

/* Rows of the embedding, and the rotary code of each row's position. */
static void embed(workspace_t *w, const uint32_t *ids, const uint32_t *tokens, uint32_t n) {
    const zllm_model *m = w->m;
    const uint32_t dim = m->config.dim, half = m->config.head_dim / 2;
    for (uint32_t i = 0, run = 0; i < n; i++) {
        const int8_t *e = m->embed + (size_t)tokens[i] * dim;
        for (uint32_t d = 0; d < dim; d++)
            w->x[(size_t)i * dim + d] =
                shift_right32(e[d] * m->embed_scale[tokens[i]] + 8, EMBED_FRAC - RESIDUAL_FRAC);
        run = i > 0 && ids[i] == ids[i - 1] ? run + 1 : 0;
        const uint32_t position = w->lanes[ids[i]].position + run;
        int32_t *rope = w->rope + (size_t)i * 2 * half;
        for (uint32_t k = 0; k < half; k++) fixed_sincos(position * m->rope_step[k], &rope[k], &rope[half + k]);
    }
}

void transformer_step(workspace_t *w, const uint32_t *ids, const uint32_t *tokens, uint32_t n) {
    for (uint32_t i = 0, end; i < n; i = end) {
        for (end = i + 1; end < n && ids[end] == ids[i];) end++;
        lane_reserve(w, &w->lanes[ids[i]], end - i);
    }
    embed(w, ids, tokens, n);
    lap(&w->laps, ZLLM_STAGE_CACHE);
    for (uint32_t l = 0; l < w->m->config.layers; l++) layer_step(w, ids, l, n);
    for (uint32_t i = 0; i < n; i++) {
        w->lanes[ids[i]].filled++;
        w->lanes[ids[i]].position++;
    }
}

void transformer_head(workspace_t *w, uint32_t from, uint32_t n) {
    const uint32_t dim = w->m->config.dim;
    quantise_rows(w, w->x + (size_t)from * dim, dim, dim, 1, 0, n);
    multiply(w, &w->m->head, w->head_acc, w->vocab_stride, n, ZLLM_STAGE_HEAD);
}

const int32_t *transformer_logits(workspace_t *w, uint32_t i) {
    const matrix_t *head = &w->m->head;
    const scale_t s = w->block.scale[i];
    scale_sums(w->m->kernel, w->head_acc + (size_t)i * w->vocab_stride, head->scale, w->m->config.vocab, head->cols,
               s.mantissa, head->exponent + s.exponent - 15 - SCORE_FRAC, w->logits);
    return w->logits;
}
