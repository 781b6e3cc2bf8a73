/* Encoder and decoder of the method ZLLM: blocks by several threads, read, coded and written in turns. */
#include "plugins/7zip/coder.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "archive/bytes.h"
#include "archive/limits.h"
#include "archive/part.h"
#include "plugins/7zip/blocks.h"

#define VERSION 1u
#define HASH_KEPT 8u /* bytes of a model's hash that the properties keep */
#define MOST_THREADS 64u

enum { FACE_CODER, FACE_SET, FACE_WRITE, FACE_READ, FACE_THREADS, FACE_MEMORY, FACE_FINISH, FACES };

typedef struct {
    const void *table;
    struct coder *coder;
} face_t;

/* One object with several interfaces, each a face of it. */
typedef struct coder {
    face_t faces[FACES];
    atomic_uint count;
    int encoding, whole;       /* whole: a decoder is to read up to the stream's end */
    uint32_t level, threads;
    size_t block;
    uint64_t memory;           /* limit; 0: any */
    char wanted[4096];         /* the model, by name */
    int uses_model, coded;     /* what the properties say, before anything is coded and afterwards */
    coding_t coding;
} coder_t;

static coder_t *coder_of(void *face) { return ((face_t *)face)->coder; }

static const guid_t IDS[FACES] = {INTERFACE(4, 0x05), INTERFACE(4, 0x20), INTERFACE(4, 0x23), INTERFACE(4, 0x22),
                                  INTERFACE(4, 0x25), INTERFACE(4, 0x28), INTERFACE(4, 0x26)};
static const guid_t UNKNOWN = {{0, 0, 0, 0, 0, 0, 0, 0, 0xc0, 0, 0, 0, 0, 0, 0, 0x46}};

static uint32_t coder_add(void *self) { return atomic_fetch_add(&coder_of(self)->count, 1) + 1; }

static uint32_t coder_release(void *self) {
    coder_t *c = coder_of(self);
    const uint32_t left = atomic_fetch_sub(&c->count, 1) - 1;
    if (left == 0) free(c);
    return left;
}

static result_t coder_query(void *self, const guid_t *interface, void **out) {
    coder_t *c = coder_of(self);
    *out = NULL;
    for (int i = 0; i < FACES; i++) {
        const int other = c->encoding ? i == FACE_READ || i == FACE_FINISH : i == FACE_SET || i == FACE_WRITE;
        if (other || !(same_guid(interface, &IDS[i]) || (i == FACE_CODER && same_guid(interface, &UNKNOWN)))) continue;
        *out = &c->faces[i];
        (void)coder_add(self);
        return S_OK;
    }
    return E_NOINTERFACE;
}

/* Levels of 7z: block, streams, and what the model has to save; below 5 it is not used. */
static const struct {
    uint32_t mebibytes, streams, gain;
} LEVELS[10] = {{1, 16, 0}, {1, 16, 0}, {4, 16, 0}, {4, 16, 0}, {4, 16, 0}, {4, 16, 20}, {4, 16, 20}, {4, 8, 5}, {8, 8, 0}, {16, 8, 0}};
#define MODEL_LEVEL 5u

static result_t read_property(coder_t *c, uint32_t id, const variant_t *v) {
    enum { SET_BLOCK = 4, SET_MODEL = 9, SET_THREADS = 13, SET_LEVEL = 15, SET_MEMORY = 21 };
    switch (id) {
        case SET_LEVEL:
            if (v->type != VT_UI4) return E_INVALIDARG;
            c->level = v->as.u32 > 9 ? 9 : v->as.u32;
            return S_OK;
        case SET_THREADS:
            if (v->type != VT_UI4) return E_INVALIDARG;
            c->threads = v->as.u32;
            return S_OK;
        case SET_MODEL: /* mf=: 7-Zip knows no other name whose value is a text that fits; here it is the model's file */
            if (v->type != VT_BSTR) return E_INVALIDARG;
            narrow(v->as.text, c->wanted, sizeof c->wanted);
            return S_OK;
        case SET_BLOCK:
            if (v->type != VT_UI8 && v->type != VT_UI4) return E_INVALIDARG;
            c->block = v->type == VT_UI8 ? (size_t)v->as.u64 : v->as.u32;
            if (c->block >= ((size_t)64 << 10) && c->block <= MOST_BLOCK) return S_OK;
            complain("c=: blocks have 64k to 64m");
            return E_INVALIDARG;
        case SET_MEMORY:
            if (v->type != VT_UI8) return E_INVALIDARG;
            c->memory = v->as.u64;
            return S_OK;
        default: return S_OK; /* what is for other methods */
    }
}

static result_t set_properties(void *self, const uint32_t *ids, const variant_t *values, uint32_t n) {
    coder_t *c = coder_of(self);
    for (uint32_t i = 0; i < n; i++) {
        const result_t rc = read_property(c, ids[i], &values[i]);
        if (rc != S_OK) return rc;
    }
    if (c->block == 0) c->block = (size_t)LEVELS[c->level].mebibytes << 20;
    c->coding.gain = LEVELS[c->level].gain;
    c->coding.streams = LEVELS[c->level].streams;
    c->coding.model = NULL;
    if (c->level < MODEL_LEVEL && c->wanted[0] == 0) return S_OK;
    return model_named(c->wanted, &c->coding.model) ? S_OK : E_INVALIDARG;
}

/* version, arithmetic version, codecs; with a model: the first bytes of its hash, and its name. */
static result_t write_properties(void *self, out_stream_t *stream) {
    const coder_t *c = coder_of(self);
    const coder_model_t *m = c->coded && !c->uses_model ? NULL : c->coding.model;
    uint8_t out[3 + HASH_KEPT + NAME_ROOM] = {VERSION, ZLLM_ARITHMETIC_VERSION, m != NULL ? CODEC_LLM : CODEC_CM};
    size_t size = 3;
    if (m != NULL) {
        memcpy(out + size, m->sha256, HASH_KEPT);
        memcpy(out + size + HASH_KEPT, m->name, strlen(m->name));
        size += HASH_KEPT + strlen(m->name);
    }
    return write_fully(stream, out, size);
}

static result_t read_properties(void *self, const uint8_t *data, uint32_t size) {
    coder_t *c = coder_of(self);
    if (size < 3 || data[0] != VERSION || (data[2] != CODEC_CM && data[2] != CODEC_LLM)) {
        complain("made by another version of this plug-in");
        return E_NOTIMPL;
    }
    if (data[1] != ZLLM_ARITHMETIC_VERSION) {
        complain("made with version %u of the arithmetic; this plug-in has version %u", data[1], ZLLM_ARITHMETIC_VERSION);
        return E_NOTIMPL;
    }
    c->coding.model = NULL;
    if (data[2] == CODEC_CM) return S_OK;
    if (size < 3 + HASH_KEPT || size > 3 + HASH_KEPT + NAME_ROOM) return E_NOTIMPL;
    c->coding.model = model_of_hash(data + 3, HASH_KEPT);
    if (c->coding.model != NULL) return S_OK;
    char hash[2 * HASH_KEPT + 1], name[NAME_ROOM + 1] = {0};
    for (uint32_t i = 0; i < HASH_KEPT; i++) {
        hash[2 * i] = "0123456789abcdef"[data[3 + i] >> 4];
        hash[2 * i + 1] = "0123456789abcdef"[data[3 + i] & 15];
    }
    hash[2 * HASH_KEPT] = 0;
    for (uint32_t i = 0; i < size - 3 - HASH_KEPT; i++) name[i] = (char)(data[3 + HASH_KEPT + i] < 0x20 || data[3 + HASH_KEPT + i] == 0x7f ? '?' : data[3 + HASH_KEPT + i]);
    complain("the model \"%s\", whose SHA-256 begins with %s, is not here: put it into the folder models beside the plug-in, or let ZLLM_MODEL name its file", name, hash);
    return E_NOTIMPL;
}

static result_t set_threads(void *self, uint32_t threads) {
    coder_of(self)->threads = threads;
    return S_OK;
}

static result_t set_memory(void *self, uint64_t memory) {
    coder_of(self)->memory = memory;
    return S_OK;
}

static result_t set_finish(void *self, uint32_t whole) {
    coder_of(self)->whole = whole != 0;
    return S_OK;
}

static result_t result_of(zllm_result rc) {
    switch (rc) {
        case ZLLM_OK: return S_OK;
        case ZLLM_E_MEMORY: return E_OUTOFMEMORY;
        case ZLLM_E_CANCELLED: return E_ABORT;
        case ZLLM_E_VERSION: return E_NOTIMPL;
        case ZLLM_E_KERNEL_WRONG: return E_FAIL;
        default: return S_FALSE; /* the data is damaged */
    }
}

/* A turn: as many pieces as there are threads. */
typedef struct {
    coder_t *coder;
    in_stream_t *in;
    out_stream_t *out;
    progress_t *progress;
    files_t *files;         /* encoding: of the solid block, or NULL */
    uint64_t file, start;   /* number and place of the file that the last piece ended in */
    uint64_t read, written; /* bytes of turns that are over */
    uint32_t threads;
    piece_t pieces[MOST_THREADS];
    size_t n;
    result_t outcome;
} turn_t;

static int tick(void *context, uint64_t done) {
    turn_t *t = context;
    if (t->progress == NULL) return 0;
    const uint64_t in = t->coder->encoding ? t->read + done : t->read, out = t->coder->encoding ? t->written : t->written + done;
    const result_t rc = t->progress->table->ratio(t->progress, &in, &out);
    if (rc != S_OK) t->outcome = rc;
    return rc != S_OK;
}

static void free_pieces(turn_t *t) {
    for (size_t i = 0; i < t->n; i++) {
        free(t->pieces[i].in);
        free(t->pieces[i].out);
        free(t->pieces[i].cuts);
    }
    t->n = 0;
}

/* As many threads as the limit of memory allows, for blocks of that size; 0: not even one. */
static uint32_t allowed(const coder_t *c, size_t block, uint32_t most) {
    const size_t one = piece_memory(&c->coding, block, !c->encoding);
    const uint64_t fit = c->memory == 0 ? most : c->memory / one;
    return fit < most ? (uint32_t)fit : most;
}

static result_t work(turn_t *t, work_t how) {
    t->outcome = S_OK;
    t->coder->coding.cancel = 0;
    if (work_at(how, &t->coder->coding, t->pieces, t->n, t->threads, tick, t) != 0) return t->outcome;
    for (size_t i = 0; i < t->n; i++)
        if (t->pieces[i].rc != ZLLM_OK) return result_of(t->pieces[i].rc);
    return S_OK;
}

/* Where large files begin and end in a piece of data, from `from` on in the solid block; without memory for it, nowhere. */
static void cut_at_files(turn_t *t, piece_t *p, uint64_t from) {
    const uint64_t end = from + p->in_size;
    uint64_t size;
    p->cuts = malloc((2 * (p->in_size / LARGE_FILE) + 4) * sizeof *p->cuts);
    while (p->cuts != NULL && t->start < end && t->files->table->size(t->files, t->file, &size) == S_OK) {
        const uint64_t stop = t->start + size;
        if (size >= LARGE_FILE) {
            if (t->start > from) p->cuts[p->n_cuts++] = (size_t)(t->start - from);
            if (stop < end) p->cuts[p->n_cuts++] = (size_t)(stop - from);
        }
        if (stop > end) break; /* it goes on in the next piece */
        t->start = stop;
        t->file++;
    }
}

static result_t read_pieces(turn_t *t) {
    const size_t block = t->coder->block;
    uint64_t from = t->read;
    while (t->n < t->threads) {
        piece_t *p = &t->pieces[t->n];
        *p = (piece_t){.in = malloc(block), .in_size = block};
        if (p->in == NULL) return E_OUTOFMEMORY;
        t->n++;
        const result_t rc = read_fully(t->in, p->in, &p->in_size);
        if (rc != S_OK) return rc;
        if (t->files != NULL) cut_at_files(t, p, from);
        from += p->in_size;
        if (p->in_size == block) continue;
        if (p->in_size == 0) {
            free(p->in);
            free(p->cuts);
            t->n--;
        }
        break;
    }
    return S_OK;
}

static result_t encode(turn_t *t) {
    const uint8_t end = STREAM_END;
    result_t rc = S_OK;
    for (int more = 1; more;) {
        rc = read_pieces(t);
        more = rc == S_OK && t->n == t->threads;
        if (rc == S_OK) rc = work(t, encode_piece);
        for (size_t i = 0; i < t->n && rc == S_OK; i++) {
            const piece_t *p = &t->pieces[i];
            rc = write_fully(t->out, p->out, p->out_size);
            t->read += p->in_size;
            t->written += p->out_size;
            t->coder->uses_model |= p->uses_model;
        }
        free_pieces(t);
        if (rc != S_OK) return rc;
    }
    t->coder->coded = 1;
    return write_fully(t->out, &end, 1);
}

static result_t read_byte(turn_t *t, uint8_t *out) {
    size_t size = 1;
    const result_t rc = read_fully(t->in, out, &size);
    t->read += size;
    return rc != S_OK ? rc : size == 1 ? S_OK : S_FALSE;
}

static result_t read_number(turn_t *t, uint64_t most, size_t *out) {
    uint8_t bytes[MAX_VARINT_BYTES];
    size_t n = 0;
    do {
        const result_t rc = n < sizeof bytes ? read_byte(t, &bytes[n]) : S_FALSE;
        if (rc != S_OK) return rc;
    } while (bytes[n++] & 0x80);
    bytes_t b = bytes_of(bytes, n);
    *out = (size_t)bytes_varint(&b, most);
    return b.bad ? S_FALSE : S_OK;
}

/* The next block's front, and its data. *end: it is the stream's end instead. */
static result_t read_block(turn_t *t, piece_t *p, int *end) {
    *p = (piece_t){.rc = ZLLM_OK};
    result_t rc = read_byte(t, &p->codec);
    if (rc != S_OK) return rc;
    *end = p->codec == STREAM_END;
    if (*end) return S_OK;
    if (p->codec != CODEC_STORE && p->codec != CODEC_CM && p->codec != CODEC_LLM) return S_FALSE;
    rc = read_number(t, MOST_BLOCK, &p->out_size);
    if (rc == S_OK && p->codec != CODEC_STORE) rc = read_number(t, MAX_PAYLOAD, &p->in_size);
    if (rc != S_OK) return rc;
    if (p->out_size == 0) return S_FALSE;
    if (allowed(t->coder, p->out_size, 1) == 0) {
        complain("a block of %llu bytes takes more memory than is allowed", (unsigned long long)p->out_size);
        return E_OUTOFMEMORY;
    }
    p->out = malloc(p->out_size);
    p->in = malloc(p->in_size + 1);
    if (p->out == NULL || p->in == NULL) return E_OUTOFMEMORY;
    size_t size = p->codec == CODEC_STORE ? p->out_size : p->in_size;
    const size_t wanted = size;
    rc = read_fully(t->in, p->codec == CODEC_STORE ? p->out : p->in, &size);
    t->read += size;
    return rc != S_OK ? rc : size == wanted ? S_OK : S_FALSE;
}

/* Up to a piece a thread, of which all may be in memory at once. */
static result_t read_blocks(turn_t *t, int *end) {
    size_t largest = 0;
    while (t->n < t->threads && !*end) {
        piece_t *p = &t->pieces[t->n++];
        const result_t rc = read_block(t, p, end);
        if (rc != S_OK) return rc;
        if (*end) t->n--;
        else if (p->out_size > largest) largest = p->out_size;
        if (allowed(t->coder, largest, t->threads) <= t->n) break;
    }
    return S_OK;
}

static result_t write_pieces(turn_t *t, const uint64_t *size) {
    for (size_t i = 0; i < t->n; i++) {
        const piece_t *p = &t->pieces[i];
        const uint64_t rest = size == NULL ? p->out_size : *size - t->written;
        const size_t part = p->out_size < rest ? p->out_size : (size_t)rest;
        const result_t rc = write_fully(t->out, p->out, part);
        if (rc != S_OK) return rc;
        t->written += part;
        if (part < p->out_size && t->coder->whole) return S_FALSE;
    }
    return S_OK;
}

static result_t decode(turn_t *t, const uint64_t *size) {
    int end = 0;
    while (!end && (t->coder->whole || size == NULL || t->written < *size)) {
        result_t rc = read_blocks(t, &end);
        if (rc == S_OK) rc = work(t, decode_piece);
        if (rc == S_OK) rc = write_pieces(t, size);
        free_pieces(t);
        if (rc != S_OK) return rc;
    }
    return S_OK;
}

static result_t code(void *self, in_stream_t *in, out_stream_t *out, const uint64_t *in_size, const uint64_t *out_size,
                     progress_t *progress) {
    coder_t *c = coder_of(self);
    (void)in_size;
    turn_t *t = calloc(1, sizeof *t);
    if (t == NULL) return E_OUTOFMEMORY;
    *t = (turn_t){.coder = c, .in = in, .out = out, .progress = progress};
    t->threads = c->threads < 1 ? 1 : c->threads > MOST_THREADS ? MOST_THREADS : c->threads;
    result_t rc = E_OUTOFMEMORY;
    if (c->encoding) {
        t->threads = allowed(c, c->block, t->threads);
        if (t->threads == 0) complain("blocks of %llu bytes take more memory than is allowed: see c= and memuse=", (unsigned long long)c->block);
        else {
            static const guid_t FILES = INTERFACE(4, 0x30);
            void *files = NULL;
            if (in->table->unknown.query(in, &FILES, &files) == S_OK) t->files = files;
            rc = encode(t);
            if (t->files != NULL) (void)t->files->table->unknown.release(t->files);
        }
    } else rc = decode(t, out_size);
    free(t);
    return rc;
}

#define SHARED {coder_query, coder_add, coder_release}
static const struct {
    unknown_t unknown;
    result_t (*code)(void *, in_stream_t *, out_stream_t *, const uint64_t *, const uint64_t *, progress_t *);
} CODER_TABLE = {SHARED, code};
static const struct {
    unknown_t unknown;
    result_t (*set)(void *, const uint32_t *, const variant_t *, uint32_t);
} SET_TABLE = {SHARED, set_properties};
static const struct {
    unknown_t unknown;
    result_t (*write)(void *, out_stream_t *);
} WRITE_TABLE = {SHARED, write_properties};
static const struct {
    unknown_t unknown;
    result_t (*read)(void *, const uint8_t *, uint32_t);
} READ_TABLE = {SHARED, read_properties};
static const struct {
    unknown_t unknown;
    result_t (*set)(void *, uint32_t);
} THREADS_TABLE = {SHARED, set_threads}, FINISH_TABLE = {SHARED, set_finish};
static const struct {
    unknown_t unknown;
    result_t (*set)(void *, uint64_t);
} MEMORY_TABLE = {SHARED, set_memory};

result_t coder_new(int encoding, const guid_t *interface, void **out) {
    static const void *const TABLES[FACES] = {&CODER_TABLE, &SET_TABLE, &WRITE_TABLE, &READ_TABLE, &THREADS_TABLE, &MEMORY_TABLE, &FINISH_TABLE};
    coder_t *c = calloc(1, sizeof *c);
    *out = NULL;
    if (c == NULL) return E_OUTOFMEMORY;
    for (int i = 0; i < FACES; i++) c->faces[i] = (face_t){TABLES[i], c};
    atomic_init(&c->count, 1);
    c->encoding = encoding;
    c->level = MODEL_LEVEL;
    c->threads = 1;
    c->block = encoding ? 0 : MOST_BLOCK;
    const result_t rc = coder_query(&c->faces[FACE_CODER], interface, out);
    (void)coder_release(&c->faces[FACE_CODER]);
    return rc;
}
