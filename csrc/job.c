#include "job.h"

#define MOST_STREAMS 256u
#define MOST_THREADS 256u

int zllm_job_stopped(zllm_job *j, const zllm_run *run) {
    if (cancelled(run->cancel)) zllm_job_fail(j, ZLLM_E_CANCELLED);
    return atomic_load(&j->failure) != ZLLM_OK;
}

void zllm_job_fail(zllm_job *j, zllm_result rc) {
    int none = ZLLM_OK;
    (void)atomic_compare_exchange_strong(&j->failure, &none, (int)rc);
}

int zllm_job_decode_turn(zllm_job *j, uint32_t stream, place_t *p, const outcome_t *o, const zllm_run *run) {
    const zllm_model *m = j->m;
    const zllm_stream *t = &j->frame->streams[stream];
    cursor_t *cursor = zllm_predictor_cursor(j->predictor, stream);
    if (!p->coded) { /* a document's first token comes now */
        zllm_cursor_cut(j->predictor, cursor);
        p->next = j->start;
        p->coded = 1;
        return 1;
    }
    const uint32_t token = zllm_token_decode(m, o, j->predictor, cursor, &j->decoder);
    const size_t length = m->token_offsets[token + 1] - m->token_offsets[token];
    const size_t end = p->cut < t->n_cuts ? (size_t)t->cuts[p->cut] : t->size;
    if (length > end - p->done) return -1;
    for (size_t i = 0; i < length; i++) j->frame->data[p->at + i] = m->token_bytes[m->token_offsets[token] + i];
    p->at += length;
    p->done += length;
    job_report(run, length);
    p->next = token;
    if (p->done < end) return 1;
    p->cut++;
    p->coded = 0;
    return p->done < t->size;
}

void zllm_job_encode_turn(zllm_job *j, uint32_t stream, size_t at, const uint32_t *lm, const zllm_run *run) {
    cursor_t *cursor = zllm_predictor_cursor(j->predictor, stream);
    const uint32_t token = j->frame->streams[stream].tokens[at];
    if (token & ZLLM_GIVEN) {
        zllm_cursor_cut(j->predictor, cursor);
        return;
    }
    zllm_token_encode(j->m, lm, j->predictor, cursor, &j->encoder, token);
    job_report(run, j->m->token_offsets[token + 1] - j->m->token_offsets[token]);
}

void zllm_job_expect_decoding(const zllm_job *j, uint32_t stream, const place_t *p) {
    if (p->coded) zllm_predictor_expect_token(j->predictor, zllm_predictor_cursor(j->predictor, stream));
}

void zllm_job_expect_encoding(const zllm_job *j, uint32_t stream, size_t at) {
    const uint32_t token = j->frame->streams[stream].tokens[at];
    if (!(token & ZLLM_GIVEN)) zllm_token_expect(j->m, j->predictor, zllm_predictor_cursor(j->predictor, stream),
                                                 token);
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
        if (given ? before || token != j->start : token >= m->vocab) return 0;
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

/* The first turn is of the first thread that has a stream. Without threads, every stream has its place here. */
static int start_decoder(zllm_job *j) {
    decoder_start(&j->decoder, j->frame->coded, j->frame->coded_size);
    if (j->threads == 0) {
        j->places = zllm_heap_zeroed(j->heap, j->streams, sizeof *j->places);
        for (uint32_t i = 0; j->places != NULL && i < j->streams; i++) j->places[i] = job_place(j, i);
        return j->places != NULL;
    }
    j->ended = zllm_heap_zeroed(j->heap, j->threads, 1);
    if (j->ended == NULL) return 0;
    for (uint32_t k = j->threads; k-- > 0;) {
        j->ended[k] = job_first(j, k) == job_first(j, k + 1);
        if (!j->ended[k]) wait_set(&j->turn, k);
    }
    return 1;
}

static int start_coder(zllm_job *j) {
    j->predictor = zllm_predictor_new(j->heap, j->m->kernel->predictor, j->frame->size, j->streams, 1);
    if (j->predictor == NULL) return 0;
    for (uint32_t i = 0; i < j->streams; i++) zllm_cursor_start(j->predictor, i, j->starts[i], j->starts[i + 1]);
    if (j->decoding) return start_decoder(j);
    encoder_start(&j->encoder, j->frame->coded, j->frame->coded_size);
    for (uint32_t i = 0; i < ZLLM_AHEAD && j->threads > 0; i++) {
        j->block[i].lm = zllm_heap_zeroed(j->heap, (size_t)j->streams * ZLLM_BULK * j->m->deepest,
                                          sizeof *j->block[i].lm);
        if (j->block[i].lm == NULL) return 0;
    }
    return 1;
}

zllm_result zllm_job_new(const zllm_model *m, zllm_frame *frame, uint32_t start, uint32_t threads, int decoding,
                         const zllm_options *options, zllm_job **out) {
    heap_t *heap;
    *out = NULL;
    if (start >= m->network->inputs || threads > MOST_THREADS || frame->n_streams > MOST_STREAMS ||
        frame->n_streams < 1 || frame->size >= UINT32_MAX)
        return ZLLM_E_ARGUMENT;
    zllm_result rc = zllm_heap_open(options, &heap);
    if (rc != ZLLM_OK) return rc;
    zllm_job *j = zllm_heap_zeroed(heap, 1, sizeof *j);
    if (j == NULL) {
        zllm_heap_close(heap);
        return ZLLM_E_MEMORY;
    }
    j->heap = heap;
    j->m = m;
    j->frame = frame;
    j->start = start;
    j->threads = threads;
    j->crowded = threads > 1 && zllm_wait_crowded(threads);
    j->streams = (uint32_t)frame->n_streams;
    j->decoding = decoding;
    j->starts = zllm_heap_zeroed(j->heap, j->streams + 1, sizeof *j->starts);
    rc = j->starts == NULL ? ZLLM_E_MEMORY : streams_fit(j) ? ZLLM_OK : ZLLM_E_ARGUMENT;
    if (rc == ZLLM_OK && !start_coder(j)) rc = ZLLM_E_MEMORY;
    if (rc != ZLLM_OK) zllm_job_free(j);
    else *out = j;
    return rc;
}

void zllm_job_free(zllm_job *j) {
    if (j == NULL) return;
    heap_t *heap = j->heap;
    for (uint32_t i = 0; i < ZLLM_AHEAD; i++) zllm_heap_free(heap, j->block[i].lm);
    zllm_predictor_free(j->predictor);
    zllm_heap_free(heap, j->starts);
    zllm_heap_free(heap, j->ended);
    zllm_heap_free(heap, j->places);
    zllm_heap_free(heap, j);
    zllm_heap_close(heap);
}

static int work_fits(zllm_job **jobs, size_t n, uint32_t thread, const zllm_run *run) {
    const int team = run->team != NULL;
    if (run->lanes < 1 || run->lanes > 256 || thread >= (team ? run->team->threads : jobs[0]->threads)) return 0;
    for (size_t i = 0; i < n; i++) {
        if (jobs[i]->m != jobs[0]->m || jobs[i]->decoding != jobs[0]->decoding) return 0;
        if ((team || n > 1) && jobs[i]->threads != 1) return 0;
    }
    return !team || jobs[0]->decoding;
}

zllm_result zllm_job_work(zllm_job **jobs, size_t n, uint32_t thread, const zllm_run *run) {
    if (n == 0) return ZLLM_OK;
    if (!work_fits(jobs, n, thread, run)) { /* other threads may be waiting for this one already */
        for (size_t i = 0; i < n; i++) zllm_job_fail(jobs[i], ZLLM_E_ARGUMENT);
        if (run->team != NULL && thread == 0) zllm_team_end(run->team);
    } else if (run->team != NULL && thread > 0) {
        if (!zllm_team_help(run->team, thread, run)) zllm_job_fail(jobs[0], ZLLM_E_CANCELLED);
    } else if (jobs[0]->decoding) {
        zllm_job_decode(jobs, n, thread, run);
    } else {
        zllm_job_encode(jobs, n, thread, run);
    }
    for (size_t i = 0; i < n; i++)
        if (atomic_load(&jobs[i]->failure) != ZLLM_OK) return (zllm_result)atomic_load(&jobs[i]->failure);
    return ZLLM_OK;
}

size_t zllm_job_memory(const zllm_model *m, size_t size, size_t n_streams, int decoding) {
    const size_t blocks = n_streams * ZLLM_BULK * m->deepest * sizeof(uint32_t) * ZLLM_AHEAD;
    return zllm_predictor_memory(size, 1) + (decoding ? 0 : blocks);
}
