/* Whether a token ends: the language model's probability and ten counters, mixed by three selected weight vectors,
 * whose outputs are averaged. */
#include "operations.h"

#define LIMIT 1023u
#define MODEL_START 12500
#define COUNTER_START 1250
#define RATE_DROP 13
#define RATE_LAST 400
#define BITS_LEAST 10u

static uint32_t map_bits(uint64_t size) { return log2_within(size / 4, BITS_LEAST, FLAG_BITS_MOST); }

static size_t map_memory(uint32_t bits) { return FLAG_CONTEXTS * sizeof(adaptive_t) << bits; }

size_t zllm_flag_memory(uint64_t size) { return sizeof(flag_t) + map_memory(map_bits(size)); }

flag_t *zllm_flag_new(heap_t *heap, uint64_t size) {
    flag_t *f = zllm_heap_zeroed(heap, 1, sizeof *f);
    if (f == NULL) return NULL;
    f->mixer.weights = f->weights;
    f->bits = map_bits(size);
    const size_t entries = (size_t)FLAG_CONTEXTS << f->bits;
    f->map = zllm_heap_pages(heap, map_memory(f->bits));
    if (f->map == NULL) {
        zllm_flag_free(f, heap);
        return NULL;
    }
    for (size_t i = 0; i < entries; i++) f->map[i] = (adaptive_t)1 << 31;
    for (uint32_t v = 0; v < FLAG_VECTORS; v++) {
        f->weights[v][FLAG_MODEL] = MODEL_START;
        for (uint32_t i = 0; i < FLAG_CONTEXTS; i++) f->weights[v][i] = COUNTER_START;
    }
    for (uint32_t i = 0; i < FLAG_CONTEXTS; i++) f->lanes.limit[i] = LIMIT;
    return f;
}

void zllm_flag_free(flag_t *f, heap_t *heap) {
    if (f) zllm_heap_free_pages(heap, f->map, map_memory(f->bits));
    zllm_heap_free(heap, f);
}

/* hint: 0 if no byte is expected, 2 if a token ended here in the text that matches, else 1. */
static void find_counters(const flag_t *f, const trail_t *t, const match_t *m, uint32_t column, uint32_t hint,
                          adaptive_t *counters[FLAG_CONTEXTS]) {
    const uint32_t length = t->token_length < 255 ? t->token_length : 255;
    const uint64_t token = t->token_hash;
    const uint64_t v[FLAG_CONTEXTS] = {
        token,
        (uint64_t)t->tokens_before[0] << 32 | token,
        (t->last & 0xffffff) << 8 | length,
        (uint64_t)t->word << 8 | length,
        (uint64_t)(uint32_t)(m->expected + 1) << 32 | token,
        hint << 8 | (m->length < 31 ? m->length : 31) << 2 | m->recent,
        (uint64_t)t->classes << 8 | length,
        (uint64_t)column << 32 | token,
        (uint64_t)hash32((uint64_t)t->tokens_before[1] << 32 | t->tokens_before[0]) << 32 | token,
        (uint64_t)t->word_before << 32 | hash32((uint64_t)t->word << 8 | length),
    };
    for (uint32_t k = 0; k < FLAG_CONTEXTS; k++)
        counters[k] = f->map + ((size_t)k << f->bits) + (hash32(v[k] + 1) >> (32 - f->bits));
}

void zllm_flag_expect(const flag_t *f, const cursor_t *c, const trail_t *t) {
    const uint32_t ahead = t->token_length - c->trail.token_length, column = c->at - c->line + ahead;
    adaptive_t *counters[FLAG_CONTEXTS];
    find_counters(f, t, &c->match, column, 1, counters);
    for (uint32_t k = 0; k < FLAG_CONTEXTS; k++) __builtin_prefetch(counters[k]);
}

uint32_t zllm_predictor_flag(predictor_t *p, cursor_t *c, uint32_t lm) {
    flag_t *f = p->flag;
    flag_mixer_t *m = &f->mixer;
    const tables_t *t = &p->tables;
    const uint32_t hint = c->match.expected < 0 ? 0 : 1 + p->ends[c->match.position];
    adaptive_t *counters[FLAG_CONTEXTS];
    int32_t total = 0;
    find_counters(f, &c->trail, &c->match, c->at - c->line, hint, counters);
    for (uint32_t k = 0; k < FLAG_CONTEXTS; k++)
        m->inputs[k] = (int16_t)stretch(t, lane_see(&f->lanes, k, counters[k]) >> 20);
    m->inputs[FLAG_MODEL] = (int16_t)stretch(t, lm >> 12);
    m->inputs[FLAG_CONSTANT] = 256;
    m->vector[0] = FLAG_MATCH + hint * 5 + (c->trail.token_length < 4 ? c->trail.token_length : 4);
    m->vector[1] = FLAG_CLASS + (c->trail.classes & 511);
    m->vector[2] = FLAG_BYTE + (uint32_t)(c->trail.last & 255);
    p->operations->mix_flag(m);
    for (uint32_t s = 0; s < FLAG_SETS; s++) total += m->outputs[s];
    f->predicted = squash(t, total * 21845 >> 16); /* a third */
    return f->predicted;
}

static void learn_weights(const operations_t *operations, flag_t *f, const tables_t *t, int end) {
    int32_t steps[FLAG_SETS];
    for (uint32_t s = 0; s < FLAG_SETS; s++) {
        uint16_t *uses = &f->uses[f->mixer.vector[s]];
        const int32_t rate = RATE_LAST + t->decay[*uses >> DECAY_SHIFT];
        steps[s] = error_of(squash(t, f->mixer.outputs[s]), end) * rate >> RATE_DROP;
        *uses = (uint16_t)(*uses + (*uses < 1023));
    }
    operations->train_flag(&f->mixer, steps);
}

void zllm_predictor_update_flag(predictor_t *p, cursor_t *c, int end) {
    flag_t *f = p->flag;
    const uint32_t missed = surprise(f->predicted, end);
    (void)c;
    if (missed >= KNOWN) learn_weights(p->operations, f, &p->tables, end);
    if (missed >= CERTAIN)
        p->operations->learn(p->tables.reciprocal, &f->lanes, FLAG_CONTEXTS, end ? UINT32_MAX : 0);
}

void zllm_cursor_token(predictor_t *p, cursor_t *c, uint32_t token) {
    if (p->lm) p->ends[c->at] = 1;
    c->trail.tokens_before[1] = c->trail.tokens_before[0];
    c->trail.tokens_before[0] = token;
    c->trail.token_hash = 0;
    c->trail.token_length = 0;
}
