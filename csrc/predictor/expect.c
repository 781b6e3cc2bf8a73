/* Prefetching what the decisions to come will read. */
#include "state.h"

/* The sets' weights that the newest bytes select. */
static void expect_weights(const predictor_t *p, const trail_t *t) {
    const int16_t *w[] = {p->weights[SET_CLASS + (t->classes & 511)], p->weights[SET_BYTE + (t->last & 255)]};
    for (uint32_t i = 0; i < 2; i++) {
        __builtin_prefetch(w[i]);
        __builtin_prefetch(w[i] + ROW - 1);
    }
}

trail_t cursor_trail(const cursor_t *c) { return c->trail; }

void predictor_expect_byte(const predictor_t *p, const cursor_t *c, trail_t *t, uint32_t byte) {
    trail_byte(t, byte);
    context_expect(p, t);
    expect_weights(p, t);
    flag_expect(p->flag, c, t);
}

void predictor_expect_bit(const predictor_t *p, const trail_t *t, uint32_t partial, uint32_t lm) {
    adaptive_t *rows[MAPS];
    const int32_t model = stretch(&p->tables, lm >> 12);
    find_rows(p, t, partial, rows);
    for (uint32_t k = 0; k < MAPS; k++) prefetch_row(rows[k], 1, model);
}

void predictor_expect_token(const predictor_t *p, const cursor_t *c, uint32_t lm) {
    for (uint32_t i = 0; i < HASHED; i++) prefetch_line(p, c->hash[i]);
    predictor_expect_bit(p, &c->trail, 1, lm);
    expect_weights(p, &c->trail);
}

/* The last bit of a nibble is enough of a guess: both lines of the lower one, or both bytes. */
void predictor_expect_next(const predictor_t *p, const cursor_t *c) {
    if (c->bits == 3)
        for (uint32_t i = 0; i < 2 * FAR; i++)
            prefetch_line(p, lower_hash(c->hash[i / 2], i / 2, c->partial << 1 | i % 2));
    for (uint32_t bit = 0; c->bits == 7 && bit < 2; bit++) {
        trail_t t = c->trail;
        trail_byte(&t, (c->partial << 1 | bit) & 255);
        context_expect(p, &t);
        flag_expect(p->flag, c, &t);
    }
}
