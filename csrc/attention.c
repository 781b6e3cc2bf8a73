/* Rotary code, key and value cache, and attention over the window (docs/arithmetic.md, section 4, steps 2 to 6). */
#include <string.h>

#include "workspace.h"

#define KEY_SCALE_FRAC 18

/* The rotary position code, in place, on a head that is first brought to 14 bits: its scale is normalised later. */
static void rotate(const zllm_kernel *k, int32_t *head, uint32_t dim, const int32_t *rope) {
    k->rotate(head, dim / 2, rope, (int32_t)bit_length32(k->absmax(head, dim)) - 14);
}

/* Put a token's key and value of one head into the cache's slot. */
static void remember(workspace_t *w, lane_t *lane, const layer_t *layer, size_t cache, uint32_t slot,
                     const int32_t *rope, int32_t *key, const int32_t *value) {
    const uint32_t dim = w->m->config.head_dim;
    const zllm_kernel *k = w->m->kernel;
    const size_t at = cache * w->capacity;
    int8_t q[256];
    int32_t sum;
    rotate(k, key, dim, rope);
    const scale_t s = quantise_row(k, key, dim, 1, 0, q, &sum);
    const uint32_t fixed = (uint32_t)shift_right(s.mantissa, (uint32_t)(s.exponent - KEY_SCALE_FRAC));
    lane->key_scale[at + slot] = (int16_t)(fixed > 32767u ? 32767u : fixed);
    k->pack_row(q, slot, dim, lane->keys + at * dim);
    (void)quantise_row(k, value, dim, 0, 0, q, &sum);
    const uint64_t vs = ((uint64_t)k->absmax(value, dim) * 66052u) >> layer->v_shift; /* 2^23 / 127 */
    lane->value_scale[at + slot] = (int16_t)(vs > 32767u ? 32767u : vs);
    k->value_row(q, slot, dim, lane->values + at * dim);
}

/* Rotate and quantise the queries of n rows, and remember their keys and values from slot `slot` on. */
static void prepare(workspace_t *w, lane_t *lane, uint32_t l, uint32_t from, uint32_t n, uint32_t slot) {
    const zllm_config *c = &w->m->config;
    const uint32_t group = c->heads / c->kv_heads, dim = c->head_dim;
    for (uint32_t i = 0; i < n; i++) {
        int32_t *query = w->qkv + (size_t)(from + i) * w->qkv_stride;
        int32_t *key = query + (size_t)c->heads * dim, *value = key + (size_t)c->kv_heads * dim;
        const int32_t *rope = w->rope + (size_t)(from + i) * dim;
        for (uint32_t h = 0; h < c->heads; h++) {
            const size_t row = ((size_t)(h / group) * QUERY_ROWS + i) * group + h % group;
            rotate(w->m->kernel, query + (size_t)h * dim, dim, rope);
            w->queries.scale[row] = quantise_row(w->m->kernel, query + (size_t)h * dim, dim, 1, 0,
                                                 w->queries.q + row * dim, &w->queries.sum[row]);
        }
        for (uint32_t g = 0; g < c->kv_heads; g++)
            remember(w, lane, &w->m->layers[l], (size_t)l * c->kv_heads + g, slot + i, rope, key + (size_t)g * dim,
                     value + (size_t)g * dim);
    }
}

/* One query's sums over the slots [first, end) of a span that starts at `low`, to weights of values; the rest of the
 * span, up to `high`, weighs nothing. Returns 2^38 / sum of exponentials. */
static int32_t soften(workspace_t *w, const lane_t *lane, const layer_t *layer, size_t cache, scale_t query,
                      const int32_t *acc, uint32_t low, uint32_t first, uint32_t end, uint32_t high, int16_t *weight) {
    const zllm_kernel *k = w->m->kernel;
    const size_t at = cache * w->capacity + first;
    const uint32_t n = end - first;
    const scale_t temperature = {layer->temperature, layer->temperature_exponent};
    const scale_t s = fixed_multiply(query, temperature);
    scale_sums(k, acc + (first - low), lane->key_scale + at, n, w->m->config.head_dim, s.mantissa,
               KEY_SCALE_FRAC + s.exponent - 15 - SCORE_FRAC, w->score);
    const uint32_t sum = k->softmax(w->score, n, w->soft); /* 32767 to 512 * 32767 */
    k->weigh(w->soft, lane->value_scale + at, n, weight + (first - low));
    memset(weight, 0, (first - low) * sizeof *weight);
    memset(weight + (end - low), 0, (high - end) * sizeof *weight);
    return (int32_t)(((uint64_t)1 << 38) / sum);
}

/* Heads that share one key head, for n rows whose slots start at `slot`; replaces the queries in w->qkv by the heads'
 * output with 39 - v_shift fractional bits. */
static void attend(workspace_t *w, const lane_t *lane, uint32_t l, uint32_t g, uint32_t from, uint32_t n,
                   uint32_t slot) {
    const zllm_config *c = &w->m->config;
    const zllm_kernel *k = w->m->kernel;
    const uint32_t group = c->heads / c->kv_heads, dim = c->head_dim, count = n * group;
    const uint32_t low = (slot < c->window ? 0 : slot - c->window + 1) / CACHE_UNIT * CACHE_UNIT;
    const uint32_t end = slot + n, high = end + (end & 1);
    const size_t cache = (size_t)l * c->kv_heads + g, base = (cache * w->capacity + low) * dim;
    const size_t first_query = (size_t)g * QUERY_ROWS * group;
    k->matmul(lane->keys + base, round_up(end - low, ZLLM_ROW_ALIGN), dim, w->queries.q + first_query * dim, dim,
              w->queries.sum + first_query, count, w->score_acc, w->capacity);
    lap(&w->laps, ZLLM_STAGE_ATTENTION);
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t own = slot + i / group;
        w->reciprocal[i] = soften(w, lane, &w->m->layers[l], cache, w->queries.scale[first_query + i],
                                  w->score_acc + (size_t)i * w->capacity, low,
                                  own < c->window ? 0 : own - c->window + 1, own + 1, high,
                                  w->weight + (size_t)i * w->capacity);
    }
    lap(&w->laps, ZLLM_STAGE_SOFTMAX);
    k->weigh_values(lane->values + base, high - low, dim, w->weight, w->capacity, count, w->mixed);
    for (uint32_t i = 0; i < count; i++)
        k->divide(w->mixed + (size_t)i * dim, dim, w->reciprocal[i],
                  w->qkv + (size_t)(from + i / group) * w->qkv_stride + (size_t)(g * group + i % group) * dim);
    lap(&w->laps, ZLLM_STAGE_ATTENTION);
}

void attention(workspace_t *w, lane_t *lane, uint32_t l, uint32_t from, uint32_t n) {
    for (uint32_t i = 0; i < n; i += QUERY_ROWS) {
        const uint32_t part = n - i < QUERY_ROWS ? n - i : QUERY_ROWS;
        prepare(w, lane, l, from + i, part, lane->filled + i);
        lap(&w->laps, ZLLM_STAGE_CACHE);
        for (uint32_t g = 0; g < w->m->config.kv_heads; g++) attend(w, lane, l, g, from + i, part, lane->filled + i);
    }
}
