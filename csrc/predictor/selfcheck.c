/* Whether a kernel's operations of the predictor give the integers that the generic ones give. Each call is made on two
 * copies of one state, by either, and then all of both states is compared: what is to change, and what lies beside it. States
 * are made of vectors from a fixed generator, up to the limits that the predictor keeps to. About 0.2 ms. */
#include <string.h>

#include "operations.h"
#include "selfcheck.h"

#define SCALAR (&zllm_operations_generic)
#define ROUNDS 12u /* of each operation and mode */
#define ROWS 8u    /* of weights, from which each set selects one */

/* Inputs are in turn stretched and plain probabilities. */
static void fill_inputs(source_t *s, int16_t *x, uint32_t n, int32_t plain) {
    const int32_t sign = s->mode == LARGEST && draw(s) % 2 ? -1 : 1;
    for (uint32_t i = 0; i < n; i++) {
        const int32_t most = i % 2 ? plain : STRETCH_MAX;
        x[i] = (int16_t)(s->mode == LARGEST ? sign * most : number(s, (uint32_t)most));
    }
}

/* At the ends of 16 bits, or as far from them as a step of training may be; or of any size. */
static void fill_weights(source_t *s, int16_t *w, size_t n) {
    const uint32_t limit = s->mode == ANY ? (uint32_t)INT16_MAX >> draw(s) % 16 : INT16_MAX;
    const int32_t all = draw(s) % 2 ? INT16_MAX : INT16_MIN, inwards = all > 0 ? -1 : 1;
    for (size_t i = 0; i < n; i++)
        w[i] = (int16_t)(s->mode == LARGEST ? all + inwards * (int32_t)(draw(s) % 3) : number(s, limit));
}

static void select_rows(source_t *s, uint32_t *row, uint32_t n) {
    uint32_t rows[ROWS];
    for (uint32_t i = 0; i < ROWS; i++) rows[i] = i;
    for (uint32_t i = 0; i < n; i++) { /* no two sets have the same */
        const uint32_t k = i + draw(s) % (ROWS - i), was = rows[k];
        rows[k] = rows[i];
        row[i] = rows[i] = was;
    }
}

typedef struct {
    mixer_t mixer;
    int16_t weights[ROWS][INPUTS];
    int32_t final[ROWS][FINAL_ROW];
} mixing_t;

static void fill_mixing(source_t *s, mixing_t *m) {
    memset(m, 0, sizeof *m);
    fill_inputs(s, m->mixer.inputs, INPUTS, 512);
    fill_weights(s, &m->weights[0][0], (size_t)ROWS * INPUTS);
    const int32_t all = draw(s) % 2 ? FINAL_MAX : -FINAL_MAX;
    for (uint32_t r = 0; r < ROWS; r++)
        for (uint32_t i = 0; i < SETS; i++)
            m->final[r][i] = s->mode == LARGEST ? all : number(s, s->mode == ANY && draw(s) % 2 ? 32768 : FINAL_MAX);
    select_rows(s, m->mixer.vector, SETS);
    select_rows(s, m->mixer.final_vector, FINALS);
}

/* Pointers differ. */
static int mixing_equal(const mixing_t *a, const mixing_t *b) {
    const mixer_t *x = &a->mixer, *y = &b->mixer;
    return memcmp(x->inputs, y->inputs, sizeof x->inputs) == 0 && memcmp(x->outputs, y->outputs, sizeof x->outputs) == 0 &&
           memcmp(x->vector, y->vector, sizeof x->vector) == 0 &&
           memcmp(x->final_vector, y->final_vector, sizeof x->final_vector) == 0 &&
           memcmp(x->finals, y->finals, sizeof x->finals) == 0 && x->weights == a->weights && y->weights == b->weights &&
           x->final == a->final && y->final == b->final && memcmp(a->weights, b->weights, sizeof a->weights) == 0 &&
           memcmp(a->final, b->final, sizeof a->final) == 0;
}

/* A prediction, then what it is to learn: errors as large as they get. */
static int mixing_matches(const operations_t *o, source_t *s) {
    mixing_t is[2];
    int32_t steps[SETS], wrong[FINALS];
    fill_mixing(s, &is[0]);
    is[1] = is[0];
    for (int i = 0; i < 2; i++) {
        is[i].mixer.weights = is[i].weights;
        is[i].mixer.final = is[i].final;
    }
    o->mix(&is[0].mixer);
    SCALAR->mix(&is[1].mixer);
    if (!mixing_equal(&is[0], &is[1])) return 0;
    for (uint32_t i = 0; i < SETS; i++) steps[i] = number(s, s->mode == ANY && draw(s) % 2 ? 255 : INT16_MAX);
    for (uint32_t i = 0; i < FINALS; i++) wrong[i] = number(s, 65536);
    o->train(&is[0].mixer, steps, wrong);
    SCALAR->train(&is[1].mixer, steps, wrong);
    return mixing_equal(&is[0], &is[1]);
}

typedef struct {
    flag_mixer_t mixer;
    int16_t weights[ROWS][FLAG_INPUTS];
} flag_mixing_t;

static int flag_mixing_equal(const flag_mixing_t *a, const flag_mixing_t *b) {
    const flag_mixer_t *x = &a->mixer, *y = &b->mixer;
    return memcmp(x->inputs, y->inputs, sizeof x->inputs) == 0 && memcmp(x->outputs, y->outputs, sizeof x->outputs) == 0 &&
           memcmp(x->vector, y->vector, sizeof x->vector) == 0 && x->weights == a->weights && y->weights == b->weights &&
           memcmp(a->weights, b->weights, sizeof a->weights) == 0;
}

static int flag_matches(const operations_t *o, source_t *s) {
    flag_mixing_t is[2];
    int32_t steps[FLAG_SETS];
    memset(is, 0, sizeof is);
    fill_inputs(s, is[0].mixer.inputs, FLAG_INPUTS, STRETCH_MAX);
    fill_weights(s, &is[0].weights[0][0], (size_t)ROWS * FLAG_INPUTS);
    select_rows(s, is[0].mixer.vector, FLAG_SETS);
    is[1] = is[0];
    for (int i = 0; i < 2; i++) is[i].mixer.weights = is[i].weights;
    o->mix_flag(&is[0].mixer);
    SCALAR->mix_flag(&is[1].mixer);
    if (!flag_mixing_equal(&is[0], &is[1])) return 0;
    for (uint32_t i = 0; i < FLAG_SETS; i++) steps[i] = number(s, s->mode == ANY && draw(s) % 2 ? 255 : INT16_MAX);
    o->train_flag(&is[0].mixer, steps);
    SCALAR->train_flag(&is[1].mixer, steps);
    return flag_mixing_equal(&is[0], &is[1]);
}

#define LINES 8u /* of the table, and half as many behind it that are not to be used */

/* Few check bytes and few counts of uses, so that slots are found, tie, and are emptied; bytes otherwise. */
static int find_matches(const operations_t *o, source_t *s) {
    uint8_t table[2][LINES + LINES / 2][4][16], *slot[2][HASHED + 1] = {{0}};
    uint32_t hash[HASHED];
    const uint32_t n = s->mode == ANY ? 1 + draw(s) % HASHED : HASHED, checks = 1 + draw(s) % 255, uses = 1 + draw(s) % 255;
    for (uint32_t l = 0; l < LINES + LINES / 2; l++)
        for (uint32_t i = 0; i < 4; i++) {
            for (uint32_t b = 0; b < 16; b++) table[0][l][i][b] = (uint8_t)draw(s);
            table[0][l][i][0] = (uint8_t)between(s, 0, checks);
            table[0][l][i][1] = (uint8_t)between(s, s->mode == LARGEST ? uses : 0, uses);
        }
    memcpy(table[1], table[0], sizeof table[0]);
    for (uint32_t i = 0; i < n; i++) hash[i] = between(s, 0, checks) << 24 | (draw(s) & 0xffffff);
    o->find(&table[0][0][0][0], LINES - 1, hash, slot[0], n);
    SCALAR->find(&table[1][0][0][0], LINES - 1, hash, slot[1], n);
    for (uint32_t i = 0; i < n; i++)
        if (slot[0][i] - &table[0][0][0][0] != slot[1][i] - &table[1][0][0][0]) return 0;
    return slot[0][n] == NULL && memcmp(table[0], table[1], sizeof table[0]) == 0;
}

/* Lanes learn into elements of an array, each into one of its own, and those past the last into none. */
static int learn_matches(const operations_t *o, source_t *s) {
    uint16_t reciprocal[1024 + 1];
    adaptive_t into[2][2 * LANES];
    lanes_t lanes[2];
    const uint32_t n = s->mode == ANY ? 1 + draw(s) % LANES : LANES, answers = s->mode == LARGEST ? UINT32_MAX : draw(s);
    memset(lanes, 0, sizeof lanes);
    for (uint32_t i = 0; i < COUNT(reciprocal); i++) reciprocal[i] = (uint16_t)between(s, 0, 65535);
    for (uint32_t i = 0; i < 2 * LANES; i++) into[0][i] = draw(s);
    for (uint32_t i = 0; i < LANES; i++) {
        lanes[0].limit[i] = draw(s) % 2 ? 127 : 1023;
        lanes[0].seen[i] = draw(s) << 10 | (draw(s) % 2 ? lanes[0].limit[i] - draw(s) % 2 : draw(s) % 1024);
        if (s->mode == LARGEST) lanes[0].seen[i] |= 0xfffffc00u;
    }
    lanes[1] = lanes[0];
    memcpy(into[1], into[0], sizeof into[0]);
    for (uint32_t i = 0; i < LANES; i++)
        for (int k = 0; k < 2; k++) lanes[k].at[i] = &into[k][(i * 2 + answers % 2) % (2 * LANES)];
    o->learn(reciprocal, &lanes[0], n, answers);
    SCALAR->learn(reciprocal, &lanes[1], n, answers);
    return memcmp(into[0], into[1], sizeof into[0]) == 0 && memcmp(lanes[0].seen, lanes[1].seen, sizeof lanes[0].seen) == 0 &&
           memcmp(lanes[0].limit, lanes[1].limit, sizeof lanes[0].limit) == 0 && lanes[0].nothing == lanes[1].nothing;
}

int zllm_operations_match(const operations_t *o, uint64_t seed) {
    for (source_t s = {~seed, ANY}; s.mode < MODES; s.mode++)
        for (uint32_t round = 0; round < ROUNDS; round++)
            if (!mixing_matches(o, &s) || !flag_matches(o, &s) || !find_matches(o, &s) || !learn_matches(o, &s)) return 0;
    return 1;
}
