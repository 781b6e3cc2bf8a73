/* Rotary code, key and value cache, and attention over the window (docs/arithmetic.md, section 4, steps 2 to 6). */
#include <string.h>

#include "network/transformer/scratch.h"

/* Bring a head to 14 bits and multiply its elements by a gain. Returns 1 over the root mean square of the 14 bits. Squares
 * of 256 numbers of 14 bits stay within 2^36, products with gains below 2^29. */
static scale_t multiply_gain(const zllm_kernel *k, int32_t *head, uint32_t n, const int16_t *gain) {
    const int32_t excess = (int32_t)bit_length32(k->absmax(head, n)) - 14;
    const uint32_t right = excess > 0 ? (uint32_t)excess : 0u, left = excess < 0 ? (uint32_t)-excess : 0u;
    uint64_t squares = 0;
    for (uint32_t i = 0; i < n; i++) {
        const int32_t t = shift_right32(head[i], right) * (1 << left);
        squares += (uint32_t)(t * t);
        head[i] = t * gain[i];
    }
    return zllm_fixed_norm_scale(n, squares);
}

/* The gains of head h, of the queries and then the keys. */
static const gain_t *gain_of(const scratch_t *w, const layer_t *layer, uint32_t h) {
    return h < w->net->config.heads ? &layer->q_gain : &layer->k_gain;
}

/* Bring a token's queries and keys to 14 bits and rotate them, after their gains if they have any. */
static void rotate(scratch_t *w, const layer_t *layer, int32_t *heads, const int32_t *rope) {
    const transformer_config_t *c = &w->net->config;
    const zllm_kernel *k = w->net->base.kernel;
    for (uint32_t h = 0; c->qk == 2 && h < c->heads + c->kv_heads; h++)
        w->norm[h] = multiply_gain(k, heads + (size_t)h * c->head_dim, c->head_dim, gain_of(w, layer, h)->value);
    k->rotate(heads, c->heads + c->kv_heads, c->head_dim / 2, rope, w->excess);
}

/* The scale of that head, which is quantised. */
static scale_t head_scale(const scratch_t *w, const layer_t *layer, uint32_t h, const quantised_t *found) {
    const transformer_config_t *c = &w->net->config;
    if (c->qk == 0) return quantised_scale(found, c->head_dim, 1, 0);
    if (c->qk == 1) return quantised_scale(found, c->head_dim, 0, QKV_FRAC - w->excess[h]);
    const int32_t frac = gain_of(w, layer, h)->exponent - w->excess[h];
    return zllm_fixed_multiply(quantised_scale(found, c->head_dim, 0, frac), w->norm[h]);
}

/* A key's scale in 15 bits. */
static int16_t keep_scale(scale_t s, uint32_t frac) {
    const int32_t drop = s.exponent - (int32_t)frac;
    if (drop < 0) return 32767;
    const uint32_t kept = s.mantissa >> (drop > 31 ? 31 : drop);
    return (int16_t)(kept > 32767u ? 32767u : kept);
}

/* Quantise a token's keys, which are rotated, and values, which lie behind them and to which its row is added, and put them
 * into the cache's slot. */
static void remember(scratch_t *w, lane_t *lane, uint32_t l, uint32_t slot, uint32_t token, int32_t *keys) {
    const transformer_config_t *c = &w->net->config;
    const zllm_kernel *k = w->net->base.kernel;
    const layer_t *layer = &w->net->layers[l];
    const uint32_t dim = c->head_dim, heads = c->kv_heads;
    if (layer->values.q != NULL) {
        zllm_table_row(&layer->values, k, token, w->looked_up);
        k->add(keys + (size_t)heads * dim, w->looked_up, heads * dim);
    }
    k->quantise(keys, dim, 2 * heads, dim, w->kept, dim, w->found);
    for (uint32_t g = 0; g < heads; g++) {
        const quantised_t *key = &w->found[g], *value = &w->found[heads + g];
        const size_t at = ((size_t)l * heads + g) * w->capacity;
        lane->key_scale[at + slot] = keep_scale(head_scale(w, layer, c->heads + g, key), layer->k_frac);
        const uint64_t vs = ((uint64_t)value->largest * 66052u) >> layer->v_shift; /* 2^23 / 127 */
        lane->value_scale[at + slot] = (int16_t)(vs > 32767u ? 32767u : vs);
        k->key_row(w->kept + g * dim, slot, dim, lane->keys + at * dim);
        k->value_row(w->kept + (heads + g) * dim, slot, dim, lane->values + at * dim);
    }
}

/* Rotate and quantise the queries of n rows, and remember their keys and values from slot `slot` on. */
static void prepare(scratch_t *w, lane_t *lane, uint32_t l, uint32_t from, uint32_t n, uint32_t slot) {
    const transformer_config_t *c = &w->net->config;
    const layer_t *layer = &w->net->layers[l];
    const uint32_t group = c->heads / c->kv_heads, dim = c->head_dim;
    for (uint32_t i = 0; i < n; i++) {
        int32_t *query = w->qkv + (size_t)(from + i) * w->qkv_stride;
        rotate(w, layer, query, w->rope + (size_t)(from + i) * dim);
        for (uint32_t g = 0; g < c->kv_heads; g++) {
            const size_t row = ((size_t)g * QUERY_ROWS + i) * group;
            w->net->base.kernel->quantise(query + (size_t)g * group * dim, dim, group, dim, w->queries.q + row * dim, dim, w->found);
            for (uint32_t h = 0; h < group; h++) {
                w->queries.scale[row + h] = head_scale(w, layer, g * group + h, &w->found[h]);
                w->queries.sum[row + h] = w->found[h].sum;
            }
        }
        remember(w, lane, l, slot + i, w->tokens[from + i], query + (size_t)c->heads * dim);
    }
}

/* One query's sums over the slots [first, end) of a span that starts at `low`, to weights of values; the rest of the
 * span, up to `high`, weighs nothing. Returns 2^38 / sum of exponentials. */
static int32_t soften(scratch_t *w, const lane_t *lane, const layer_t *layer, size_t cache, scale_t query,
                      const int32_t *acc, uint32_t low, uint32_t first, uint32_t end, uint32_t high, int16_t *weight) {
    const zllm_kernel *k = w->net->base.kernel;
    const size_t at = cache * w->capacity + first;
    const uint32_t n = end - first;
    const scale_t temperature = {layer->temperature, layer->temperature_exponent};
    const scale_t s = zllm_fixed_multiply(query, temperature);
    zllm_scale_sums(k, acc + (first - low), lane->key_scale + at, n, w->net->config.head_dim, s.mantissa,
                    (int32_t)layer->k_frac + s.exponent - 15 - SCORE_FRAC, w->score);
    /* 32767 to MOST_WINDOW * 32767 */
    const uint32_t sum = k->softmax(w->score, lane->value_scale + at, n, weight + (first - low));
    memset(weight, 0, (first - low) * sizeof *weight);
    memset(weight + (end - low), 0, (high - end) * sizeof *weight);
    return (int32_t)(((uint64_t)1 << 38) / sum);
}

/* The first slot that the query of a slot sees, and the multiple of CACHE_UNIT before it. */
static uint32_t first_seen(uint32_t window, uint32_t slot) { return slot < window ? 0 : slot - window + 1; }
static uint32_t low_of(uint32_t window, uint32_t slot) { return first_seen(window, slot) / CACHE_UNIT * CACHE_UNIT; }

/* A step of one token a lane reads every lane's keys and values once, so that they come from a far cache, or from memory;
 * each is prefetched while the one before is at work. NULL for the last ones. */
static const int8_t *next_keys(const scratch_t *w, const run_t *run, uint32_t left, uint32_t l, uint32_t g) {
    const transformer_config_t *c = &w->net->config;
    if (g + 1 < c->kv_heads) g++;
    else if (left > 1) run++, g = 0;
    else return NULL;
    const size_t cache = (size_t)l * c->kv_heads + g;
    return w->lanes[run->lane].keys + (cache * w->capacity + low_of(w->net->layers[l].window, run->slot)) * c->head_dim;
}

/* The scales of n slots from `at` on. */
static void prefetch_scales(const lane_t *lane, size_t at, uint32_t n) {
    for (uint32_t i = 0; i < n; i += CACHE_UNIT) { /* 64 bytes */
        __builtin_prefetch(lane->key_scale + at + i);
        __builtin_prefetch(lane->value_scale + at + i);
    }
}

/* Values from `values` on by the weights of `count` queries, to w->mixed: next is as for the kernel. */
static void weigh(scratch_t *w, const int8_t *values, uint32_t slots, uint32_t count, const int8_t *next) {
    w->net->base.kernel->weigh_values(values, slots, w->net->config.head_dim, w->weight, w->capacity, count, w->mixed, next);
}

/* The same where more than SUM_SLOTS slots count, whose sums have more than 32 bits: to w->total. */
static void weigh_long(scratch_t *w, const int8_t *values, uint32_t slots, uint32_t count, const int8_t *next) {
    const uint32_t dim = w->net->config.head_dim;
    memset(w->total, 0, (size_t)count * dim * sizeof *w->total);
    for (uint32_t t = 0; t < slots; t += SUM_SLOTS) {
        const uint32_t part = slots - t < SUM_SLOTS ? slots - t : SUM_SLOTS;
        const size_t at = (size_t)t * dim;
        w->net->base.kernel->weigh_values(values + at, part, dim, w->weight + t, w->capacity, count, w->mixed,
                                          next != NULL ? next + at : NULL);
        for (size_t i = 0; i < (size_t)count * dim; i++) w->total[i] += w->mixed[i];
    }
}

/* As the kernel's division. A sum is at most 127 times that of the exponentials, so a product is below 2^45. */
static void divide_long(const int64_t *total, uint32_t n, int32_t reciprocal, int32_t *out) {
    for (uint32_t i = 0; i < n; i++) out[i] = (int32_t)shift_right(total[i] * reciprocal + (1 << 18), 19);
}

/* Heads that share one key head, for n rows whose slots start at `slot`; replaces the queries in w->qkv by the heads'
 * output with 39 - v_shift fractional bits. */
static void attend(scratch_t *w, const run_t *run, uint32_t left, uint32_t l, uint32_t g, uint32_t from, uint32_t n,
                   uint32_t slot) {
    const transformer_config_t *c = &w->net->config;
    const zllm_kernel *k = w->net->base.kernel;
    const lane_t *lane = &w->lanes[run->lane];
    const uint32_t group = c->heads / c->kv_heads, dim = c->head_dim, count = n * group;
    const uint32_t window = w->net->layers[l].window, low = low_of(window, slot), end = slot + n, high = end + (end & 1);
    const size_t cache = (size_t)l * c->kv_heads + g, base = (cache * w->capacity + low) * dim;
    const size_t first_query = (size_t)g * QUERY_ROWS * group;
    const int once = run->n == 1;
    if (once) prefetch_scales(lane, cache * w->capacity + low, end - low);
    k->match_keys(lane->keys + base, padded_rows(end - low), dim, w->queries.q + first_query * dim, dim,
                  w->queries.sum + first_query, count, w->score_acc, w->capacity, once ? lane->values + base : NULL);
    lap(&w->base.laps, ZLLM_STAGE_ATTENTION);
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t own = slot + i / group;
        w->reciprocal[i] = soften(w, lane, &w->net->layers[l], cache, w->queries.scale[first_query + i],
                                  w->score_acc + (size_t)i * w->capacity, low, first_seen(window, own), own + 1, high,
                                  w->weight + (size_t)i * w->capacity);
    }
    lap(&w->base.laps, ZLLM_STAGE_SOFTMAX);
    const int long_sums = window > SUM_SLOTS;
    (long_sums ? weigh_long : weigh)(w, lane->values + base, high - low, count, once ? next_keys(w, run, left, l, g) : NULL);
    for (uint32_t i = 0; i < count; i++) {
        int32_t *out = w->qkv + (size_t)(from + i / group) * w->qkv_stride + (size_t)(g * group + i % group) * dim;
        if (long_sums) divide_long(w->total + (size_t)i * dim, dim, w->reciprocal[i], out);
        else k->divide(w->mixed + (size_t)i * dim, dim, w->reciprocal[i], out);
    }
    lap(&w->base.laps, ZLLM_STAGE_ATTENTION);
}

void zllm_attention(scratch_t *w, const run_t *run, uint32_t left, uint32_t l) {
    lane_t *lane = &w->lanes[run->lane];
    for (uint32_t i = 0; i < run->n; i += QUERY_ROWS) {
        const uint32_t part = run->n - i < QUERY_ROWS ? run->n - i : QUERY_ROWS;
        prepare(w, lane, l, run->from + i, part, run->slot + i);
        lap(&w->base.laps, ZLLM_STAGE_CACHE);
        for (uint32_t g = 0; g < w->net->config.kv_heads; g++)
            attend(w, run, left, l, g, run->from + i, part, run->slot + i);
    }
}
