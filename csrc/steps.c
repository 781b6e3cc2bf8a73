/* Coding frames whose model is computed elsewhere (docs/arithmetic.md, section 8): the predictor and the range coder,
 * in the order that all executors share. */
#include "job.h"

/* A token's number among all weights, or its class's; `token` may be the vocabulary's size. */
static uint32_t output_of(const zllm_model *m, uint32_t token, int class_) {
    if (m->class_of == NULL) return token;
    const uint32_t classes = m->network->classes;
    return !class_ ? classes + token : token == m->vocab ? classes : m->class_of[token];
}

void zllm_trie_paths(const zllm_model *m, uint32_t *first, uint32_t *low, uint32_t *split, uint32_t *high) {
    uint32_t count = 0;
    for (uint32_t token = 0; token < m->vocab; token++) {
        uint32_t from = 0, end = m->vocab;
        first[token] = count;
        int among = m->class_of != NULL; /* classes */
        for (int32_t at = 0; at >= 0; count++) {
            const decision_t *c = &m->decisions[at];
            among &= !c->opens;
            if (low != NULL) low[count] = output_of(m, from, among);
            if (split != NULL) split[count] = output_of(m, c->split, among);
            if (high != NULL) high[count] = output_of(m, end, among);
            if (token >= c->split) from = c->split;
            else end = c->split;
            at = token >= c->split ? c->high : c->low;
        }
    }
    first[m->vocab] = count;
}

/* The next turn's stream, or none: then all is coded. */
static int next_turn(zllm_job *j) {
    uint32_t passed = 0; /* streams in a row that have no such turn */
    while (passed < j->streams) {
        if (j->stream == j->streams) {
            j->stream = 0;
            j->step++;
        }
        if (j->step < j->frame->streams[j->stream].n_tokens) return 1;
        j->stream++;
        passed++;
    }
    return 0;
}

static void finish(zllm_job *j) {
    encoder_finish(&j->encoder);
    if (j->encoder.full) zllm_job_fail(j, ZLLM_E_SPACE);
    j->frame->coded_size = j->encoder.at;
    j->finished = 1;
}

zllm_result zllm_steps_encode(zllm_job *j, const uint32_t *lm, size_t n, const zllm_run *run) {
    if (j->threads > 0 || j->decoding || j->finished) return ZLLM_E_ARGUMENT;
    while (!zllm_job_stopped(j, run) && next_turn(j)) {
        const uint32_t token = j->frame->streams[j->stream].tokens[j->step];
        const uint32_t count = token & ZLLM_GIVEN ? 0 : zllm_token_decisions(j->m, token);
        if (count > 0 && n == 0) return ZLLM_OK;
        if (count > n) return ZLLM_E_ARGUMENT;
        if (count > 0) zllm_job_expect_encoding(j, j->stream, j->step);
        zllm_job_encode_turn(j, j->stream, j->step, lm, run);
        lm += count;
        n -= count;
        j->stream++;
        if (j->encoder.full) zllm_job_fail(j, ZLLM_E_SPACE);
    }
    if (n > 0 && !zllm_job_stopped(j, run)) return ZLLM_E_ARGUMENT;
    if (!zllm_job_stopped(j, run)) finish(j);
    return (zllm_result)atomic_load(&j->failure);
}

/* Of a lane, of which all weights are there: those of classes, and behind them those of tokens. */
typedef struct {
    const zllm_model *m;
    const uint64_t *base;
    const uint32_t *weight;
} given_t;

static given_t given_of(const zllm_model *m, const zllm_distributions *a, uint32_t lane) {
    const uint32_t n = model_outputs(m);
    return (given_t){m, a->base + (size_t)lane * (n / ZLLM_SUM_BLOCK + 1), a->weights + (size_t)lane * n};
}

static distribution_t within(void *context, uint32_t class_) {
    const given_t *g = context;
    const network_t *n = g->m->network;
    return (distribution_t){g->base, g->weight, n->classes + n->class_first[class_], n->classes + n->class_first[class_ + 1]};
}

/* The turns of one job. `lane` is [streams]. */
static zllm_result decode_turns(zllm_job *j, uint32_t *lane, size_t lanes, const zllm_distributions *all,
                                uint32_t *tokens, const zllm_run *run) {
    if (j->threads > 0 || !j->decoding) return ZLLM_E_ARGUMENT;
    for (uint32_t i = 0; i < j->streams && !zllm_job_stopped(j, run); i++) {
        if (lane[i] == ZLLM_ENDED) continue;
        if (lane[i] >= lanes || j->places[i].done == j->frame->streams[i].size) return ZLLM_E_ARGUMENT;
        if (all != NULL) {
            given_t given = given_of(j->m, all, lane[i]);
            const outcome_t next = {{given.base, given.weight, 0, model_choices(j->m)}, within, &given};
            const int more = zllm_job_decode_turn(j, i, &j->places[i], &next, run);
            if (more < 0) zllm_job_fail(j, ZLLM_E_DATA);
            if (more <= 0) {
                lane[i] = ZLLM_ENDED;
                continue;
            }
        }
        tokens[lane[i]] = j->places[i].next;
    }
    return (zllm_result)atomic_load(&j->failure);
}

zllm_result zllm_steps_decode(zllm_job **jobs, size_t n, uint32_t *lane, size_t lanes, const zllm_distributions *all,
                              uint32_t *tokens, const zllm_run *run) {
    for (size_t k = 0; k < n; lane += jobs[k]->streams, k++) {
        const zllm_result rc = decode_turns(jobs[k], lane, lanes, all, tokens, run);
        if (rc != ZLLM_OK) return rc;
    }
    return ZLLM_OK;
}
