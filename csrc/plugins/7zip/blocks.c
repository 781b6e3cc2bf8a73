#include "plugins/7zip/blocks.h"

#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "archive/bytes.h"
#include "archive/limits.h"
#include "archive/part.h"
#include "archive/text.h"
#include "archive/unpack.h"
#include "predictor/predictor.h"

#define MODEL_BLOCK ((size_t)1 << 20) /* of text with a model: what encoding takes is in proportion */
#define LEAST_REPEAT ((size_t)1 << 10)
#define SAMPLE ((size_t)64 << 10)
#define SAMPLE_PLACES 8u
#define BOTH_TRIED ((size_t)256 << 10) /* up to here data is its own sample */
#define FRONT_ROOM (1 + 2 * MAX_VARINT_BYTES)

typedef struct {
    uint8_t *data;
    size_t size, room;
} bytes_out_t;

static zllm_options options_of(const coding_t *c) {
    return (zllm_options){.size = sizeof(zllm_options), .memory_limit = c->memory_limit};
}

/* A text by the adaptive predictor: *size is the room, then the length. */
static zllm_result predict(coding_t *c, const uint8_t *in, size_t n, uint8_t *out, size_t *size, volatile uint64_t *progress) {
    const zllm_options options = options_of(c);
    const size_t room = *size, least = n <= FREE_MIXED_TEXT ? 0 : (n - FREE_MIXED_TEXT) / MAX_MIXED_TEXT_RATIO + 1;
    if (room < 1 + least) return ZLLM_E_SPACE;
    out[0] = ZLLM_ARITHMETIC_VERSION;
    *size = room - 1;
    const zllm_result rc = zllm_cm_encode(in, n, NULL, 0, out + 1, size, &c->cancel, progress, NULL, &options);
    if (rc == ZLLM_OK && *size < least) {
        memset(out + 1 + *size, 0, least - *size); /* zeros at the end change nothing */
        *size = least;
    }
    ++*size;
    return rc;
}

/* A text without its repeats, its tokens, and the streams they are cut into. */
typedef struct {
    zllm_repeat *repeats;
    size_t n_repeats;
    uint8_t *text;
    size_t size;
    uint32_t *tokens;
    zllm_stream streams[16];
    size_t n_streams;
} text_t;

static void free_text(text_t *t) {
    free(t->repeats);
    free(t->text);
    free(t->tokens);
}

static zllm_result take_repeats(text_t *t, const uint8_t *in, size_t n) {
    size_t at = 0;
    t->n_repeats = n / LEAST_REPEAT + 1;
    t->repeats = malloc(t->n_repeats * sizeof *t->repeats);
    t->text = malloc(n);
    t->tokens = malloc(n * sizeof *t->tokens);
    if (t->repeats == NULL || t->text == NULL || t->tokens == NULL) return ZLLM_E_MEMORY;
    const zllm_result rc = zllm_repeats(in, n, LEAST_REPEAT, t->repeats, &t->n_repeats, NULL);
    if (rc != ZLLM_OK) return rc;
    for (size_t i = 0; i <= t->n_repeats; i++) {
        const size_t end = i < t->n_repeats ? (size_t)t->repeats[i].at : n;
        memcpy(t->text + t->size, in + at, end - at);
        t->size += end - at;
        at = end + (i < t->n_repeats ? (size_t)t->repeats[i].length : 0);
    }
    return ZLLM_OK;
}

/* As many streams as zllm's encoder makes: one for 16 KiB, up to 12, then one for 64 KiB. */
static void cut(text_t *t, const tokens_t *tokens, size_t most) {
    const size_t n = tokens_of(tokens, t->text, t->size, t->tokens);
    size_t count = t->size >> 14, start = 0;
    if (count > 12) count = t->size >> 16 > 12 ? t->size >> 16 : 12;
    if (count > most) count = most;
    if (count == 0) count = 1;
    for (size_t i = 1; i <= count; i++) {
        const size_t end = n * i / count;
        if (end == start) continue;
        zllm_stream *s = &t->streams[t->n_streams++];
        *s = (zllm_stream){.tokens = t->tokens + start, .n_tokens = end - start};
        for (; start < end; start++) s->size += tokens_length(tokens, t->tokens[start]);
    }
}

/* What stands before the code string, if there is room for it: repeats, sizes of the streams but the last. */
static int put_front(const text_t *t, uint8_t *out, size_t room, size_t *size) {
    if (room < MAX_VARINT_BYTES * (2 + 3 * t->n_repeats + t->n_streams)) return 0;
    uint64_t end = 0;
    size_t at = varint_put(out, t->n_repeats);
    for (size_t i = 0; i < t->n_repeats; i++) {
        const zllm_repeat *r = &t->repeats[i];
        at += varint_put(out + at, r->at - end);
        at += varint_put(out + at, r->length - 1);
        at += varint_put(out + at, r->distance - 1);
        end = r->at + r->length;
    }
    at += varint_put(out + at, t->n_streams - 1);
    for (size_t i = 0; i + 1 < t->n_streams; i++) at += varint_put(out + at, t->streams[i].size);
    *size = at;
    return 1;
}

static zllm_result code_text(coding_t *c, text_t *t, uint8_t *out, size_t *size, volatile uint64_t *progress) {
    const zllm_run run = {.lanes = 64, .cancel = &c->cancel, .progress = progress};
    const zllm_options options = options_of(c);
    const size_t least = t->size <= FREE_MODEL_TEXT ? 0 : (t->size - FREE_MODEL_TEXT) / MAX_MODEL_TEXT_RATIO + 1;
    zllm_frame frame = {.streams = t->streams, .n_streams = t->n_streams, .size = t->size, .coded = out, .coded_size = *size};
    zllm_job *job;
    if (*size < least) return ZLLM_E_SPACE;
    zllm_result rc = zllm_job_new(c->model->model, &frame, zllm_model_start(c->model->model), 1, 0, &options, &job);
    if (rc == ZLLM_OK) rc = zllm_job_work(&job, 1, 0, &run);
    zllm_job_free(job);
    if (rc == ZLLM_OK && frame.coded_size < least) {
        memset(out + frame.coded_size, 0, least - frame.coded_size);
        frame.coded_size = least;
    }
    *size = frame.coded_size;
    return rc;
}

/* A text by the model. */
static zllm_result model_text(coding_t *c, const uint8_t *in, size_t n, uint8_t *out, size_t *size,
                              volatile uint64_t *progress) {
    text_t t = {0};
    const size_t room = *size;
    size_t front = 0;
    zllm_result rc = take_repeats(&t, in, n);
    if (rc == ZLLM_OK) {
        cut(&t, c->model->tokens, c->streams);
        rc = put_front(&t, out, room, &front) ? ZLLM_OK : ZLLM_E_SPACE;
    }
    size_t code = room - front;
    if (rc == ZLLM_OK) rc = code_text(c, &t, out + front, &code, progress);
    *size = front + code;
    free_text(&t);
    return rc;
}

static size_t put_block(uint8_t *out, uint8_t codec, size_t data, size_t payload) {
    size_t at = 1;
    out[0] = codec;
    at += varint_put(out + at, data);
    if (codec != CODEC_STORE) at += varint_put(out + at, payload);
    return at;
}

/* Append a block of `in`; ZLLM_E_SPACE if there is no room for it. */
static zllm_result append(coding_t *c, bytes_out_t *out, uint8_t codec, const uint8_t *in, size_t n,
                          volatile uint64_t *progress) {
    uint8_t *const to = out->data + out->size;
    const size_t left = out->room - out->size;
    if (left < FRONT_ROOM) return ZLLM_E_SPACE;
    size_t size = left - FRONT_ROOM;
    uint8_t *const payload = to + FRONT_ROOM;
    const zllm_result rc = codec == CODEC_LLM ? model_text(c, in, n, payload, &size, progress)
                                              : predict(c, in, n, payload, &size, progress);
    if (rc != ZLLM_OK) return rc;
    const size_t front = put_block(to, codec, n, size);
    memmove(to + front, payload, size);
    out->size += front + size;
    return ZLLM_OK;
}

static zllm_result append_texts(coding_t *c, bytes_out_t *out, const uint8_t *in, size_t n, volatile uint64_t *progress) {
    for (size_t at = 0; at < n; at += MODEL_BLOCK) {
        const size_t part = n - at < MODEL_BLOCK ? n - at : MODEL_BLOCK;
        const zllm_result rc = append(c, out, CODEC_LLM, in + at, part, progress);
        if (rc != ZLLM_OK) return rc;
    }
    return ZLLM_OK;
}

/* What data looks like, in units: a run of one kind becomes blocks of its own. */
typedef enum { NOISE, BINARY, TEXT } look_t;
#define UNIT ((size_t)16 << 10)
#define LEAST_RUN (4 * UNIT)

/* Noise: bytes are as frequent as each other. Binary: control characters that no text has, one in 64. */
static look_t look(const uint8_t *in, size_t n) {
    uint64_t counts[256] = {0}, squares = 0;
    size_t odd = 0;
    for (size_t i = 0; i < n; i++) counts[in[i]]++;
    for (size_t i = 0; i < 256; i++) {
        squares += counts[i] * counts[i];
        if (i < 32 && i != 27 && (i < 9 || i > 13)) odd += counts[i];
    }
    /* n * n / 256 if all are as frequent; what is left to chance adds n. */
    if (n >= 4096 && squares < (uint64_t)n * n / 256 / 64 * 65 + 2 * n) return NOISE;
    return odd > n / 64 ? BINARY : TEXT;
}

static size_t look_on(const uint8_t *in, size_t n, look_t *kind) {
    size_t end = n < UNIT ? n : UNIT;
    *kind = look(in, end);
    while (end < n) {
        const size_t part = n - end < UNIT ? n - end : UNIT;
        if (look(in + end, part) != *kind) break;
        end += part;
    }
    return end;
}

/* How long the run is that the data begins with. Short runs of another kind belong to it, unless it is noise; if it is
 * short itself, so does what follows. */
static size_t run_of_kind(const uint8_t *in, size_t n, look_t *kind) {
    size_t end = look_on(in, n, kind);
    while (end < n) {
        look_t next;
        const size_t more = look_on(in + end, n - end, &next);
        if (end < LEAST_RUN && more > end) *kind = next;
        else if (next != *kind && (more >= LEAST_RUN || *kind == NOISE) && end >= LEAST_RUN) break;
        end += more;
    }
    return end;
}

/* Whether zstd saves nothing either: then it is stored. */
static int is_incompressible(const uint8_t *in, size_t n) {
    const size_t room = ZSTD_compressBound(n);
    void *memory = malloc(room);
    if (memory == NULL) return 0;
    const size_t packed = ZSTD_compress(memory, room, in, n, 1);
    free(memory);
    return ZSTD_isError(packed) || packed >= n - n / 200;
}

/* Whether the model makes a sample smaller than the predictor by enough. */
static zllm_result worth_it(coding_t *c, const uint8_t *in, size_t n, int *worth) {
    const size_t part = SAMPLE / SAMPLE_PLACES;
    size_t predicted = SAMPLE, modelled = SAMPLE;
    uint8_t *memory = malloc(2 * SAMPLE);
    if (memory == NULL) return ZLLM_E_MEMORY;
    for (size_t i = 0; i < SAMPLE_PLACES; i++) memcpy(memory + i * part, in + (n - part) / (SAMPLE_PLACES - 1) * i, part);
    zllm_result rc = predict(c, memory, SAMPLE, memory + SAMPLE, &predicted, NULL);
    if (rc == ZLLM_OK || rc == ZLLM_E_SPACE) rc = model_text(c, memory, SAMPLE, memory + SAMPLE, &modelled, NULL);
    *worth = rc == ZLLM_OK && modelled * 1000 < predicted * (1000 - c->gain);
    free(memory);
    return rc == ZLLM_E_SPACE ? ZLLM_OK : rc;
}

static void store(bytes_out_t *out, const uint8_t *in, size_t n) {
    out->size += put_block(out->data + out->size, CODEC_STORE, n, 0);
    memcpy(out->data + out->size, in, n);
    out->size += n;
}

/* By the predictor, and then by the model where that may be smaller; what is smaller is kept. ZLLM_E_SPACE: neither is smaller
 * than the data. */
static zllm_result encode_run(coding_t *c, piece_t *p, const uint8_t *in, size_t n, int model, bytes_out_t *out) {
    if (model && n > BOTH_TRIED) {
        const zllm_result rc = worth_it(c, in, n, &model);
        if (rc != ZLLM_OK) return rc;
    }
    const zllm_result first = append(c, out, CODEC_CM, in, n, model ? NULL : &p->progress);
    if (!model || (first != ZLLM_OK && first != ZLLM_E_SPACE)) return first;
    const size_t predicted = first == ZLLM_OK ? out->size : out->room;
    const size_t gain = first == ZLLM_OK ? predicted * c->gain / 1000 : 0;
    bytes_out_t other = {.data = malloc(predicted + 1), .room = predicted - gain};
    if (other.data == NULL) return ZLLM_E_MEMORY;
    const zllm_result second = append_texts(c, &other, in, n, &p->progress);
    if (second == ZLLM_OK) {
        memcpy(out->data, other.data, other.size);
        out->size = other.size;
        p->uses_model = 1;
    }
    free(other.data);
    return second == ZLLM_E_SPACE ? first : second;
}

static zllm_result encode_next(coding_t *c, piece_t *p, const uint8_t *in, size_t n, look_t kind, bytes_out_t *all) {
    bytes_out_t out = {.data = all->data + all->size, .room = n};
    zllm_result rc = ZLLM_E_SPACE;
    if (kind != NOISE || !is_incompressible(in, n)) rc = encode_run(c, p, in, n, c->model != NULL && kind == TEXT, &out);
    all->size += rc == ZLLM_OK ? out.size : 0;
    if (rc != ZLLM_E_SPACE) return rc;
    store(all, in, n);
    return ZLLM_OK;
}

void encode_piece(coding_t *c, piece_t *p) {
    bytes_out_t out = {.room = p->in_size + (p->in_size / LEAST_RUN + p->n_cuts + 1) * FRONT_ROOM};
    out.data = p->out = malloc(out.room);
    p->rc = p->out == NULL ? ZLLM_E_MEMORY : ZLLM_OK;
    for (size_t at = 0, run, cut = 0; at < p->in_size && p->rc == ZLLM_OK; at += run) {
        look_t kind;
        while (cut < p->n_cuts && p->cuts[cut] <= at) cut++;
        run = run_of_kind(p->in + at, (cut < p->n_cuts ? p->cuts[cut] : p->in_size) - at, &kind);
        p->rc = encode_next(c, p, p->in + at, run, kind, &out);
    }
    p->out_size = out.size;
}

static zllm_result decode_text(coding_t *c, piece_t *p) {
    const zllm_run run = {.lanes = 32, .cancel = &c->cancel, .progress = &p->progress};
    const zllm_options options = options_of(c);
    heap_t *heap;
    problem_t problem;
    text_frame_t frame;
    zllm_job *job = NULL;
    if (c->model == NULL) return ZLLM_E_DATA; /* the coder's properties would name it */
    zllm_result rc = zllm_heap_open(&options, &heap);
    if (rc != ZLLM_OK) return rc;
    rc = zllm_text_open(heap, p->in, p->in_size, p->out, p->out_size, NULL, 0, &frame, &problem);
    if (rc == ZLLM_OK)
        rc = zllm_job_new(c->model->model, &frame.frame, zllm_model_start(c->model->model), 1, 1, &options, &job);
    if (rc == ZLLM_OK) rc = zllm_job_work(&job, 1, 0, &run);
    if (rc == ZLLM_OK) zllm_text_finish(&frame);
    zllm_job_free(job);
    zllm_text_free(&frame);
    zllm_heap_close(heap);
    return rc == ZLLM_E_ARGUMENT ? ZLLM_E_DATA : rc;
}

void decode_piece(coding_t *c, piece_t *p) {
    const zllm_options options = options_of(c);
    const decoding_t decoding = {.cancel = &c->cancel, .options = &options};
    problem_t problem;
    if (p->codec == CODEC_STORE) p->rc = ZLLM_OK; /* it was read in its place */
    else if (p->codec == CODEC_LLM) p->rc = decode_text(c, p);
    else p->rc = zllm_unpack_cm(&decoding, p->in, p->in_size, p->out, p->out_size, NULL, 0, 1, "a block", &problem);
}

size_t piece_memory(const coding_t *c, size_t size, int decoding) {
    size_t coder = zllm_predictor_memory(size, 0);
    if (c->model != NULL) {
        const size_t text = size < MODEL_BLOCK ? size : MODEL_BLOCK;
        const size_t lanes = (decoding ? 32 : 16) * zllm_stream_memory(c->model->model);
        const size_t model = zllm_job_memory(c->model->model, text, 16, decoding) + lanes + (decoding ? 0 : 5 * text);
        if (model > coder) coder = model;
    }
    return coder + (decoding ? 2 : 3) * size;
}
