/* The token loop of the encoder and the decoder (docs/arithmetic.md, sections 5 and 7).
 *
 * Streams take turns in `lanes` lanes: as soon as one ends, the next takes its lane, so that the matrix products stay
 * full. A stream's code depends on its own tokens only. */
#include <stdlib.h>

#include "fixed.h"
#include "rangecoder.h"
#include "transformer.h"

#define BLOCK 64u /* tokens whose weights are summed in 32 bits */

typedef struct {
    uint64_t *base;   /* [vocab / 64 + 1]: sum of the weights before a block */
    uint32_t *within; /* [vocab + 1]: sum of the weights before a token, from its block's start */
    uint32_t *weight; /* [vocab] */
    uint32_t vocab;
} distribution_t;

static inline uint64_t sum_below(const distribution_t *d, uint32_t token) {
    return d->base[token / BLOCK] + d->within[token];
}

static void distribution_set(distribution_t *d, const zllm_kernel *k, const int32_t *logits) {
    uint64_t total = 0;
    k->weights(logits, d->vocab, d->weight);
    for (uint32_t start = 0; start <= d->vocab; start += BLOCK) {
        const uint32_t end = d->vocab - start < BLOCK ? d->vocab : start + BLOCK;
        uint32_t sum = 0;
        d->base[start / BLOCK] = total;
        for (uint32_t i = start; i < end; i++) {
            d->within[i] = sum;
            sum += d->weight[i];
        }
        if (end == d->vocab && end % BLOCK) d->within[end] = sum;
        total += sum;
    }
    if (d->vocab % BLOCK == 0) d->within[d->vocab] = 0;
}

static int distribution_new(distribution_t *d, uint32_t vocab) {
    d->vocab = vocab;
    d->base = calloc(vocab / BLOCK + 1, sizeof *d->base);
    d->within = calloc(vocab + 1, sizeof *d->within);
    d->weight = calloc(vocab, sizeof *d->weight);
    return d->base && d->within && d->weight;
}

static void distribution_free(distribution_t *d) {
    free(d->base);
    free(d->within);
    free(d->weight);
}

/* Probability that the token is at or above the split, of those in [low, high), in 2^-24. A mixer joins here: it sees
 * this probability, the decision and the bytes before it, and returns a better one. */
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

static void token_encode(const zllm_model *m, const distribution_t *d, encoder_t *e, uint32_t token) {
    uint64_t low = 0, high = sum_below(d, d->vocab);
    int32_t at = 0;
    while (at >= 0) {
        const decision_t *c = &m->decisions[at];
        const uint64_t split = sum_below(d, c->split);
        const int bit = token >= c->split;
        encoder_put(e, probability(low, split, high), bit);
        if (bit) low = split;
        else high = split;
        at = bit ? c->high : c->low;
    }
}

static uint32_t token_decode(const zllm_model *m, const distribution_t *d, decoder_t *r) {
    uint64_t low = 0, high = sum_below(d, d->vocab);
    int32_t at = 0;
    while (at >= 0) {
        const decision_t *c = &m->decisions[at];
        const uint64_t split = sum_below(d, c->split);
        const int bit = decoder_get(r, probability(low, split, high));
        if (bit) low = split;
        else high = split;
        at = bit ? c->high : c->low;
    }
    return (uint32_t)~at;
}

/* What a lane is doing. */
typedef struct {
    zllm_stream *stream;
    size_t token, cut, done; /* next of the stream's tokens or cuts; bytes of text decoded */
    uint32_t next;           /* the token to feed */
    int coded;               /* whether what follows `next` is in the code string */
    encoder_t encoder;
    decoder_t decoder;
} job_t;

typedef struct {
    const zllm_model *m;
    workspace_t *w;
    job_t *jobs;
    uint32_t *ids, *tokens;
    distribution_t distribution;
    uint32_t start;
    volatile uint64_t *progress;
} session_t;

static size_t token_length(const zllm_model *m, uint32_t t) { return m->token_offsets[t + 1] - m->token_offsets[t]; }

/* Encoding: after `next` was fed, code the stream's following token, or take it as given. 0 at the end. */
static int advance_encode(session_t *s, job_t *j, const distribution_t *d) {
    const uint32_t word = j->stream->tokens[j->token++], token = word & ~ZLLM_GIVEN;
    if (!(word & ZLLM_GIVEN)) {
        token_encode(s->m, d, &j->encoder, token);
        if (s->progress != NULL) *s->progress += token_length(s->m, token);
    }
    j->next = token;
    if (j->token < j->stream->n_tokens) {
        j->coded = !(j->stream->tokens[j->token] & ZLLM_GIVEN);
        return 1;
    }
    encoder_finish(&j->encoder);
    j->stream->coded_size = j->encoder.at;
    return 0;
}

/* Decoding: the same from the other side. -1 for data that no encoder makes. */
static int advance_decode(session_t *s, job_t *j, const distribution_t *d) {
    zllm_stream *t = j->stream;
    if (!j->coded) { /* the document's first token comes now */
        j->next = s->start;
        j->coded = 1;
        return 1;
    }
    const uint32_t token = token_decode(s->m, d, &j->decoder);
    const size_t length = token_length(s->m, token);
    const size_t end = j->cut < t->n_cuts ? (size_t)t->cuts[j->cut] : t->size;
    if (length > end - j->done) return -1;
    for (size_t i = 0; i < length; i++) t->data[j->done + i] = s->m->token_bytes[s->m->token_offsets[token] + i];
    j->done += length;
    if (s->progress != NULL) *s->progress += length;
    j->next = token;
    if (j->done < end) return 1;
    j->cut++;
    j->coded = 0;
    return j->done < t->size;
}

static void job_start(session_t *s, uint32_t lane, zllm_stream *stream, int encode) {
    job_t *j = &s->jobs[lane];
    lane_reset(workspace_lane(s->w, lane));
    j->stream = stream;
    j->token = j->cut = j->done = 0;
    j->next = s->start;
    j->coded = 1;
    if (encode) encoder_start(&j->encoder, stream->coded, stream->coded_size);
    else decoder_start(&j->decoder, stream->coded, stream->coded_size);
    if (encode) j->coded = !(stream->tokens[0] & ZLLM_GIVEN);
}

static int is_empty(const zllm_stream *t, int encode) { return encode ? t->n_tokens == 0 : t->size == 0; }

static int check_stream(const zllm_model *m, const zllm_stream *t, int encode) {
    if (encode) {
        for (size_t i = 0; i < t->n_tokens; i++)
            if ((t->tokens[i] & ~ZLLM_GIVEN) >= m->config.vocab) return 0;
        return 1;
    }
    uint64_t last = 0;
    for (size_t i = 0; i < t->n_cuts; i++) {
        if (t->cuts[i] <= last || t->cuts[i] >= t->size) return 0;
        last = t->cuts[i];
    }
    return 1;
}

/* Give every free lane a stream; empty ones need none. Returns how many lanes are busy. */
static uint32_t refill(session_t *s, uint32_t busy, uint32_t lanes, zllm_stream *streams, size_t n, size_t *taken,
                       int encode) {
    while (busy < lanes && *taken < n) {
        zllm_stream *t = &streams[(*taken)++];
        if (is_empty(t, encode)) {
            if (encode) t->coded_size = 0;
            continue;
        }
        job_start(s, s->ids[busy++], t, encode);
    }
    return busy;
}

/* ids[0 .. busy) are the busy lanes, ids[busy ..] the free ones. */
static zllm_result loop(session_t *s, zllm_stream *streams, size_t n, uint32_t lanes, int encode,
                        const volatile int32_t *cancel) {
    size_t taken = 0;
    uint32_t busy = 0;
    for (uint32_t i = 0; i < lanes; i++) s->ids[i] = i;
    while ((busy = refill(s, busy, lanes, streams, n, &taken, encode)) > 0) {
        if (cancel != NULL && *cancel) return ZLLM_E_CANCELLED;
        for (uint32_t i = 0; i < busy; i++) s->tokens[i] = s->jobs[s->ids[i]].next;
        transformer_step(s->w, s->ids, s->tokens, busy);
        uint32_t kept = 0;
        for (uint32_t i = 0; i < busy; i++) {
            const uint32_t id = s->ids[i];
            job_t *j = &s->jobs[id];
            if (j->coded) distribution_set(&s->distribution, s->m->kernel, transformer_logits(s->w, i));
            const int more = encode ? advance_encode(s, j, &s->distribution) : advance_decode(s, j, &s->distribution);
            if (more < 0) return ZLLM_E_DATA;
            if (encode && j->encoder.full) return ZLLM_E_SPACE;
            if (more) { /* swap it to the front; the order of lanes in a batch changes nothing */
                s->ids[i] = s->ids[kept];
                s->ids[kept++] = id;
            }
        }
        busy = kept;
    }
    return ZLLM_OK;
}

static zllm_result code(const zllm_model *m, zllm_stream *streams, size_t n, uint32_t start, const zllm_run *run,
                        int encode) {
    session_t s = {.m = m, .start = start, .progress = run->progress};
    zllm_result rc = ZLLM_E_MEMORY;
    uint32_t lanes = run->lanes;
    if (start >= m->config.vocab || lanes < 1 || lanes > 256) return ZLLM_E_ARGUMENT;
    for (size_t i = 0; i < n; i++)
        if (!check_stream(m, &streams[i], encode)) return ZLLM_E_ARGUMENT;
    if (n == 0) return ZLLM_OK;
    if (n < lanes) lanes = (uint32_t)n;
    s.w = workspace_new(m, lanes);
    s.jobs = calloc(lanes, sizeof *s.jobs);
    s.ids = calloc(lanes, sizeof *s.ids);
    s.tokens = calloc(lanes, sizeof *s.tokens);
    if (distribution_new(&s.distribution, m->config.vocab) && s.w && s.jobs && s.ids && s.tokens)
        rc = loop(&s, streams, n, lanes, encode, run->cancel);
    distribution_free(&s.distribution);
    workspace_free(s.w);
    free(s.jobs);
    free(s.ids);
    free(s.tokens);
    return rc;
}

zllm_result zllm_encode(const zllm_model *m, zllm_stream *streams, size_t n, uint32_t start, const zllm_run *run) {
    return code(m, streams, n, start, run, 1);
}

zllm_result zllm_decode(const zllm_model *m, zllm_stream *streams, size_t n, uint32_t start, const zllm_run *run) {
    return code(m, streams, n, start, run, 0);
}

zllm_result zllm_evaluate(const zllm_model *m, const uint32_t *tokens, size_t n, int32_t *logits, uint64_t *sums) {
    const uint32_t vocab = m->config.vocab, id = 0;
    distribution_t d = {0};
    zllm_result rc = ZLLM_E_MEMORY;
    for (size_t i = 0; i < n; i++)
        if (tokens[i] >= vocab) return ZLLM_E_ARGUMENT;
    workspace_t *w = workspace_new(m, 1);
    if (distribution_new(&d, vocab) && w != NULL) {
        rc = ZLLM_OK;
        for (size_t i = 0; i < n; i++) {
            transformer_step(w, &id, tokens + i, 1);
            const int32_t *row = transformer_logits(w, 0);
            for (uint32_t v = 0; logits != NULL && v < vocab; v++) logits[i * vocab + v] = row[v];
            if (sums == NULL) continue;
            distribution_set(&d, m->kernel, row);
            for (uint32_t v = 0; v <= vocab; v++) sums[i * (vocab + 1) + v] = sum_below(&d, v);
        }
    }
    distribution_free(&d);
    workspace_free(w);
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
