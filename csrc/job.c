#define _POSIX_C_SOURCE 199309L /* nanosleep */
#include "job.h"

#include <sched.h>
#include <stdlib.h>
#include <time.h>

#define MOST_STREAMS 256u
#define MOST_THREADS 256u

int job_stopped(zllm_job *j, const zllm_run *run) {
    if (cancelled(run->cancel)) job_fail(j, ZLLM_E_CANCELLED);
    return atomic_load(&j->failure) != ZLLM_OK;
}

void job_fail(zllm_job *j, zllm_result rc) {
    int none = ZLLM_OK;
    (void)atomic_compare_exchange_strong(&j->failure, &none, (int)rc);
}

/* The others are microseconds from done, or milliseconds when the machine is busy: then sleeping costs nothing. */
void job_pause(uint32_t *turns) {
    const struct timespec nap = {0, 50000};
    if (++*turns > 2000) nanosleep(&nap, NULL);
    else if (*turns > 100) sched_yield();
}

static int cuts_fit(const zllm_stream *t) {
    uint64_t last = 0;
    for (size_t i = 0; i < t->n_cuts; i++) {
        if (t->cuts[i] <= last || t->cuts[i] >= t->size) return 0;
        last = t->cuts[i];
    }
    return 1;
}

/* A stream's tokens: within the vocabulary, and as many bytes as it says. Given is what a decoder gives itself: the start
 * token, between two documents, which need not be of the vocabulary. Anything else would be coded to what nobody can
 * decode. */
static int tokens_fit(const zllm_job *j, const zllm_stream *t) {
    const zllm_model *m = j->m;
    uint64_t size = 0;
    uint32_t before = ZLLM_GIVEN; /* the stream starts like a document */
    for (size_t k = 0; k < t->n_tokens; k++) {
        const uint32_t token = t->tokens[k] & ~ZLLM_GIVEN, given = t->tokens[k] & ZLLM_GIVEN;
        if (given ? before || token != j->start : token >= m->config.vocab) return 0;
        if (!given) size += m->token_offsets[token + 1] - m->token_offsets[token];
        before = given;
    }
    return !before && size == t->size;
}

static int streams_fit(zllm_job *j) {
    for (uint32_t i = 0; i < j->streams; i++) {
        const zllm_stream *t = &j->frame->streams[i];
        if (t->size == 0 || t->size > j->frame->size - j->starts[i]) return 0;
        if (j->decoding ? !cuts_fit(t) : !tokens_fit(j, t)) return 0;
        j->starts[i + 1] = j->starts[i] + t->size;
        const size_t blocks = (t->n_tokens + ZLLM_BULK - 1) / ZLLM_BULK;
        if (!j->decoding && blocks > j->blocks) j->blocks = (uint32_t)blocks;
    }
    return j->starts[j->streams] == j->frame->size;
}

static int start_coder(zllm_job *j) {
    j->predictor = predictor_new(j->frame->size, j->streams, 1);
    if (j->predictor == NULL) return 0;
    for (uint32_t i = 0; i < j->streams; i++) cursor_start(j->predictor, i, j->starts[i], j->starts[i + 1]);
    if (j->decoding) {
        j->ended = calloc(j->threads, 1);
        if (j->ended == NULL) return 0;
        for (uint32_t k = j->threads; k-- > 0;) { /* the first turn is of the first thread that has a stream */
            j->ended[k] = job_first(j, k) == job_first(j, k + 1);
            if (!j->ended[k]) atomic_store(&j->turn, k);
        }
        decoder_start(&j->decoder, j->frame->coded, j->frame->coded_size);
        return 1;
    }
    encoder_start(&j->encoder, j->frame->coded, j->frame->coded_size);
    for (uint32_t i = 0; i < ZLLM_AHEAD; i++) {
        j->block[i].lm = calloc((size_t)j->streams * ZLLM_BULK * j->m->deepest, sizeof *j->block[i].lm);
        if (j->block[i].lm == NULL) return 0;
    }
    return 1;
}

zllm_result zllm_job_new(const zllm_model *m, zllm_frame *frame, uint32_t start, uint32_t threads, int decoding,
                         zllm_job **out) {
    *out = NULL;
    if (start >= m->inputs || threads < 1 || threads > MOST_THREADS || frame->n_streams > MOST_STREAMS ||
        frame->n_streams < 1 || frame->size >= UINT32_MAX)
        return ZLLM_E_ARGUMENT;
    zllm_job *j = calloc(1, sizeof *j);
    if (j == NULL) return ZLLM_E_MEMORY;
    j->m = m;
    j->frame = frame;
    j->start = start;
    j->threads = threads;
    j->streams = (uint32_t)frame->n_streams;
    j->decoding = decoding;
    j->starts = calloc(j->streams + 1, sizeof *j->starts);
    zllm_result rc = j->starts == NULL ? ZLLM_E_MEMORY : streams_fit(j) ? ZLLM_OK : ZLLM_E_ARGUMENT;
    if (rc == ZLLM_OK && !start_coder(j)) rc = ZLLM_E_MEMORY;
    if (rc != ZLLM_OK) zllm_job_free(j);
    else *out = j;
    return rc;
}

void zllm_job_free(zllm_job *j) {
    if (j == NULL) return;
    for (uint32_t i = 0; i < ZLLM_AHEAD; i++) free(j->block[i].lm);
    predictor_free(j->predictor);
    free(j->starts);
    free(j->ended);
    free(j);
}

static int work_fits(zllm_job **jobs, size_t n, uint32_t thread, const zllm_run *run) {
    if (run->lanes < 1 || run->lanes > 256) return 0;
    for (size_t i = 0; i < n; i++)
        if (thread >= jobs[i]->threads || jobs[i]->m != jobs[0]->m || jobs[i]->decoding != jobs[0]->decoding ||
            (n > 1 && jobs[i]->threads > 1))
            return 0;
    return 1;
}

zllm_result zllm_job_work(zllm_job **jobs, size_t n, uint32_t thread, const zllm_run *run) {
    if (n == 0) return ZLLM_OK;
    if (!work_fits(jobs, n, thread, run)) { /* other threads may be waiting for this one already */
        for (size_t i = 0; i < n; i++) job_fail(jobs[i], ZLLM_E_ARGUMENT);
    } else if (jobs[0]->decoding) {
        job_decode(jobs, n, thread, run);
    } else {
        job_encode(jobs, n, thread, run);
    }
    for (size_t i = 0; i < n; i++)
        if (atomic_load(&jobs[i]->failure) != ZLLM_OK) return (zllm_result)atomic_load(&jobs[i]->failure);
    return ZLLM_OK;
}

size_t zllm_job_memory(const zllm_model *m, size_t size, size_t n_streams, int decoding) {
    const size_t answers = n_streams * ZLLM_BULK * m->deepest * sizeof(uint32_t) * ZLLM_AHEAD;
    return predictor_memory(size, 1) + (decoding ? 0 : answers);
}
