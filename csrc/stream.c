/* The token loops of the encoder and the decoder (docs/arithmetic.md, sections 5 and 7).
 *
 * The encoder knows its text, so it takes one stream after the other and many tokens at a time. The decoder learns a
 * token only after the one before it; its matrix products are filled by other streams, which take turns in `lanes`
 * lanes: as soon as one ends, the next takes its place. A stream's code depends on its own tokens only. */
#include <stdlib.h>

#include "distribution.h"
#include "fixed.h"
#include "transformer.h"

typedef struct {
    const zllm_model *m;
    workspace_t *w;
    distribution_t distribution;
    uint32_t *ids, *tokens; /* of the rows of a step */
    uint32_t start;
    const zllm_run *run;
} session_t;

static size_t token_length(const zllm_model *m, uint32_t t) { return m->token_offsets[t + 1] - m->token_offsets[t]; }

static int cancelled(const zllm_run *run) { return run->cancel != NULL && *run->cancel; }

static void report(const zllm_run *run, size_t bytes) {
    if (run->progress != NULL) *run->progress += bytes;
}

/* The weights of row i of the last head's product. */
static void weigh_row(session_t *s, uint32_t i) {
    distribution_set(&s->distribution, s->m->kernel, transformer_logits(s->w, i));
    lap(workspace_laps(s->w), ZLLM_STAGE_WEIGHTS);
}

/* Code tokens[at .. at + n), whose rows were fed. */
static void encode_rows(session_t *s, encoder_t *e, const uint32_t *tokens, uint32_t n) {
    for (uint32_t from = 0; from < n; from += ZLLM_HEAD_ROWS) {
        const uint32_t part = n - from < ZLLM_HEAD_ROWS ? n - from : ZLLM_HEAD_ROWS;
        transformer_head(s->w, from, part);
        for (uint32_t i = 0; i < part; i++) {
            const uint32_t token = tokens[from + i];
            if (token & ZLLM_GIVEN) continue;
            weigh_row(s, i);
            token_encode(s->m, &s->distribution, e, token);
            report(s->run, token_length(s->m, token));
            lap(workspace_laps(s->w), ZLLM_STAGE_CODER);
        }
    }
}

static zllm_result encode_stream(session_t *s, zllm_stream *t, uint32_t rows) {
    encoder_t e;
    encoder_start(&e, t->coded, t->coded_size);
    workspace_restart(s->w, 0);
    for (size_t at = 0; at < t->n_tokens; at += rows) {
        const uint32_t n = t->n_tokens - at < rows ? (uint32_t)(t->n_tokens - at) : rows;
        if (cancelled(s->run)) return ZLLM_E_CANCELLED;
        for (uint32_t i = 0; i < n; i++)
            s->tokens[i] = at + i == 0 ? s->start : t->tokens[at + i - 1] & ~ZLLM_GIVEN;
        transformer_step(s->w, s->ids, s->tokens, n);
        encode_rows(s, &e, t->tokens + at, n);
        if (e.full) return ZLLM_E_SPACE;
    }
    if (t->n_tokens > 0) encoder_finish(&e);
    t->coded_size = e.at;
    return ZLLM_OK;
}

/* What a lane decodes. */
typedef struct {
    zllm_stream *stream;
    size_t cut, done; /* next of the stream's cuts; bytes of text decoded */
    uint32_t next;    /* the token to feed */
    int coded;        /* whether what follows `next` is in the code string */
    decoder_t decoder;
} job_t;

/* After `next` was fed: the stream's following token. 1 if there is more, 0 at the end, -1 for data that no encoder
 * makes. */
static int advance(session_t *s, job_t *j) {
    zllm_stream *t = j->stream;
    if (!j->coded) { /* the document's first token comes now */
        j->next = s->start;
        j->coded = 1;
        return 1;
    }
    const uint32_t token = token_decode(s->m, &s->distribution, &j->decoder);
    const size_t length = token_length(s->m, token);
    const size_t end = j->cut < t->n_cuts ? (size_t)t->cuts[j->cut] : t->size;
    if (length > end - j->done) return -1;
    for (size_t i = 0; i < length; i++) t->data[j->done + i] = s->m->token_bytes[s->m->token_offsets[token] + i];
    j->done += length;
    report(s->run, length);
    j->next = token;
    if (j->done < end) return 1;
    j->cut++;
    j->coded = 0;
    return j->done < t->size;
}

/* Give every free lane a stream; empty ones need none. Returns how many lanes are busy. */
static uint32_t refill(session_t *s, job_t *jobs, uint32_t *free_lanes, uint32_t busy, uint32_t lanes,
                       zllm_stream *streams, size_t n, size_t *taken) {
    while (busy < lanes && *taken < n) {
        zllm_stream *t = &streams[(*taken)++];
        if (t->size == 0) continue;
        const uint32_t lane = free_lanes[busy++];
        job_t *j = &jobs[lane];
        workspace_restart(s->w, lane);
        *j = (job_t){.stream = t, .next = s->start, .coded = 1};
        decoder_start(&j->decoder, t->coded, t->coded_size);
    }
    return busy;
}

/* After a step of `busy` lanes: each one's next token. Lanes that go on come to the front of ids; their number, or -1. */
static int32_t decode_rows(session_t *s, job_t *jobs, uint32_t busy) {
    uint32_t kept = 0;
    for (uint32_t i = 0; i < busy; i++) {
        const uint32_t id = s->ids[i];
        if (i % ZLLM_HEAD_ROWS == 0) transformer_head(s->w, i, busy - i < ZLLM_HEAD_ROWS ? busy - i : ZLLM_HEAD_ROWS);
        if (jobs[id].coded) weigh_row(s, i % ZLLM_HEAD_ROWS);
        const int more = advance(s, &jobs[id]);
        lap(workspace_laps(s->w), ZLLM_STAGE_CODER);
        if (more < 0) return -1;
        if (more) { /* the order of lanes in a step changes nothing */
            s->ids[i] = s->ids[kept];
            s->ids[kept++] = id;
        }
    }
    return (int32_t)kept;
}

/* ids[0 .. busy) are the busy lanes, ids[busy ..] the free ones. */
static zllm_result decode_streams(session_t *s, job_t *jobs, zllm_stream *streams, size_t n, uint32_t lanes) {
    size_t taken = 0;
    uint32_t busy = 0;
    while ((busy = refill(s, jobs, s->ids, busy, lanes, streams, n, &taken)) > 0) {
        if (cancelled(s->run)) return ZLLM_E_CANCELLED;
        for (uint32_t i = 0; i < busy; i++) s->tokens[i] = jobs[s->ids[i]].next;
        transformer_step(s->w, s->ids, s->tokens, busy);
        const int32_t kept = decode_rows(s, jobs, busy);
        if (kept < 0) return ZLLM_E_DATA;
        busy = (uint32_t)kept;
    }
    return ZLLM_OK;
}

static int session_new(session_t *s, uint32_t lanes, uint32_t rows) {
    s->w = workspace_new(s->m, lanes, rows, s->run->nanoseconds);
    s->ids = calloc(rows, sizeof *s->ids);
    s->tokens = calloc(rows, sizeof *s->tokens);
    return distribution_new(&s->distribution, s->m->config.vocab) && s->w && s->ids && s->tokens;
}

static void session_free(session_t *s) {
    distribution_free(&s->distribution);
    workspace_free(s->w);
    free(s->ids);
    free(s->tokens);
}

zllm_result zllm_encode(const zllm_model *m, zllm_stream *streams, size_t n, uint32_t start, const zllm_run *run) {
    session_t s = {.m = m, .start = start, .run = run};
    const uint32_t rows = run->lanes < ZLLM_BULK ? run->lanes : ZLLM_BULK;
    if (start >= m->config.vocab || run->lanes < 1 || run->lanes > 256) return ZLLM_E_ARGUMENT;
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < streams[i].n_tokens; k++)
            if ((streams[i].tokens[k] & ~ZLLM_GIVEN) >= m->config.vocab) return ZLLM_E_ARGUMENT;
    zllm_result rc = session_new(&s, 1, rows) ? ZLLM_OK : ZLLM_E_MEMORY;
    for (size_t i = 0; i < n && rc == ZLLM_OK; i++) rc = encode_stream(&s, &streams[i], rows);
    session_free(&s);
    return rc;
}

static int cuts_fit(const zllm_stream *t) {
    uint64_t last = 0;
    for (size_t i = 0; i < t->n_cuts; i++) {
        if (t->cuts[i] <= last || t->cuts[i] >= t->size) return 0;
        last = t->cuts[i];
    }
    return 1;
}

zllm_result zllm_decode(const zllm_model *m, zllm_stream *streams, size_t n, uint32_t start, const zllm_run *run) {
    session_t s = {.m = m, .start = start, .run = run};
    const uint32_t lanes = n < run->lanes ? (uint32_t)n : run->lanes;
    if (start >= m->config.vocab || run->lanes < 1 || run->lanes > 256) return ZLLM_E_ARGUMENT;
    for (size_t i = 0; i < n; i++)
        if (!cuts_fit(&streams[i])) return ZLLM_E_ARGUMENT;
    if (n == 0) return ZLLM_OK;
    zllm_result rc = ZLLM_E_MEMORY;
    job_t *jobs = calloc(lanes, sizeof *jobs);
    if (session_new(&s, lanes, lanes) && jobs != NULL) {
        for (uint32_t i = 0; i < lanes; i++) s.ids[i] = i;
        rc = decode_streams(&s, jobs, streams, n, lanes);
    }
    free(jobs);
    session_free(&s);
    return rc;
}

zllm_result zllm_evaluate(const zllm_model *m, const uint32_t *tokens, size_t n, int32_t *logits, uint64_t *sums) {
    const uint32_t vocab = m->config.vocab;
    const zllm_run run = {.lanes = 1};
    session_t s = {.m = m, .run = &run};
    for (size_t i = 0; i < n; i++)
        if (tokens[i] >= vocab) return ZLLM_E_ARGUMENT;
    zllm_result rc = session_new(&s, 1, 1) ? ZLLM_OK : ZLLM_E_MEMORY;
    for (size_t i = 0; i < n && rc == ZLLM_OK; i++) {
        transformer_step(s.w, s.ids, tokens + i, 1);
        transformer_head(s.w, 0, 1);
        const int32_t *row = transformer_logits(s.w, 0);
        for (uint32_t v = 0; logits != NULL && v < vocab; v++) logits[i * vocab + v] = row[v];
        if (sums == NULL) continue;
        distribution_set(&s.distribution, m->kernel, row);
        for (uint32_t v = 0; v <= vocab; v++) sums[i * (vocab + 1) + v] = sum_below(&s.distribution, v);
    }
    session_free(&s);
    return rc;
}

size_t zllm_stream_memory(const zllm_model *m) { return lane_memory(m); }

zllm_result zllm_coder_encode(const uint8_t *bits, const uint32_t *probabilities, size_t n, uint8_t *out,
                              size_t *size) {
    encoder_t e;
    for (size_t i = 0; i < n; i++)
        if (probabilities[i] < 1 || probabilities[i] >> PROBABILITY_BITS) return ZLLM_E_ARGUMENT;
    encoder_start(&e, out, *size);
    for (size_t i = 0; i < n; i++) encoder_put(&e, probabilities[i], bits[i] != 0);
    encoder_finish(&e);
    *size = e.at;
    return e.full ? ZLLM_E_SPACE : ZLLM_OK;
}

void zllm_coder_decode(const uint8_t *coded, size_t size, const uint32_t *probabilities, size_t n, uint8_t *bits) {
    decoder_t d;
    decoder_start(&d, coded, size);
    for (size_t i = 0; i < n; i++) bits[i] = (uint8_t)decoder_get(&d, probabilities[i]);
}

void zllm_quantise(const int32_t *x, uint32_t n, int normalise, int8_t *q, uint32_t *mantissa, int32_t *exponent) {
    const zllm_kernel *k = &zllm_kernel_generic;
    uint32_t shift;
    int32_t reciprocal, sum, squares;
    const uint32_t largest = k->absmax(x, n);
    fixed_reciprocal(largest, &shift, &reciprocal);
    k->quantise(x, n, shift, reciprocal, q, &sum, &squares);
    const scale_t s = normalise ? fixed_norm_scale(n, (uint32_t)squares) : fixed_abs_scale(largest, 0);
    *mantissa = s.mantissa;
    *exponent = s.exponent;
}
