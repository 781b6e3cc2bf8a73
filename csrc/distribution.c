#include "distribution.h"

#include <string.h>

#include "fixed.h"

void zllm_distribution_set(distribution_buffer_t *d, const zllm_kernel *k, const int32_t *logits) {
    const uint32_t blocks = d->size / ZLLM_SUM_BLOCK + 1;
    uint64_t total = 0;
    k->weights(logits, d->size, d->weight);
    k->block_sums(d->weight, blocks, d->sums);
    for (uint32_t b = 0; b < blocks; b++) {
        d->base[b] = total;
        total += d->sums[b];
    }
}

void zllm_distribution_resize(distribution_buffer_t *d, uint32_t size) {
    const uint32_t whole = (size / ZLLM_SUM_BLOCK + 1) * ZLLM_SUM_BLOCK;
    d->size = size;
    memset(d->weight + size, 0, (whole - size) * sizeof *d->weight);
}

int zllm_distribution_new(distribution_buffer_t *d, heap_t *heap, uint32_t size) {
    const uint32_t blocks = size / ZLLM_SUM_BLOCK + 1;
    d->size = size;
    d->heap = heap;
    d->base = zllm_heap_zeroed(heap, blocks, sizeof *d->base);
    d->sums = zllm_heap_zeroed(heap, blocks, sizeof *d->sums);
    d->weight = zllm_heap_zeroed(heap, (size_t)blocks * ZLLM_SUM_BLOCK, sizeof *d->weight);
    return d->base && d->sums && d->weight;
}

void zllm_distribution_free(distribution_buffer_t *d) {
    zllm_heap_free(d->heap, d->base);
    zllm_heap_free(d->heap, d->sums);
    zllm_heap_free(d->heap, d->weight);
}

/* Probability that the token is at or above the split, of those in [low, high), in 2^-24. */
static inline uint32_t probability(uint64_t low, uint64_t split, uint64_t high) {
    uint64_t part = high - split, whole = high - low;
    const uint32_t length = bit_length64(whole);
    if (length > 40) {
        part >>= length - 40;
        whole >>= length - 40;
    }
    const uint64_t p = (part << PROBABILITY_BITS) / whole;
    return p < 1 ? 1u : p > (1u << PROBABILITY_BITS) - 1 ? (1u << PROBABILITY_BITS) - 1 : (uint32_t)p;
}

uint32_t zllm_token_decisions(const zllm_model *m, uint32_t token) {
    uint32_t count = 0;
    for (int32_t at = 0; at >= 0; count++) {
        const decision_t *c = &m->decisions[at];
        at = token >= c->split ? c->high : c->low;
    }
    return count;
}

/* Where a walk stands: the sums of the weights before the tokens, or classes, that are left, and to their end. */
typedef struct {
    distribution_t d;
    const uint16_t *class_of; /* while it is among classes; else NULL */
    uint32_t before;          /* tokens before the first one of the distribution */
    uint64_t low, high;
} stand_t;

static inline stand_t stand_first(const zllm_model *m, const outcome_t *o) {
    const distribution_t *d = &o->first;
    return (stand_t){*d, m->class_of, 0, sum_below(d, d->from), sum_below(d, d->end)};
}

/* On to the tokens of the class that the decision opens. */
static inline void stand_within(stand_t *s, const zllm_model *m, const outcome_t *o, const decision_t *c) {
    const uint32_t class_ = m->class_of[c->split];
    s->d = o->within(o->context, class_);
    s->class_of = NULL;
    s->before = m->network->class_first[class_];
    s->low = sum_below(&s->d, s->d.from);
    s->high = sum_below(&s->d, s->d.end);
}

/* Sum of the weights before a split. */
static inline uint64_t stand_split(const stand_t *s, uint32_t split) {
    return sum_below(&s->d, s->d.from + (s->class_of ? s->class_of[split] : split - s->before));
}

void zllm_token_probabilities(const zllm_model *m, const outcome_t *o, uint32_t token, uint32_t *p) {
    stand_t s = stand_first(m, o);
    int32_t at = 0;
    while (at >= 0) {
        const decision_t *c = &m->decisions[at];
        if (c->opens) stand_within(&s, m, o, c);
        const uint64_t split = stand_split(&s, c->split);
        *p++ = probability(s.low, split, s.high);
        if (token >= c->split) s.low = split;
        else s.high = split;
        at = token >= c->split ? c->high : c->low;
    }
}

/* The predictor's path through the bits of a token: those before the decision are certain, and `t` has them. */
typedef struct {
    const zllm_model *m;
    predictor_t *p;
    cursor_t *c;
    uint32_t at; /* bits done */
} path_t;

static void path_skip(path_t *w, uint32_t t, uint32_t to) {
    const uint8_t *bytes = w->m->token_bytes + w->m->token_offsets[t];
    for (; w->at < to; w->at++) zllm_cursor_skip(w->p, w->c, bytes[w->at / 8] >> (7 - w->at % 8) & 1);
}

/* To a decision. */
static void path_go(path_t *w, const decision_t *c) {
    path_skip(w, c->split, 8u * c->depth + (c->bit == DECISION_END ? 0 : c->bit));
}

/* Probability that the token is at or above the split. Tokens that end are below: the predictor's flag is the other way
 * round. */
static uint32_t path_predict(path_t *w, const decision_t *c, uint32_t lm) {
    if (c->bit != DECISION_END) return zllm_predictor_bit(w->p, w->c, lm);
    return (1u << PROBABILITY_BITS) - zllm_predictor_flag(w->p, w->c, (1u << PROBABILITY_BITS) - lm);
}

static void path_learn(path_t *w, const decision_t *c, int above) {
    if (c->bit == DECISION_END) {
        zllm_predictor_update_flag(w->p, w->c, !above);
        return;
    }
    zllm_predictor_update(w->p, w->c, above);
    w->at++;
}

static void path_end(path_t *w, uint32_t token) {
    path_skip(w, token, 8 * (w->m->token_offsets[token + 1] - w->m->token_offsets[token]));
    zllm_cursor_token(w->p, w->c, token);
}

/* A byte's bits before a decision, after a one. */
static uint32_t partial_of(const decision_t *d, const uint8_t *bytes) {
    return 1u << d->bit | (uint32_t)bytes[d->depth] >> (8 - d->bit);
}

void zllm_token_expect(const zllm_model *m, const predictor_t *p, const cursor_t *cursor, uint32_t token) {
    const uint8_t *bytes = m->token_bytes + m->token_offsets[token];
    const uint32_t length = m->token_offsets[token + 1] - m->token_offsets[token];
    trail_t trail = zllm_cursor_trail(cursor);
    uint32_t done = 0;
    for (int32_t at = 0; at >= 0;) {
        const decision_t *c = &m->decisions[at];
        for (; done < c->depth; done++) zllm_predictor_expect_byte(p, &trail, bytes[done]);
        if (c->bit == DECISION_END) zllm_predictor_expect_flag(p, cursor, &trail);
        else zllm_predictor_expect_bit(p, &trail, partial_of(c, bytes));
        at = token >= c->split ? c->high : c->low;
    }
    for (; done < length; done++) zllm_predictor_expect_byte(p, &trail, bytes[done]);
}

/* In 2^-24: what a less likely outcome leads to is not worth prefetching. */
#define UNLIKELY (1u << 18)

/* One outcome of a decision about the byte at `depth` leads to the decision, or token, `at`: what that will read is
 * prefetched. All tokens that are left then have the bytes on the path to it. */
static void path_expect(const path_t *w, uint32_t depth, int32_t at) {
    const zllm_model *m = w->m;
    const decision_t *next = at < 0 ? NULL : &m->decisions[at];
    const uint32_t token = next ? next->split : (uint32_t)~at;
    const uint8_t *bytes = m->token_bytes + m->token_offsets[token];
    const uint32_t end = next ? next->depth : m->token_offsets[token + 1] - m->token_offsets[token];
    if (end == depth) {
        if (next) zllm_predictor_expect_here(w->p, w->c, partial_of(next, bytes));
        return;
    }
    trail_t trail = zllm_cursor_trail(w->c);
    for (; depth < end; depth++) zllm_predictor_expect_byte(w->p, &trail, bytes[depth]);
    if (!next) return;
    if (next->bit == DECISION_END) zllm_predictor_expect_flag(w->p, w->c, &trail);
    else zllm_predictor_expect_bit(w->p, &trail, partial_of(next, bytes));
}

void zllm_token_encode(const zllm_model *m, const uint32_t *lm, predictor_t *p, cursor_t *cursor, encoder_t *e,
                       uint32_t token) {
    path_t w = {m, p, cursor, 0};
    int32_t at = 0;
    while (at >= 0) {
        const decision_t *c = &m->decisions[at];
        const int above = token >= c->split;
        path_go(&w, c);
        encoder_put(e, path_predict(&w, c, *lm++), above);
        path_learn(&w, c, above);
        at = above ? c->high : c->low;
    }
    path_end(&w, token);
}

uint32_t zllm_token_decode(const zllm_model *m, const outcome_t *o, predictor_t *p, cursor_t *cursor,
                           decoder_t *r) {
    path_t w = {m, p, cursor, 0};
    stand_t s = stand_first(m, o);
    int32_t at = 0;
    while (at >= 0) {
        const decision_t *c = &m->decisions[at];
        if (c->opens) stand_within(&s, m, o, c);
        const uint64_t split = stand_split(&s, c->split);
        path_go(&w, c);
        if (c->bit != DECISION_END) zllm_predictor_find(p, cursor);
        const uint32_t lm = probability(s.low, split, s.high);
        if (lm >= UNLIKELY) path_expect(&w, c->depth, c->high);
        if (lm <= (1u << PROBABILITY_BITS) - UNLIKELY) path_expect(&w, c->depth, c->low);
        /* Each outcome is a constant from here on: a processor that predicts the branch need not wait for it. */
        if (decoder_get(r, path_predict(&w, c, lm))) {
            path_learn(&w, c, 1);
            s.low = split;
            at = c->high;
        } else {
            path_learn(&w, c, 0);
            s.high = split;
            at = c->low;
        }
    }
    path_end(&w, (uint32_t)~at);
    return (uint32_t)~at;
}
