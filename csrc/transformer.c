#include "transformer.h"

#include <stdlib.h>
#include <string.h>

#include "fixed.h"

#define RESIDUAL_FRAC 12
#define EMBED_FRAC 16
#define QKV_FRAC 12
#define GATE_FRAC 10
#define SCORE_FRAC 16
#define KEY_SCALE_FRAC 18

typedef struct {
    int8_t *q;
    size_t stride;
    int32_t *sum;
    scale_t *scale;
} rows_t; /* quantised rows of a batch */

struct workspace {
    const zllm_model *m;
    lane_t *lanes;
    uint32_t capacity;
    int32_t *x;       /* residual [capacity][dim] */
    int32_t *acc;     /* [capacity][widest, padded] */
    int32_t *out;     /* [capacity][widest] */
    int32_t *head_acc, *logits; /* [capacity][vocab padded] */
    rows_t rows;      /* [capacity][longest cols] */
    rows_t queries;   /* [heads][head_dim] of one lane */
    int32_t *score_acc, *score; /* [group][window], [window] */
    uint16_t *soft;   /* [window] */
    int16_t *weight;  /* [group][window] */
    int32_t *mixed;   /* [group][head_dim] */
    int32_t *rope;    /* sine and cosine, [2][head_dim / 2], of the current lane's position */
    uint32_t widest, longest, vocab_stride;
};

static uint32_t max_of(uint32_t a, uint32_t b) { return a > b ? a : b; }

static size_t cache_size(const zllm_config *c) { return (size_t)c->layers * c->kv_heads * c->window * c->head_dim; }
static size_t scale_count(const zllm_config *c) { return (size_t)c->layers * c->kv_heads * c->window; }

size_t lane_memory(const zllm_model *m) {
    return sizeof(lane_t) + 2 * cache_size(&m->config) + 4 * scale_count(&m->config);
}

static void *aligned(size_t size) { return aligned_alloc(64, (size + 63) / 64 * 64); }

static int lane_new(lane_t *lane, const zllm_config *c) {
    lane->keys = aligned(cache_size(c));
    lane->values = aligned(cache_size(c));
    lane->key_scale = calloc(scale_count(c), sizeof(int16_t));
    lane->value_scale = calloc(scale_count(c), sizeof(int16_t));
    lane->position = 0;
    if (!lane->keys || !lane->values || !lane->key_scale || !lane->value_scale) return 0;
    /* Slots not yet written are read by whole vectors and then ignored; give them a value all the same. */
    memset(lane->keys, 0, cache_size(c));
    memset(lane->values, 0, cache_size(c));
    return 1;
}

void lane_reset(lane_t *lane) { lane->position = 0; }

static int rows_new(rows_t *r, uint32_t count, uint32_t cols) {
    r->stride = cols;
    r->q = aligned((size_t)count * cols);
    r->sum = calloc(count, sizeof *r->sum);
    r->scale = calloc(count, sizeof *r->scale);
    return r->q && r->sum && r->scale;
}

static void rows_free(rows_t *r) {
    free(r->q);
    free(r->sum);
    free(r->scale);
}

workspace_t *workspace_new(const zllm_model *m, uint32_t lanes) {
    const zllm_config *c = &m->config;
    const uint32_t group = c->heads / c->kv_heads, qkv = (c->heads + 2 * c->kv_heads) * c->head_dim;
    workspace_t *w = calloc(1, sizeof *w);
    if (w == NULL) return NULL;
    w->m = m;
    w->capacity = lanes;
    w->longest = max_of(max_of(c->dim, c->heads * c->head_dim), c->ffn);
    w->widest = round_up(max_of(max_of(qkv, 2 * c->ffn), max_of(c->dim, c->heads * c->head_dim)), ZLLM_ROW_ALIGN);
    w->vocab_stride = round_up(c->vocab, ZLLM_ROW_ALIGN);
    w->lanes = calloc(lanes, sizeof *w->lanes);
    w->x = aligned((size_t)lanes * c->dim * sizeof(int32_t));
    w->acc = aligned((size_t)lanes * w->widest * sizeof(int32_t));
    w->out = aligned((size_t)lanes * w->widest * sizeof(int32_t));
    w->head_acc = aligned((size_t)lanes * w->vocab_stride * sizeof(int32_t));
    w->logits = aligned((size_t)lanes * w->vocab_stride * sizeof(int32_t));
    w->score_acc = aligned((size_t)group * c->window * sizeof(int32_t));
    w->score = aligned(c->window * sizeof(int32_t));
    w->soft = aligned(c->window * sizeof(uint16_t));
    w->weight = aligned((size_t)group * c->window * sizeof(int16_t));
    w->mixed = aligned((size_t)group * c->head_dim * sizeof(int32_t));
    w->rope = aligned(c->head_dim * sizeof(int32_t));
    int ok = w->lanes && w->x && w->acc && w->out && w->head_acc && w->logits && w->score_acc && w->score && w->soft && w->weight &&
             w->mixed && w->rope && rows_new(&w->rows, lanes, w->longest) &&
             rows_new(&w->queries, c->heads, c->head_dim);
    for (uint32_t i = 0; ok && i < lanes; i++) ok = lane_new(&w->lanes[i], c);
    if (ok) return w;
    workspace_free(w);
    return NULL;
}

void workspace_free(workspace_t *w) {
    if (w == NULL) return;
    for (uint32_t i = 0; w->lanes != NULL && i < w->capacity; i++) {
        free(w->lanes[i].keys);
        free(w->lanes[i].values);
        free(w->lanes[i].key_scale);
        free(w->lanes[i].value_scale);
    }
    free(w->lanes);
    free(w->x);
    free(w->acc);
    free(w->out);
    free(w->head_acc);
    free(w->logits);
    free(w->score_acc);
    free(w->score);
    free(w->soft);
    free(w->weight);
    free(w->mixed);
    free(w->rope);
    rows_free(&w->rows);
    rows_free(&w->queries);
    free(w);
}

lane_t *workspace_lane(workspace_t *w, uint32_t i) { return &w->lanes[i]; }

const int32_t *transformer_logits(const workspace_t *w, uint32_t i) {
    return w->logits + (size_t)i * w->vocab_stride;
}

/* Quantise one row to int8. normalise: its scale is then that of x / rms(x), else that of x * 2^-frac. */
static scale_t quantise(const zllm_kernel *k, const int32_t *x, uint32_t n, int normalise, int32_t frac, int8_t *q,
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
    for (uint32_t i = 0; i < n; i++)
        w->rows.scale[i] = quantise(w->m->kernel, x + i * stride, cols, normalise, frac, w->rows.q + i * w->rows.stride,
                                    &w->rows.sum[i]);
}

/* w->acc = w->rows times the matrix. */
static void multiply(workspace_t *w, const matrix_t *a, int32_t *acc, size_t stride, uint32_t n) {
    w->m->kernel->matmul(a->packed, round_up(a->rows, ZLLM_ROW_ALIGN), a->cols, w->rows.q, w->rows.stride, w->rows.sum,
                         n, acc, stride);
}

/* Sums of `cols` products to fixed point, saturating at 2^30. A sum is below 2^bits and its multiplier at most 2^16, so
 * from a shift of bits - 14 on nothing can saturate, and the kernel need not look. */
static void scale_sums(const zllm_kernel *k, const int32_t *acc, const int16_t *scale, uint32_t n, uint32_t cols,
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

/* Part [from, from + count) of a product's rows, with frac fractional bits. */
static void dequantise(workspace_t *w, const matrix_t *a, const int32_t *acc, size_t stride, uint32_t from,
                       uint32_t count, int32_t frac, int32_t *out, size_t out_stride, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) {
        const scale_t s = w->rows.scale[i];
        scale_sums(w->m->kernel, acc + i * stride + from, a->scale + from, count, a->cols, s.mantissa,
                   a->exponent + s.exponent - 15 - frac, out + i * out_stride + from);
    }
}

/* The rotary position code, in place, on a head that is first brought to 14 bits: its scale is normalised later. */
static void rotate(workspace_t *w, int32_t *head) {
    const zllm_kernel *k = w->m->kernel;
    const uint32_t half = w->m->config.head_dim / 2;
    k->rotate(head, half, w->rope, (int32_t)bit_length32(k->absmax(head, 2 * half)) - 14);
}

static void prepare_rope(workspace_t *w, uint32_t position) {
    const uint32_t half = w->m->config.head_dim / 2;
    for (uint32_t i = 0; i < half; i++)
        fixed_sincos(position * w->m->rope_step[i], &w->rope[i], &w->rope[half + i]);
}

/* Put this token's key and value of one head into the caches. */
static void remember(workspace_t *w, lane_t *lane, const layer_t *layer, size_t cache, uint32_t slot, int32_t *key,
                     const int32_t *value) {
    const zllm_config *c = &w->m->config;
    const zllm_kernel *k = w->m->kernel;
    int8_t q[256];
    int32_t sum;
    rotate(w, key);
    const scale_t s = quantise(k, key, c->head_dim, 1, 0, q, &sum);
    const uint32_t fixed = (uint32_t)shift_right(s.mantissa, (uint32_t)(s.exponent - KEY_SCALE_FRAC));
    lane->key_scale[cache * c->window + slot] = (int16_t)(fixed > 32767u ? 32767u : fixed);
    k->pack_row(q, slot, c->head_dim, lane->keys + cache * c->window * c->head_dim);
    (void)quantise(k, value, c->head_dim, 0, 0, q, &sum);
    const uint64_t vs = ((uint64_t)k->absmax(value, c->head_dim) * 66052u) >> layer->v_shift; /* 2^23 / 127 */
    lane->value_scale[cache * c->window + slot] = (int16_t)(vs > 32767u ? 32767u : vs);
    k->value_row(q, slot, c->head_dim, lane->values + cache * c->window * c->head_dim);
}

/* Attention of the heads that share one key head; out [group][head_dim] with 39 - v_shift fractional bits. */
static void attend(workspace_t *w, const lane_t *lane, const layer_t *layer, size_t cache, uint32_t first,
                   uint32_t group, uint32_t slots, int32_t *out) {
    const zllm_config *c = &w->m->config;
    const zllm_kernel *k = w->m->kernel;
    const int16_t *key_scale = lane->key_scale + cache * c->window;
    const scale_t temperature = {layer->temperature, layer->temperature_exponent};
    const uint32_t even = slots + (slots & 1);
    int32_t reciprocal[256];
    k->matmul(lane->keys + cache * c->window * c->head_dim, round_up(slots, ZLLM_ROW_ALIGN), c->head_dim,
              w->queries.q + first * w->queries.stride, w->queries.stride, w->queries.sum + first, group, w->score_acc,
              c->window);
    for (uint32_t h = 0; h < group; h++) {
        const scale_t s = fixed_multiply(w->queries.scale[first + h], temperature);
        scale_sums(k, w->score_acc + (size_t)h * c->window, key_scale, slots, c->head_dim, s.mantissa,
                   KEY_SCALE_FRAC + s.exponent - 15 - SCORE_FRAC, w->score);
        const uint32_t sum = k->softmax(w->score, slots, w->soft); /* 32767 to 512 * 32767 */
        reciprocal[h] = (int32_t)(((uint64_t)1 << 38) / sum);
        k->weigh(w->soft, lane->value_scale + cache * c->window, slots, w->weight + (size_t)h * c->window);
        if (even != slots) w->weight[(size_t)h * c->window + slots] = 0;
    }
    k->weigh_values(lane->values + cache * c->window * c->head_dim, even, c->head_dim, w->weight, c->window, group,
                    w->mixed);
    for (uint32_t h = 0; h < group; h++)
        k->divide(w->mixed + (size_t)h * c->head_dim, c->head_dim, reciprocal[h], out + (size_t)h * c->head_dim);
}

/* One lane's attention: qkv is its row of the projection, overwritten with the heads' output. */
static void attention(workspace_t *w, lane_t *lane, const layer_t *layer, uint32_t l, int32_t *qkv) {
    const zllm_config *c = &w->m->config;
    const uint32_t group = c->heads / c->kv_heads, slot = lane->position % c->window;
    const uint32_t slots = lane->position < c->window ? lane->position + 1 : c->window;
    int32_t *key = qkv + (size_t)c->heads * c->head_dim, *value = key + (size_t)c->kv_heads * c->head_dim;
    prepare_rope(w, lane->position);
    for (uint32_t h = 0; h < c->heads; h++) {
        rotate(w, qkv + (size_t)h * c->head_dim);
        w->queries.scale[h] = quantise(w->m->kernel, qkv + (size_t)h * c->head_dim, c->head_dim, 1, 0,
                                       w->queries.q + h * w->queries.stride, &w->queries.sum[h]);
    }
    for (uint32_t g = 0; g < c->kv_heads; g++) {
        const size_t cache = (size_t)l * c->kv_heads + g;
        remember(w, lane, layer, cache, slot, key + (size_t)g * c->head_dim, value + (size_t)g * c->head_dim);
        attend(w, lane, layer, cache, g * group, group, slots, qkv + (size_t)g * group * c->head_dim);
    }
}

static void add_rows(workspace_t *w, uint32_t n) {
    const uint32_t dim = w->m->config.dim;
    for (uint32_t i = 0; i < n; i++)
        w->m->kernel->add(w->x + (size_t)i * dim, w->out + (size_t)i * w->widest, dim);
}

static void layer_step(workspace_t *w, const uint32_t *ids, uint32_t l, uint32_t n) {
    const zllm_config *c = &w->m->config;
    const layer_t *layer = &w->m->layers[l];
    const size_t stride = w->widest;

    quantise_rows(w, w->x, c->dim, c->dim, 1, 0, n);
    multiply(w, &layer->qkv, w->acc, stride, n);
    dequantise(w, &layer->qkv, w->acc, stride, 0, layer->qkv.rows, QKV_FRAC, w->out, stride, n);
    for (uint32_t i = 0; i < n; i++) attention(w, &w->lanes[ids[i]], layer, l, w->out + i * stride);
    quantise_rows(w, w->out, stride, c->heads * c->head_dim, 0, 39 - (int32_t)layer->v_shift, n);
    multiply(w, &layer->o, w->acc, stride, n);
    dequantise(w, &layer->o, w->acc, stride, 0, c->dim, RESIDUAL_FRAC, w->out, stride, n);
    add_rows(w, n);

    quantise_rows(w, w->x, c->dim, c->dim, 1, 0, n);
    multiply(w, &layer->gate_up, w->acc, stride, n);
    dequantise(w, &layer->gate_up, w->acc, stride, 0, c->ffn, GATE_FRAC, w->out, stride, n);
    dequantise(w, &layer->gate_up, w->acc, stride, c->ffn, c->ffn, (int32_t)layer->up_frac, w->out, stride, n);
    for (uint32_t i = 0; i < n; i++)
        w->m->kernel->gate(w->out + i * stride, w->out + i * stride + c->ffn, c->ffn, w->acc + i * stride);
    quantise_rows(w, w->acc, stride, c->ffn, 0, GATE_FRAC + (int32_t)layer->up_frac, n);
    multiply(w, &layer->down, w->acc, stride, n);
    dequantise(w, &layer->down, w->acc, stride, 0, c->dim, RESIDUAL_FRAC, w->out, stride, n);
    add_rows(w, n);
}

void transformer_step(workspace_t *w, const uint32_t *ids, const uint32_t *tokens, uint32_t n) {
    const zllm_model *m = w->m;
    const zllm_config *c = &m->config;
    for (uint32_t i = 0; i < n; i++) {
        const int8_t *e = m->embed + (size_t)tokens[i] * c->dim;
        for (uint32_t d = 0; d < c->dim; d++) w->x[(size_t)i * c->dim + d] =
                (int32_t)shift_right(e[d] * m->embed_scale[tokens[i]] + 8, EMBED_FRAC - RESIDUAL_FRAC);
    }
    for (uint32_t l = 0; l < c->layers; l++) layer_step(w, ids, l, n);
    quantise_rows(w, w->x, c->dim, c->dim, 1, 0, n);
    multiply(w, &m->head, w->head_acc, w->vocab_stride, n);
    dequantise(w, &m->head, w->head_acc, w->vocab_stride, 0, c->vocab, SCORE_FRAC, w->logits, w->vocab_stride, n);
    for (uint32_t i = 0; i < n; i++) w->lanes[ids[i]].position++;
}
