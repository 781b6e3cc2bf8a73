/* Prefetching what the decisions to come will read. */
#include "state.h"

/* The sets' weights that the newest bytes select. */
static INLINED void expect_weights(const predictor_t *p, const trail_t *t) {
    __builtin_prefetch(p->weights[SET_CLASS + (t->classes & 4095)]);
    __builtin_prefetch(p->weights[SET_BYTE + (t->last & 255)]);
}

static INLINED void expect_bit(const predictor_t *p, const trail_t *t, uint32_t partial) {
    adaptive_t *group[MAPS];
    const uint32_t bits = bits_of(partial);
    find_groups(p, t, upper_of(partial, bits), group);
    prefetch_rows(p, group, node_of(partial, bits));
    expect_weights(p, t);
}

trail_t zllm_cursor_trail(const cursor_t *c) { return c->trail; }

void zllm_predictor_expect_byte(const predictor_t *p, trail_t *t, uint32_t byte) {
    zllm_trail_byte(t, byte);
    zllm_context_expect(p, t);
}

void zllm_predictor_expect_flag(const predictor_t *p, const cursor_t *c, const trail_t *t) {
    zllm_flag_expect(p->flag, c, t);
}

void zllm_predictor_expect_bit(const predictor_t *p, const trail_t *t, uint32_t partial) { expect_bit(p, t, partial); }

void zllm_predictor_expect_here(const predictor_t *p, const cursor_t *c, uint32_t partial) {
    const uint32_t bits = bits_of(partial);
    if (c->found && (bits ^ c->bits) < 4) prefetch_rows(p, c->group, node_of(partial, bits));
    else expect_bit(p, &c->trail, partial);
}

void zllm_predictor_expect_token(const predictor_t *p, const cursor_t *c) {
    for (uint32_t i = first_hashed(p->lm); i < HASHED; i++) prefetch_line(p, c->hash[i]);
    expect_bit(p, &c->trail, 1);
}
