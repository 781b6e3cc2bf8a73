/* Whether a token ends: the language model's probability and six counters. */
#include "state.h"

#define LIMIT 1023u
#define WEIGHT_MAX (1 << 20) /* 1 is 2^16 */

void flag_start(flag_t *f) {
    for (uint32_t k = 0; k < FLAG_INPUTS - 2; k++)
        for (uint32_t i = 0; i < 1u << FLAG_BITS; i++) f->map[k][i] = (adaptive_t)1 << 31;
    for (uint32_t s = 0; s < 16; s++) f->weights[s][0] = 1 << 16;
}

uint32_t predictor_flag(predictor_t *p, cursor_t *c, uint32_t lm) {
    flag_t *f = p->flag;
    const tables_t *t = &p->tables;
    const match_t *m = &c->match;
    const uint32_t hint = m->expected < 0 ? 0 : 1 + p->ends[m->position];
    const uint64_t v[FLAG_INPUTS - 2] = {
        c->token_hash,
        (uint64_t)c->token_before << 32 | c->token_hash,
        (c->last & 0xffffff) << 8 | (c->token_length < 255 ? c->token_length : 255),
        (uint64_t)c->word << 8 | (c->token_length < 255 ? c->token_length : 255),
        (uint64_t)(uint32_t)(c->match.expected + 1) << 32 | c->token_hash,
        hint << 8 | (m->length < 31 ? m->length : 31) << 2 | m->recent,
    };
    int64_t sum = 0;
    f->inputs[0] = stretch(t, lm >> 12);
    f->set = hint * 5 + (c->token_length < 4 ? c->token_length : 4);
    f->inputs[1] = 256;
    for (uint32_t k = 0; k < FLAG_INPUTS - 2; k++) {
        f->used[k] = hash32(v[k] + 1) >> (32 - FLAG_BITS);
        f->inputs[2 + k] = stretch(t, f->map[k][f->used[k]] >> 20);
    }
    for (uint32_t i = 0; i < FLAG_INPUTS; i++) sum += (int64_t)f->inputs[i] * f->weights[f->set][i];
    f->p = squash(t, clamp_stretch(sum >> 16));
    return f->p;
}

void predictor_update_flag(predictor_t *p, cursor_t *c, int end) {
    flag_t *f = p->flag;
    const int32_t wrong = ((end ? 1 << 24 : 0) - (int32_t)f->p) / 256;
    (void)c;
    for (uint32_t i = 0; i < FLAG_INPUTS; i++) {
        int32_t *w = &f->weights[f->set][i];
        *w += (f->inputs[i] * wrong + (1 << 14)) >> 15;
        *w = *w > WEIGHT_MAX ? WEIGHT_MAX : *w < -WEIGHT_MAX ? -WEIGHT_MAX : *w;
    }
    for (uint32_t k = 0; k < FLAG_INPUTS - 2; k++) adapt(&p->tables, &f->map[k][f->used[k]], end, LIMIT);
}

void cursor_token(predictor_t *p, cursor_t *c, uint32_t token) {
    if (p->lm) p->ends[c->at] = 1;
    c->token_before = token;
    c->token_hash = 0;
    c->token_length = 0;
}
