/* Rotary code, key and value cache, and attention over the window (docs/arithmetic.md, section 4, steps 2 to 6). */
#include <string.h>

#include "variants.h"
#include "workspace.h"

/* The rotary position code, in place, on a head that is first brought to 14 bits. Returns by how many bits it was shifted
 * to the right. */
static int32_t rotate(const zllm_kernel *k, int32_t *head, uint32_t dim, const int32_t *rope) {
    const int32_t excess = (int32_t)bit_length32(k->absmax(head, dim)) - 14;
    k->rotate(head, dim / 2, rope, excess);
    return excess;
}

/* Rotate and quantise a query or a key. */
static scale_t quantise_head(const zllm_model *m, const gain_t *gain, int32_t *head, const int32_t *rope, int8_t *q,
                             int32_t *sum) {
    const zllm_kernel *k = m->kernel;
    const uint32_t dim = m->config.head_dim;
    if (m->config.qk == 0) {
        (void)rotate(k, head, dim, rope); /* the scale is normalised */
        return quantise_row(k, head, dim, 1, 0, q, sum);
    }
    if (m->config.qk == 1) {
        const int32_t excess = rotate(k, head, dim, rope);
        return quantise_row(k, head, dim, 0, QKV_FRAC - excess, q, sum);
    }
    const scale_t norm = multiply_gain(k, head, dim, gain->value);
    const int32_t excess = rotate(k, head, dim, rope);
    return fixed_multiply(quantise_row(k, head, dim, 0, gain->exponent - excess, q, sum), norm);
}

/* A key's scale in 15 bits. */
static int16_t keep_scale(scale_t s, uint32_t frac) {
    const int32_t drop = s.exponent - (int32_t)frac;
    if (drop < 0) return 32767;
    const uint32_t kept = s.mantissa >> (drop > 31 ? 31 : drop);
    return (int16_t)(kept > 32767u ? 32767u : kept);
}

/* Put a token's key and value of one head into the cache's slot. */
static void remember(workspace_t *w, lane_t *lane, const layer_t *layer, size_t cache, uint32_t slot,
                     const int32_t *rope, int32_t *key, const int32_t *value) {
    const uint32_t dim = w->m->config.head_dim;
    const zllm_kernel *k = w->m->kernel;
    const size_t at = cache * w->capacity;
    int8_t q[256];
    int32_t sum;
    const scale_t s = quantise_head(w->m, &layer->k_gain, key, rope, q, &sum);
    lane->key_scale[at + slot] = keep_scale(s, layer->k_frac);
    k->key_row(q, slot, dim, lane->keys + at * dim);
    (void)quantise_row(k, value, dim, 0, 0, q, &sum);
    const uint64_t vs = ((uint64_t)k->absmax(value, dim) * 66052u) >> layer->v_shift; /* 2^23 / 127 */
    lane->value_scale[at + slot] = (int16_t)(vs > 32767u ? 32767u : vs);
    k->value_row(q, slot, dim, lane->values + at * dim);
}

/* Rotate and quantise the queries of n rows, and remember their keys and values from slot `slot` on. */
static void prepare(workspace_t *w, lane_t *lane, uint32_t l, uint32_t from, uint32_t n, uint32_t slot) {
    const zllm_config *c = &w->m->config;
    const layer_t *layer = &w->m->layers[l];
    const uint32_t group = c->heads / c->kv_heads, dim = c->head_dim;
    for (uint32_t i = 0; i < n; i++) {
        int32_t *query = w->qkv + (size_t)(from + i) * w->qkv_stride;
        int32_t *key = query + (size_t)c->heads * dim, *value = key + (size_t)c->kv_heads * dim;
        const int32_t *rope = w->rope + (size_t)(from + i) * dim;
        for (uint32_t h = 0; h < c->heads; h++) {
            const size_t row = ((size_t)(h / group) * QUERY_ROWS + i) * group + h % group;
            w->queries.scale[row] = quantise_head(w->m, &layer->q_gain, query + (size_t)h * dim, rope,
                                                  w->queries.q + row * dim, &w->queries.sum[row]);
        }
        for (uint32_t g = 0; g < c->kv_heads; g++)
            remember(w, lane, layer, (size_t)l * c->kv_heads + g, slot + i, rope, key + (size_t)g * dim,
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
               (int32_t)layer->k_frac + s.exponent - 15 - SCORE_FRAC, w->score);
    const uint32_t sum = k->softmax(w->score, n, w->soft); /* 32767 to 512 * 32767 */
    k->weigh(w->soft, lane->value_scale + at, n, weight + (first - low));
    memset(weight, 0, (first - low) * sizeof *weight);
    memset(weight + (end - low), 0, (high - end) * sizeof *weight);
    return (int32_t)(((uint64_t)1 << 38) / sum);
}

/* The first slot that the query of a slot sees, and the multiple of CACHE_UNIT before it. */
static uint32_t first_seen(const workspace_t *w, uint32_t slot) {
    return slot < w->m->config.window ? 0 : slot - w->m->config.window + 1;
}
static uint32_t low_of(const workspace_t *w, uint32_t slot) { return first_seen(w, slot) / CACHE_UNIT * CACHE_UNIT; }

/* A step of one token a lane reads every lane's keys and values once, so that they come from a far cache, or from memory;
 * each is prefetched while the one before is at work. NULL for the last ones. */
static const int8_t *next_keys(const workspace_t *w, const run_t *run, uint32_t left, uint32_t l, uint32_t g) {
    const zllm_config *c = &w->m->config;
    if (g + 1 < c->kv_heads) g++;
    else if (left > 1) run++, g = 0;
    else return NULL;
    const size_t cache = (size_t)l * c->kv_heads + g;
    return w->lanes[run->lane].keys + (cache * w->capacity + low_of(w, run->slot)) * c->head_dim;
}

/* The scales of n slots from `at` on. */
static void prefetch_scales(const lane_t *lane, size_t at, uint32_t n) {
    for (uint32_t i = 0; i < n; i += CACHE_UNIT) { /* 64 bytes */
        __builtin_prefetch(lane->key_scale + at + i);
        __builtin_prefetch(lane->value_scale + at + i);
    }
}

/* Heads that share one key head, for n rows whose slots start at `slot`; replaces the queries in w->qkv by the heads'
 * output with 39 - v_shift fractional bits. */
static void attend(workspace_t *w, const run_t *run, uint32_t left, uint32_t l, uint32_t g, uint32_t from, uint32_t n,
                   uint32_t slot) {
    const zllm_config *c = &w->m->config;
    const zllm_kernel *k = w->m->kernel;
    const lane_t *lane = &w->lanes[run->lane];
    const uint32_t group = c->heads / c->kv_heads, dim = c->head_dim, count = n * group;
    const uint32_t low = low_of(w, slot), end = slot + n, high = end + (end & 1);
    const size_t cache = (size_t)l * c->kv_heads + g, base = (cache * w->capacity + low) * dim;
    const size_t first_query = (size_t)g * QUERY_ROWS * group;
    const int once = run->n == 1;
    if (once) prefetch_scales(lane, cache * w->capacity + low, end - low);
    k->match_keys(lane->keys + base, padded_rows(end - low), dim, w->queries.q + first_query * dim, dim,
                  w->queries.sum + first_query, count, w->score_acc, w->capacity, once ? lane->values + base : NULL);
    lap(&w->laps, ZLLM_STAGE_ATTENTION);
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t own = slot + i / group;
        w->reciprocal[i] = soften(w, lane, &w->m->layers[l], cache, w->queries.scale[first_query + i],
                                  w->score_acc + (size_t)i * w->capacity, low, first_seen(w, own), own + 1, high,
                                  w->weight + (size_t)i * w->capacity);
    }
    lap(&w->laps, ZLLM_STAGE_SOFTMAX);
    k->weigh_values(lane->values + base, high - low, dim, w->weight, w->capacity, count, w->mixed,
                    once ? next_keys(w, run, left, l, g) : NULL);
    for (uint32_t i = 0; i < count; i++)
        k->divide(w->mixed + (size_t)i * dim, dim, w->reciprocal[i],
                  w->qkv + (size_t)(from + i / group) * w->qkv_stride + (size_t)(g * group + i % group) * dim);
    lap(&w->laps, ZLLM_STAGE_ATTENTION);
}

void attention(workspace_t *w, const run_t *run, uint32_t left, uint32_t l) {
    lane_t *lane = &w->lanes[run->lane];
    for (uint32_t i = 0; i < run->n; i += QUERY_ROWS) {
        const uint32_t part = run->n - i < QUERY_ROWS ? run->n - i : QUERY_ROWS;
        prepare(w, lane, l, run->from + i, part, run->slot + i);
        lap(&w->laps, ZLLM_STAGE_CACHE);
        for (uint32_t g = 0; g < w->m->config.kv_heads; g++)
            attend(w, run, left, l, g, run->from + i, part, run->slot + i);
    }
}
