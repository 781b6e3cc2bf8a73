/* Encoding frames (docs/arithmetic.md, section 8).
 *
 * The text is known, so each thread feeds the model many tokens of one stream at a time. The mixing has an order
 * (job.h) and is done block by block, by one thread at a time. */
#include "job.h"

/* What a thread works with; its lanes are the streams of one job that it owns. */
typedef struct {
    zllm_job *j;
    workspace_t *w;
    distribution_buffer_t distribution;
    distribution_buffer_t members; /* of a class */
    uint32_t row;                  /* of the token in hand, in the step */
    uint32_t ids[ZLLM_BULK], tokens[ZLLM_BULK];
    uint32_t first, end, rows;
    const zllm_run *run;
} encode_t;

/* Of the row in hand. */
static distribution_t within(void *context, uint32_t class_) {
    encode_t *s = context;
    const network_t *network = s->j->m->network;
    lap(&s->w->laps, ZLLM_STAGE_WALK);
    const int32_t *logits = s->w->family->within(s->w, s->row, class_);
    zllm_distribution_resize(&s->members, network->class_first[class_ + 1] - network->class_first[class_]);
    zllm_distribution_set(&s->members, network->kernel, logits);
    lap(&s->w->laps, ZLLM_STAGE_WEIGHTS);
    return distribution_view(&s->members);
}

/* Probabilities of the decisions of tokens[at .. at + n), whose rows were fed. */
static void compute(encode_t *s, const uint32_t *tokens, uint32_t n, uint32_t *lm) {
    const zllm_model *m = s->j->m;
    for (uint32_t from = 0; from < n; from += ZLLM_HEAD_ROWS) {
        const uint32_t part = n - from < ZLLM_HEAD_ROWS ? n - from : ZLLM_HEAD_ROWS;
        s->w->family->head(s->w, from, part);
        for (uint32_t i = from; i < from + part; i++) {
            if (tokens[i] & ZLLM_GIVEN) continue;
            zllm_distribution_set(&s->distribution, m->kernel, s->w->family->logits(s->w, i - from));
            lap(&s->w->laps, ZLLM_STAGE_WEIGHTS);
            const outcome_t next = {distribution_view(&s->distribution), within, s};
            s->row = i;
            zllm_token_probabilities(m, &next, tokens[i], lm + (size_t)i * m->deepest);
            lap(&s->w->laps, ZLLM_STAGE_WALK);
        }
    }
}

/* The model's probabilities for block b of stream i. */
static void fill_stream(encode_t *s, uint32_t i, uint32_t b) {
    const zllm_job *j = s->j;
    const zllm_stream *t = &j->frame->streams[i];
    const size_t from = (size_t)b * ZLLM_BULK;
    const size_t end = t->n_tokens < from + ZLLM_BULK ? t->n_tokens : from + ZLLM_BULK;
    uint32_t *lm = j->block[b % ZLLM_AHEAD].lm + (size_t)i * ZLLM_BULK * j->m->deepest;
    for (size_t at = from; at < end; at += s->rows) {
        const uint32_t n = end - at < s->rows ? (uint32_t)(end - at) : s->rows;
        for (uint32_t k = 0; k < n; k++) {
            s->ids[k] = i - s->first;
            s->tokens[k] = at + k == 0 ? j->start : t->tokens[at + k - 1] & ~ZLLM_GIVEN;
        }
        s->w->family->step(s->w, s->ids, s->tokens, n);
        compute(s, t->tokens + at, n, lm + (at - from) * j->m->deepest);
    }
}

/* A block's turn number i: the model's probabilities for that token. NULL if there is none. */
static const uint32_t *turn(const zllm_job *j, uint32_t b, uint32_t i, uint32_t *stream, size_t *at) {
    const uint32_t row = i / j->streams;
    *stream = i % j->streams;
    *at = (size_t)b * ZLLM_BULK + row;
    if (row == ZLLM_BULK || *at >= j->frame->streams[*stream].n_tokens) return NULL;
    return j->block[b % ZLLM_AHEAD].lm + ((size_t)*stream * ZLLM_BULK + row) * j->m->deepest;
}

static void mix_block(encode_t *s, uint32_t b) {
    zllm_job *j = s->j;
    const uint32_t ahead = j->streams > 1; /* a stream alone is not yet where its next turn starts */
    for (uint32_t i = 0; i < ZLLM_BULK * j->streams; i++) {
        uint32_t stream;
        size_t at;
        const uint32_t *lm = turn(j, b, i + ahead, &stream, &at);
        if (lm != NULL) zllm_job_expect_encoding(j, stream, at);
        lm = turn(j, b, i, &stream, &at);
        if (lm != NULL) zllm_job_encode_turn(j, stream, at, lm, s->run);
    }
    if (j->encoder.full) zllm_job_fail(j, ZLLM_E_SPACE);
}

/* Mix the next block if all threads have filled it and nobody is at it. Returns whether it did. */
static int try_mixing(encode_t *s) {
    zllm_job *j = s->j;
    int idle = 0;
    if (!atomic_compare_exchange_strong(&j->mixing, &idle, 1)) return 0;
    const uint32_t b = atomic_load(&j->mixed);
    block_t *block = &j->block[b % ZLLM_AHEAD];
    const int ready = b < j->blocks && atomic_load(&block->threads) == j->threads;
    if (ready) {
        lap(&s->w->laps, ZLLM_STAGE_WAIT);
        mix_block(s, b);
        lap(&s->w->laps, ZLLM_STAGE_MIXER);
        atomic_store(&block->threads, 0);
        atomic_store(&j->mixed, b + 1);
    }
    atomic_store(&j->mixing, 0);
    if (ready) wait_add(&j->progress, 1);
    return ready;
}

/* Help until at least `blocks` are mixed. Returns 0 when the job has stopped. */
static int wait_for(encode_t *s, uint32_t blocks) {
    uint32_t turns = 0;
    for (;;) {
        const uint32_t seen = wait_value(&s->j->progress);
        if (atomic_load(&s->j->mixed) >= blocks || zllm_job_stopped(s->j, s->run)) break;
        if (try_mixing(s)) turns = 0;
        else zllm_wait_while(&s->j->progress, seen, s->j->crowded, &turns);
    }
    lap(&s->w->laps, ZLLM_STAGE_WAIT);
    return !zllm_job_stopped(s->j, s->run);
}

/* Whether mixing is better than filling a block more. Who is ahead of the others will soon have nothing else to do, and who
 * is behind must not keep them waiting; but two blocks that are ready show that all are ahead of the mixing. In a simulation
 * of 2 to 4 threads this keeps them 99.8% busy, and mixing whatever is ready 83%. */
static int should_mix(const encode_t *s, uint32_t own) {
    zllm_job *j = s->j;
    const uint32_t next = (atomic_load(&j->mixed) + 1) % ZLLM_AHEAD;
    return (uint64_t)own * j->threads > atomic_load(&j->filled) || atomic_load(&j->block[next].threads) == j->threads;
}

static void encode_part(encode_t *s) {
    zllm_job *j = s->j;
    for (uint32_t i = s->first; i < s->end; i++) s->w->family->restart(s->w, i - s->first);
    for (uint32_t b = 0; b < j->blocks; b++) {
        while (should_mix(s, b) && try_mixing(s)) continue;
        if (b >= ZLLM_AHEAD && !wait_for(s, b - ZLLM_AHEAD + 1)) return;
        for (uint32_t i = s->first; i < s->end && !zllm_job_stopped(j, s->run); i++) fill_stream(s, i, b);
        if (zllm_job_stopped(j, s->run)) return;
        atomic_fetch_add(&j->block[b % ZLLM_AHEAD].threads, 1);
        atomic_fetch_add(&j->filled, 1);
        wait_add(&j->progress, 1);
    }
    (void)wait_for(s, j->blocks);
}

/* The code string is whole when all blocks are mixed. Each thread comes here after its last look at the blocks, so the last
 * one to come finds nobody mixing any more, or that one before it has finished: exactly one does. */
static void finish(zllm_job *j) {
    int idle = 0;
    if (!atomic_compare_exchange_strong(&j->mixing, &idle, 1)) return;
    encoder_finish(&j->encoder);
    if (j->encoder.full) zllm_job_fail(j, ZLLM_E_SPACE);
    j->frame->coded_size = j->encoder.at;
}

void zllm_job_encode(zllm_job **jobs, size_t n, uint32_t thread, const zllm_run *run) {
    encode_t s = {.run = run, .rows = run->lanes < ZLLM_BULK ? run->lanes : ZLLM_BULK};
    uint32_t lanes = 1;
    for (size_t k = 0; k < n; k++) {
        const uint32_t own = job_first(jobs[k], thread + 1) - job_first(jobs[k], thread);
        if (own > lanes) lanes = own;
    }
    s.w = n > 0 ? model_workspace(jobs[0]->m, jobs[0]->heap, lanes, s.rows, NULL, run->nanoseconds) : NULL;
    const int whole = s.w != NULL && zllm_distribution_new(&s.distribution, jobs[0]->heap, model_choices(jobs[0]->m)) &&
                      zllm_distribution_new(&s.members, jobs[0]->heap, jobs[0]->m->network->largest_class);
    for (size_t k = 0; k < n; k++) {
        s.j = jobs[k];
        s.first = job_first(s.j, thread);
        s.end = job_first(s.j, thread + 1);
        if (whole) encode_part(&s);
        else zllm_job_fail(s.j, ZLLM_E_MEMORY);
        if (!zllm_job_stopped(s.j, run)) finish(s.j);
    }
    zllm_distribution_free(&s.distribution);
    zllm_distribution_free(&s.members);
    workspace_free(s.w);
}
