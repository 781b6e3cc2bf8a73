/* Predicting a bit of a byte: indirect counters and a match model, mixed in the logistic domain by weights that are
 * selected by contexts, then adaptive probability maps. The ideas are those of Mahoney's PAQ6 to PAQ8 and lpaq
 * (Mahoney 2005, Adaptive Weighing of Context Models for Lossless Data Compression; Mattern 2012, Mixing Strategies in
 * Data Compression). */
#include <stdlib.h>
#include <string.h>

#include "../pages.h"
#include "mixer.h"
#include "slots.h"

#define STATE_LIMIT 1023u /* counts after which probabilities move at a constant rate */
#define MATCH_LIMIT 1023u
#define APM_MAX 12u
#define APM_LIMIT 127u /* of what was mixed; */
#define APM_START 6u
#define MODEL_APM_LIMIT 255u /* of the model's probability */
#define MODEL_APM_START 2u

#define TABLE_LEAST 16u /* log2 of the slots' bytes */
#define TABLE_MOST 24u
#define RECENT_LEAST 10u
#define RECENT_MOST 18u

static uint32_t table_bits(uint64_t size) { return log2_within(size * 64, TABLE_LEAST, TABLE_MOST); }
static uint32_t recent_bits(uint64_t size) { return log2_within(size, RECENT_LEAST, RECENT_MOST); }
static uint32_t apm_bits(uint64_t size) { return log2_within(size / 8, 8, APM_MAX); }

size_t predictor_memory(uint64_t size, int lm) {
    return sizeof(predictor_t) + ((size_t)1 << table_bits(size)) + ((size_t)4 << recent_bits(size)) +
           maps_of(lm) * (sizeof(adaptive_t) * KNOTS << apm_bits(size)) + 65536 * sizeof(uint16_t) + 65536 + 256 +
           (size_t)size +
           (lm ? flag_memory(size) + (size_t)size + 1 : 0);
}

static void start_maps(predictor_t *p) {
    const tables_t *t = &p->tables;
    for (uint32_t i = 0; i < CONTEXTS; i++) memcpy(p->maps[i], t->prior, sizeof t->prior);
    for (uint32_t i = 0; i < 64; i++) p->match_map[i] = (((1u << 22) - (1u << 20) / (1 + (i >> 2))) << 10) | 2;
    for (uint32_t a = 0; a < maps_of(p->lm); a++)
        for (uint32_t i = 0; i < KNOTS << p->apm_bits; i++) {
            const int32_t x = clamp_stretch(((int32_t)(i % KNOTS) - 16) * 128);
            p->apm[a].map[i] = (squash(t, x) >> 2) << 10 | (a < PLAIN_MAPS ? APM_START : MODEL_APM_START);
        }
    const uint32_t inputs = p->lm ? INPUTS : PLAIN_INPUTS;
    for (uint32_t v = 0; v < VECTORS; v++) {
        for (uint32_t i = 0; i < inputs; i += 2) p->weights[v][i] = (int16_t)(p->lm ? 1000 : 1500);
        if (p->lm) p->weights[v][0] = (int16_t)5000;
        for (uint32_t i = PLAIN_INPUTS; i < inputs; i += 2) p->weights[v][i] = (int16_t)2000;
    }
    for (uint32_t v = 0; v < FINAL_VECTORS; v++)
        for (uint32_t i = 0; i < SETS; i++) p->final[v][i] = 65536 / SETS;
}

predictor_t *predictor_new(uint64_t size, uint32_t streams, int lm) {
    if (size >= UINT32_MAX || streams == 0) return NULL;
    predictor_t *p = calloc(1, sizeof *p);
    if (p == NULL) return NULL;
    const size_t bytes = (size_t)1 << table_bits(size);
    p->size = (uint32_t)size;
    p->streams = streams;
    p->lm = lm != 0;
    p->line_mask = (uint32_t)(bytes / 64 - 1);
    p->recent_bits = recent_bits(size);
    p->table = pages_new(bytes);
    p->recent = calloc((size_t)1 << p->recent_bits, sizeof *p->recent);
    p->text = malloc((size_t)size + 1);
    p->direct = calloc(257, 256);
    p->follow = calloc(65536, sizeof *p->follow);
    p->cursors = calloc(streams, sizeof *p->cursors);
    int maps = 1;
    p->apm_bits = apm_bits(size);
    for (uint32_t a = 0; a < maps_of(lm); a++) {
        p->apm[a].map = malloc(sizeof(adaptive_t) * KNOTS << p->apm_bits);
        maps &= p->apm[a].map != NULL;
    }
    if (lm) {
        p->flag = flag_new(size);
        p->ends = calloc((size_t)size + 1, 1);
    }
    if (!p->direct || !p->table || !p->recent || !p->text || !p->follow || !p->cursors || !maps ||
        (lm && (!p->flag || !p->ends))) {
        predictor_free(p);
        return NULL;
    }
    memset(p->table, 0, bytes);
    p->wide = mixer_wide();
    tables_fill(&p->tables);
    start_maps(p);
    return p;
}

void predictor_free(predictor_t *p) {
    if (p == NULL) return;
    free(p->direct);
    pages_free(p->table, ((size_t)p->line_mask + 1) * 64);
    free(p->recent);
    free(p->text);
    free(p->follow);
    free(p->cursors);
    flag_free(p->flag);
    free(p->ends);
    for (uint32_t a = 0; a < MAPS; a++) free(p->apm[a].map);
    free(p);
}

cursor_t *predictor_cursor(predictor_t *p, uint32_t stream) { return &p->cursors[stream]; }

void cursor_start(predictor_t *p, uint32_t stream, uint64_t start, uint64_t end) {
    cursor_t *c = &p->cursors[stream];
    *c = (cursor_t){.start = (uint32_t)start, .end = (uint32_t)(end < p->size ? end : p->size)};
    c->at = c->start;
    cursor_cut(p, c);
}

static void find_slots(predictor_t *p, cursor_t *c) {
    uint32_t h[HASHED];
    const uint32_t upper = c->bits < 4 ? 0 : c->partial >> (c->bits - 4); /* nibble, after a one */
    for (uint32_t i = 0; i < HASHED; i++) {
        h[i] = upper ? lower_hash(c->hash[i], i, upper) : c->hash[i];
        if (upper && i < FAR) prefetch_line(p, h[i]);
    }
    slots_find(p, h, c->slot + DIRECT);
    c->found = 1;
}

/* Index of the bit in its nibble's tree, 1 to 15. */
static uint32_t nibble_node(const cursor_t *c) {
    const uint32_t depth = c->bits & 3;
    return 1u << depth | (c->partial & ((1u << depth) - 1));
}

static uint32_t length_class(uint32_t n) {
    if (n < 12) return n < 8 ? n : 8;
    return n < 16 ? 9 : n < 24 ? 10 : n < 32 ? 11 : n < 64 ? 12 : n < 128 ? 13 : n < 512 ? 14 : 15;
}

/* Inputs of an adaptive probability: stretched, and (less) as it is. */
static inline void add_inputs(const tables_t *t, int16_t *x, adaptive_t a) { memcpy(x, &t->input[a >> 20], 2 * sizeof *x); }

/* Returns the length's class, plus 1, or 0 when nothing is expected. */
static uint32_t match_inputs(predictor_t *p, cursor_t *c) {
    const match_t *m = &c->match;
    const uint32_t expected = (uint32_t)m->expected | 256;
    int16_t *x = &p->inputs[2 * CONTEXTS];
    p->match_used = NULL;
    x[0] = x[1] = 0;
    if (m->expected < 0 || expected >> (8 - c->bits) != c->partial) return 0;
    const uint32_t class = length_class(m->length);
    p->expected_bit = expected >> (7 - c->bits) & 1;
    p->match_used = &p->match_map[class * 4 + m->recent];
    add_inputs(&p->tables, x, *p->match_used);
    if (!p->expected_bit) {
        x[0] = (int16_t)-x[0];
        x[1] = (int16_t)-x[1];
    }
    return 1 + class;
}

static void select_vectors(predictor_t *p, const cursor_t *c, uint32_t match, uint32_t order, int32_t model) {
    const uint32_t first = c->trail.token_length == 0;
    p->vector[0] = SET_MATCH + match * 2 + first;
    p->vector[1] = SET_CLASS + (c->trail.classes & 511);
    p->vector[2] = SET_BYTE + (uint32_t)(c->trail.last & 255);
    p->vector[3] = SET_ORDER + (order * 8 + c->bits) * 2 + first;
    p->vector[4] = SET_PARTIAL + c->partial;
    if (p->lm) p->vector[4] = SET_PARTIAL + (uint32_t)(model < 0 ? -model : model) / 256 * 17 + match;
    p->vector[5] = SET_COMMON;
#ifdef ZLLM_WITHOUT_SET
    p->vector[ZLLM_WITHOUT_SET] = SET_COMMON - SETS + ZLLM_WITHOUT_SET; /* always the same one */
#endif
}

static void mix(predictor_t *p, const cursor_t *c) {
    p->final_vector[0] = FINAL_PARTIAL + c->partial;
    p->final_vector[1] = FINAL_MATCH + (p->vector[0] - SET_MATCH);
    p->final_vector[2] = FINAL_CLASS + (c->trail.classes & 63);
    mixer_mix(p);
    int32_t total = 0;
    for (uint32_t f = 0; f < FINALS; f++) total += p->finals[f];
    p->mixed = total * 21845 >> 16; /* a third */
}

static void choose_rows(predictor_t *p, const cursor_t *c, int32_t model) {
    adaptive_t *rows[MAPS];
    find_rows(p, &c->trail, c->partial, rows);
    for (uint32_t k = 0; k < maps_of(p->lm); k++) {
        p->apm[k].row = rows[k];
        prefetch_row(rows[k], p->lm, model);
    }
}

/* What a map's row makes of a stretched probability, in 2^-29. */
static uint32_t refine(apm_t *a, int32_t stretched) {
    const uint32_t x = (uint32_t)(stretched + STRETCH_MAX), knot = x >> 7, part = x & 127;
    adaptive_t *m = a->row + knot;
    a->used = m + (part >= 64);
    return (m[0] >> 10) * (128 - part) + (m[1] >> 10) * part;
}

/* The model's probability takes the place of the context of no bytes, and goes through maps. */
static void model_inputs(predictor_t *p, uint32_t lm, int32_t model) {
    p->inputs[0] = (int16_t)model;
    p->inputs[1] = (int16_t)(((int32_t)lm - (1 << 23)) >> 14);
    for (uint32_t k = 0; k < MAPS - PLAIN_MAPS; k++)
        add_inputs(&p->tables, &p->inputs[PLAIN_INPUTS + 2 * k], refine(&p->apm[PLAIN_MAPS + k], model) >> 7 << 10);
}

uint32_t predictor_bit(predictor_t *p, cursor_t *c, uint32_t lm) {
#ifdef ZLLM_MODEL_ALONE /* for bench/ingredients.py */
    if (p->lm) return codable(lm);
#endif
    const tables_t *t = &p->tables;
    const int32_t model = p->lm ? stretch(t, lm >> 12) : 0;
    uint32_t order = 0;
    choose_rows(p, c, model);
    if (!c->found) find_slots(p, c);
    const uint32_t node = nibble_node(c);
    for (uint32_t i = 0; i < CONTEXTS; i++) {
        p->state[i] = c->slot[i] + (i < DIRECT ? c->partial : node);
        add_inputs(t, &p->inputs[2 * i], p->maps[i][*p->state[i]]);
    }
    for (uint32_t i = DIRECT; i < DIRECT + 4; i++) order += *p->state[i] != 0;
    const uint32_t match = match_inputs(p, c);
    if (p->lm) model_inputs(p, lm, model);
    select_vectors(p, c, match, order, model);
    mix(p, c);
    const uint32_t direct = squash(t, p->mixed);
    const uint32_t a = refine(&p->apm[0], p->mixed) >> 5;
    const uint32_t b = refine(&p->apm[1], p->mixed) >> 5;
#ifdef ZLLM_WITHOUT_MAPS
    const uint32_t all = direct + 0 * (a + b);
#else
    const uint32_t all = (2 * direct + a + b) >> 2;
#endif
    c->learning = 1;
    p->predicted = codable(all);
    return p->predicted;
}

static void learn_weights(predictor_t *p, int bit) {
    const tables_t *t = &p->tables;
    int32_t steps[SETS], wrong[FINALS];
    for (uint32_t s = 0; s < SETS; s++) {
        uint16_t *uses = &p->uses[p->vector[s]];
        steps[s] = error_of(squash(t, p->outputs[s]), bit) * t->rate[*uses >> RATE_SHIFT] >> 14;
        *uses = (uint16_t)(*uses + (*uses < 1023));
    }
    for (uint32_t f = 0; f < FINALS; f++) wrong[f] = error_of(squash(t, p->finals[f]), bit);
    mixer_train(p, steps, wrong);
}

static void learn(predictor_t *p, int bit) {
    const tables_t *t = &p->tables;
    const uint32_t missed = surprise(p->predicted, bit);
    if (missed >= KNOWN) learn_weights(p, bit);
    if (p->match_used) adapt(t, p->match_used, p->expected_bit == bit, MATCH_LIMIT);
    for (uint32_t i = 0; i < CONTEXTS; i++) { /* in this order: two contexts may share a history */
        const uint32_t s = *p->state[i];
        if (missed >= CERTAIN) adapt(t, &p->maps[i][s], bit, STATE_LIMIT);
        *p->state[i] = t->next[s][bit];
    }
    for (uint32_t a = 0; missed >= CERTAIN && a < maps_of(p->lm); a++)
        adapt(t, p->apm[a].used, bit, a < PLAIN_MAPS ? APM_LIMIT : MODEL_APM_LIMIT);
}

void cursor_skip(predictor_t *p, cursor_t *c, int bit) {
    c->partial = c->partial << 1 | (uint32_t)(bit != 0);
    c->bits++;
    if (c->bits == 4) c->found = 0;
    if (c->bits == 8) context_byte(p, c, c->partial & 255);
}

void predictor_update(predictor_t *p, cursor_t *c, int bit) {
    if (c->learning) learn(p, bit != 0);
    c->learning = 0;
    cursor_skip(p, c, bit);
}
