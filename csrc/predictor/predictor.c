/* Predicting a bit of a byte: indirect counters and a match model, mixed in the logistic domain by weights that are
 * selected by contexts, then adaptive probability maps. The ideas are those of Mahoney's PAQ6 to PAQ8 and lpaq
 * (Mahoney 2005, Adaptive Weighing of Context Models for Lossless Data Compression; Mattern 2012, Mixing Strategies in
 * Data Compression). */
#include <string.h>

#include "operations.h"

#define STATE_LIMIT 1023u /* counts after which probabilities move at a constant rate */
#define MATCH_LIMIT 1023u
#define APM_LIMIT 127u /* of what was mixed; */
#define APM_START 6u
#define MODEL_APM_LIMIT 255u /* of the model's probability */
#define MODEL_APM_START 2u

#define MODEL_CONSTANT (2 * MODEL_FIRST - 2) /* its place among the inputs */

#define TABLE_LEAST 16u /* log2 of the slots' bytes */
#define TABLE_MOST 25u
#define TABLE_MOST_MODEL 24u
#define RECENT_LEAST 10u
#define RECENT_MOST 18u
#define GROUP_LEAST 6u /* log2 of a map's groups of rows */
#define GROUP_MOST 11u
#define GROUP_MOST_MODEL 9u

#define DIRECT_BYTES (257u * 256u)
#define FOLLOW_COUNT 65536u

static uint32_t table_bits(uint64_t size, int lm) {
    return log2_within(size * 64, TABLE_LEAST, lm ? TABLE_MOST_MODEL : TABLE_MOST);
}

static uint32_t recent_bits(uint64_t size) { return log2_within(size, RECENT_LEAST, RECENT_MOST); }

static uint32_t group_bits(uint64_t size, int lm) {
    return log2_within(size / 64, GROUP_LEAST, lm ? GROUP_MOST_MODEL : GROUP_MOST);
}

static size_t rows_memory(uint64_t size, int lm) {
    return maps_of(lm) * (sizeof(adaptive_t) * GROUP * KNOTS << group_bits(size, lm));
}

size_t zllm_predictor_memory(uint64_t size, int lm) {
    return sizeof(predictor_t) + ((size_t)1 << table_bits(size, lm)) + ((size_t)4 << recent_bits(size)) +
           rows_memory(size, lm) + (size_t)size +
           (lm ? zllm_flag_memory(size) + (size_t)size + 1 : DIRECT_BYTES + FOLLOW_COUNT * sizeof(uint16_t));
}

/* Lane of a map: beside a model they take the places of contexts that are left out. */
static inline uint32_t map_lane(int lm, uint32_t k) { return lm ? k : MATCH + 1 + k; }

static void start_lanes(predictor_t *p) {
    lanes_t *l = &p->lanes;
    for (uint32_t i = 0; i < LANES; i++) {
        l->at[i] = &l->nothing;
        l->limit[i] = i == MATCH ? MATCH_LIMIT : STATE_LIMIT;
    }
    for (uint32_t k = 0; k < maps_of(p->lm); k++) l->limit[map_lane(p->lm, k)] = k < PLAIN_MAPS ? APM_LIMIT : MODEL_APM_LIMIT;
}

/* Weights of the model's probability, its maps and the constant. */
static const int16_t MODEL_START[MODEL_FIRST] = {5000, 2000, 2000, 2000, 0};

static void start_maps(predictor_t *p) {
    const tables_t *t = &p->tables;
    for (uint32_t i = 0; i < CONTEXTS; i++) memcpy(p->maps[i], t->prior, sizeof t->prior);
    for (uint32_t i = 0; i < 64; i++) p->match_map[i] = (((1u << 22) - (1u << 20) / (1 + (i >> 2))) << 10) | 2;
    const uint32_t of_one = GROUP * KNOTS << p->group_bits;
    for (uint32_t i = 0; i < maps_of(p->lm) * of_one; i++) {
        const int32_t x = (int32_t)(i % KNOTS) * 2 * STRETCH_MAX / (int32_t)(KNOTS - 1) - STRETCH_MAX;
        p->rows[i] = (squash(t, x) >> 2) << 10 | (i / of_one < PLAIN_MAPS ? APM_START : MODEL_APM_START);
    }
    for (uint32_t v = 0; v < VECTORS; v++) {
        for (uint32_t i = 0; i < INPUTS; i += 2) p->weights[v][i] = (int16_t)(p->lm ? 1000 : 1500);
        for (uint32_t i = 0; p->lm && i < MODEL_FIRST; i++) p->weights[v][2 * i] = MODEL_START[i];
    }
    for (uint32_t v = 0; v < FINAL_VECTORS; v++)
        for (uint32_t i = 0; i < SETS; i++) p->final[v][i] = 65536 / SETS;
}

predictor_t *zllm_predictor_new(heap_t *heap, const operations_t *operations, uint64_t size, uint32_t streams, int lm) {
    if (size >= UINT32_MAX || streams == 0) return NULL;
    predictor_t *p = zllm_heap_zeroed(heap, 1, sizeof *p);
    if (p == NULL) return NULL;
    const size_t bytes = (size_t)1 << table_bits(size, lm);
    p->heap = heap;
    p->operations = operations;
    p->size = (uint32_t)size;
    p->streams = streams;
    p->lm = lm != 0;
    p->line_mask = (uint32_t)(bytes / 64 - 1);
    p->recent_bits = recent_bits(size);
    p->table = zllm_heap_pages(heap, bytes);
    p->recent = zllm_heap_zeroed(heap, (size_t)1 << p->recent_bits, sizeof *p->recent);
    p->text = zllm_heap_take(heap, (size_t)size + 1);
    p->cursors = zllm_heap_zeroed(heap, streams, sizeof *p->cursors);
    p->group_bits = group_bits(size, lm);
    p->rows = zllm_heap_pages(heap, rows_memory(size, p->lm));
    if (lm) {
        p->flag = zllm_flag_new(heap, size);
        p->ends = zllm_heap_zeroed(heap, (size_t)size + 1, 1);
    } else {
        p->direct = zllm_heap_zeroed(heap, DIRECT_BYTES, 1);
        p->follow = zllm_heap_zeroed(heap, FOLLOW_COUNT, sizeof *p->follow);
    }
    if (!p->table || !p->recent || !p->text || !p->cursors || !p->rows ||
        !(lm ? p->flag && p->ends : p->direct && p->follow)) {
        zllm_predictor_free(p);
        return NULL;
    }
    memset(p->table, 0, bytes);
    p->mixer.weights = p->weights;
    p->mixer.final = p->final;
    zllm_tables_fill(&p->tables);
    start_lanes(p);
    start_maps(p);
    if (p->lm) p->mixer.inputs[MODEL_CONSTANT] = 256;
    return p;
}

void zllm_predictor_free(predictor_t *p) {
    if (p == NULL) return;
    heap_t *heap = p->heap;
    zllm_heap_free(heap, p->direct);
    zllm_heap_free_pages(heap, p->table, ((size_t)p->line_mask + 1) * 64);
    zllm_heap_free(heap, p->recent);
    zllm_heap_free(heap, p->text);
    zllm_heap_free(heap, p->follow);
    zllm_heap_free(heap, p->cursors);
    zllm_flag_free(p->flag, heap);
    zllm_heap_free(heap, p->ends);
    zllm_heap_free_pages(heap, p->rows, rows_memory(p->size, p->lm));
    zllm_heap_free(heap, p);
}

void zllm_predictor_profile(predictor_t *p, uint32_t profile) { p->profile = profile; }

uint8_t *zllm_predictor_text(predictor_t *p) { return p->text; }

cursor_t *zllm_predictor_cursor(predictor_t *p, uint32_t stream) { return &p->cursors[stream]; }

void zllm_cursor_start(predictor_t *p, uint32_t stream, uint64_t start, uint64_t end) {
    cursor_t *c = &p->cursors[stream];
    *c = (cursor_t){.start = (uint32_t)start, .end = (uint32_t)(end < p->size ? end : p->size)};
    c->at = c->start;
    zllm_cursor_cut(p, c);
}

void zllm_predictor_find(predictor_t *p, cursor_t *c) {
    if (c->found) return;
    uint32_t h[HASHED];
    const uint32_t upper = upper_of(c->partial, c->bits), first = first_hashed(p->lm);
    for (uint32_t i = first; i < HASHED; i++) h[i] = upper ? lower_hash(c->hash[i], upper) : c->hash[i];
    find_groups(p, &c->trail, upper, c->group);
    p->operations->find(p->table, p->line_mask, h + first, c->slot + DIRECT + first, HASHED - first);
    c->found = 1;
}

static uint32_t length_class(uint32_t n) {
    if (n < 12) return n < 8 ? n : 8;
    return n < 16 ? 9 : n < 24 ? 10 : n < 32 ? 11 : n < 64 ? 12 : n < 128 ? 13 : n < 512 ? 14 : 15;
}

/* Inputs of an adaptive probability: stretched, and (less) as it is. */
static inline void add_inputs(const tables_t *t, int16_t *x, adaptive_t a) { memcpy(x, &t->input[a >> 20], 2 * sizeof *x); }

/* Returns the length's class, plus 1, or 0 when nothing is expected. */
static uint32_t match_inputs(predictor_t *p, const cursor_t *c) {
    const match_t *m = &c->match;
    const uint32_t expected = (uint32_t)m->expected | 256;
    int16_t *x = &p->mixer.inputs[2 * MATCH];
    p->lanes.at[MATCH] = &p->lanes.nothing;
    x[0] = x[1] = 0;
    if (m->expected < 0 || expected >> (8 - c->bits) != c->partial) return 0;
    const uint32_t class = length_class(m->length);
    const int sign = expected >> (7 - c->bits) & 1 ? 1 : -1; /* nobody can predict it: no branch */
    p->inverted = (uint32_t)(sign < 0) << MATCH;
    add_inputs(&p->tables, x, lane_see(&p->lanes, MATCH, &p->match_map[class * 4 + m->recent]));
    x[0] = (int16_t)(x[0] * sign);
    x[1] = (int16_t)(x[1] * sign);
    return 1 + class;
}

static void select_vectors(predictor_t *p, const cursor_t *c, uint32_t match, uint32_t order, int32_t model) {
    mixer_t *m = &p->mixer;
    const uint32_t first = c->trail.token_length == 0;
    m->final_vector[0] = FINAL_PARTIAL + c->partial;
    m->final_vector[1] = FINAL_MATCH + match * 2 + first;
    m->final_vector[2] = FINAL_CLASS + (c->trail.classes & 511);
    m->vector[0] = SET_MATCH + match * 2 + first;
    m->vector[1] = SET_CLASS + (c->trail.classes & 4095);
    m->vector[2] = SET_BYTE + (uint32_t)(c->trail.last & 255);
    m->vector[3] = SET_ORDER + (order * 8 + c->bits) * 2 + first;
    m->vector[4] = SET_PARTIAL + c->partial * 8 + (c->trail.classes & 7);
    if (p->lm) m->vector[4] = SET_PARTIAL + (uint32_t)(model < 0 ? -model : model) / 256 * 17 + match;
    m->vector[5] = SET_COMMON;
}

/* Of machine code the kind of a byte and the opcode tell more than classes of characters. */
static void select_code_vectors(predictor_t *p, const cursor_t *c) {
    const uint32_t place = (c->at - c->document) % 4, above = (uint32_t)(c->trail.last >> 8 * place) & 255;
    const uint32_t kind = p->profile == PROFILE_X86 ? zllm_x86_kind(&c->x86) : place;
    p->mixer.final_vector[2] = FINAL_CLASS + (kind << 3 | c->bits);
    p->mixer.vector[1] = SET_CLASS + (kind << 8 | (p->profile == PROFILE_X86 ? zllm_x86_opcode(&c->x86) : above));
    p->mixer.vector[4] = SET_PARTIAL + c->partial * 8 + (kind & 7);
}

static void mix(predictor_t *p) {
    p->operations->mix(&p->mixer);
    int32_t total = 0;
    for (uint32_t f = 0; f < FINALS; f++) total += p->mixer.finals[f];
    p->mixed = total * 21845 >> 16; /* a third */
}

/* What map k makes of a stretched probability at a node of the nibble, in 2^-29. */
static inline uint32_t refine(predictor_t *p, const cursor_t *c, uint32_t k, uint32_t node, int32_t stretched) {
    const uint32_t x = (uint32_t)(stretched + STRETCH_MAX) * (KNOTS - 1), knot = x >> 12, part = x >> 5 & 127;
    adaptive_t *m = c->group[k] + (size_t)node * KNOTS + knot;
    lane_see(&p->lanes, map_lane(p->lm, k), m + (part >= 64));
    return (m[0] >> 10) * (128 - part) + (m[1] >> 10) * part;
}

/* The model's probability, what maps make of it and a constant take the places of contexts that are left out. */
static void model_inputs(predictor_t *p, const cursor_t *c, uint32_t node, uint32_t lm, int32_t model) {
    p->mixer.inputs[0] = (int16_t)model;
    p->mixer.inputs[1] = (int16_t)(((int32_t)lm - (1 << 23)) >> 14);
    for (uint32_t k = 0; k < MAPS - PLAIN_MAPS; k++)
        add_inputs(&p->tables, &p->mixer.inputs[2 + 2 * k], refine(p, c, PLAIN_MAPS + k, node, model) >> 7 << 10);
}

/* Inputs of the contexts from `first` on. Returns how many of four have a history. */
static inline uint32_t context_inputs(predictor_t *p, const cursor_t *c, uint32_t node, uint32_t first) {
    uint32_t order = 0;
    for (uint32_t i = first; i < CONTEXTS; i++) {
        const uint32_t state = *(p->state[i] = c->slot[i] + (i < DIRECT ? c->partial : node));
        add_inputs(&p->tables, &p->mixer.inputs[2 * i], lane_see(&p->lanes, i, &p->maps[i][state]));
        if (i >= ORDERED && i < ORDERED + 4) order += state != 0;
    }
    return order;
}

uint32_t zllm_predictor_bit(predictor_t *p, cursor_t *c, uint32_t lm) {
    const tables_t *t = &p->tables;
    const int32_t model = p->lm ? stretch(t, lm >> 12) : 0;
    const uint32_t node = node_of(c->partial, c->bits);
    zllm_predictor_find(p, c);
    if (p->lm) prefetch_rows(p, c->group, node);
    else if (node < GROUP / 2) prefetch_next_rows(c->group, node);
    const uint32_t order = p->lm ? context_inputs(p, c, node, MODEL_FIRST) : context_inputs(p, c, node, 0);
    const uint32_t match = match_inputs(p, c);
    if (p->lm) model_inputs(p, c, node, lm, model);
    select_vectors(p, c, match, order, model);
    if (p->profile >= PROFILE_X86) select_code_vectors(p, c);
    mix(p);
    const uint32_t direct = squash(t, p->mixed);
    const uint32_t a = refine(p, c, 0, node, p->mixed) >> 5;
    const uint32_t b = refine(p, c, 1, node, p->mixed) >> 5;
    const uint32_t all = p->lm ? (2 * direct + a + b) >> 2 : (2 * direct + 3 * (a + b)) >> 3;
    c->learning = 1;
    p->predicted = codable(all);
    return p->predicted;
}

/* Text of one kind wants weights that hardly move, text of many kinds such that do: half of the sets have either, and the
 * final vectors learn which are right. A rate is 12 * 2^14 times the usual one. */
static const int32_t RATE_LAST[2] = {900, 40};
#define USES_MOST (DECAYS * (1 << DECAY_SHIFT) - 1)

static void learn_weights(predictor_t *p, int bit) {
    const tables_t *t = &p->tables;
    int32_t steps[SETS], wrong[FINALS];
    for (uint32_t s = 0; s < SETS; s++) {
        uint16_t *uses = &p->uses[p->mixer.vector[s]];
        const int32_t rate = RATE_LAST[s & 1] + t->decay[*uses >> DECAY_SHIFT];
        steps[s] = error_of(squash(t, p->mixer.outputs[s]), bit) * rate >> 14;
        *uses = (uint16_t)(*uses + (*uses < USES_MOST));
    }
    for (uint32_t f = 0; f < FINALS; f++) wrong[f] = error_of(squash(t, p->mixer.finals[f]), bit);
    p->operations->train(&p->mixer, steps, wrong);
}

/* In this order: two contexts may share a history. */
static inline void learn_histories(predictor_t *p, int bit, uint32_t first) {
    for (uint32_t i = first; i < CONTEXTS; i++) *p->state[i] = p->tables.next[*p->state[i]][bit];
}

static void learn(predictor_t *p, int bit) {
    const uint32_t missed = surprise(p->predicted, bit), answers = (bit ? UINT32_MAX : 0) ^ p->inverted;
    if (missed >= KNOWN) learn_weights(p, bit);
    if (missed >= CERTAIN)
        p->operations->learn(p->tables.reciprocal, &p->lanes, p->lm ? MATCH + 1 : LANES, answers);
    if (p->lm) learn_histories(p, bit, MODEL_FIRST);
    else learn_histories(p, bit, 0);
}

/* Without a model: what the decisions after the next one will read, as far as it is known (with one, expect.c does this). */
static INLINED void expect_decisions(const predictor_t *p, const cursor_t *c) {
    const uint32_t next = SET_PARTIAL + c->partial * 16 + (c->trail.classes & 7);
    if (c->bits < 7) {
        __builtin_prefetch(p->weights[next]);
        __builtin_prefetch(p->weights[next + 8]);
    }
    if (c->bits == 0) {
        __builtin_prefetch(p->weights[SET_CLASS + (c->trail.classes & 4095)]);
        __builtin_prefetch(p->weights[SET_BYTE + (c->trail.last & 255)]);
        __builtin_prefetch(p->final[FINAL_CLASS + (c->trail.classes & 511)]);
    }
    for (uint32_t i = 0; i < HASHED && c->bits == 1; i++) prefetch_lower_lines(p, c->hash[i]);
}

void zllm_cursor_skip(predictor_t *p, cursor_t *c, int bit) {
    c->partial = c->partial << 1 | (uint32_t)(bit != 0);
    c->bits++;
    if (c->bits == 4) c->found = 0;
    if (c->bits == 8) zllm_context_byte(p, c, c->partial & 255);
    if (!p->lm) expect_decisions(p, c);
}

void zllm_predictor_update(predictor_t *p, cursor_t *c, int bit) {
    if (c->learning) learn(p, bit != 0);
    c->learning = 0;
    zllm_cursor_skip(p, c, bit);
}
