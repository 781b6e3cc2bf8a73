/* Encoder and decoder of the method ZLLM, as 7-Zip calls them. */
#include "plugins/7zip/coder.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "archive/part.h"
#include "plugins/7zip/turns.h"

#define VERSION 1u
#define HASH_KEPT 8u /* bytes of a model's hash that the properties keep */

enum { FACE_CODER, FACE_SET, FACE_WRITE, FACE_READ, FACE_THREADS, FACE_MEMORY, FACE_FINISH, FACES };

typedef struct {
    const void *table;
    struct coder *coder;
} face_t;

/* One object with several interfaces, each a face of it. */
typedef struct coder {
    face_t faces[FACES];
    atomic_uint count;
    uint32_t level;
    char wanted[4096]; /* the model, by name */
    settings_t s;
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
        const int other = c->s.encoding ? i == FACE_READ || i == FACE_FINISH : i == FACE_SET || i == FACE_WRITE;
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
} LEVELS[10] = {{1, 16, 0}, {1, 16, 0}, {4, 16, 0}, {4, 16, 0}, {4, 16, 0},
                {4, 16, 20}, {4, 16, 20}, {4, 8, 5}, {8, 8, 0}, {16, 8, 0}};
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
            c->s.threads = v->as.u32;
            return S_OK;
        case SET_MODEL: /* mf=: 7-Zip knows no other name whose value is a text that fits; here it is the model's file */
            if (v->type != VT_BSTR) return E_INVALIDARG;
            narrow(v->as.text, c->wanted, sizeof c->wanted);
            return S_OK;
        case SET_BLOCK:
            if (v->type != VT_UI8 && v->type != VT_UI4) return E_INVALIDARG;
            c->s.block = v->type == VT_UI8 ? (size_t)v->as.u64 : v->as.u32;
            if (c->s.block >= ((size_t)64 << 10) && c->s.block <= MOST_BLOCK) return S_OK;
            complain("c=: blocks have 64k to 64m");
            return E_INVALIDARG;
        case SET_MEMORY:
            if (v->type != VT_UI8) return E_INVALIDARG;
            c->s.memory = v->as.u64;
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
    if (c->s.block == 0) c->s.block = (size_t)LEVELS[c->level].mebibytes << 20;
    c->s.coding.gain = LEVELS[c->level].gain;
    c->s.coding.streams = LEVELS[c->level].streams;
    c->s.coding.model = NULL;
    if (c->level < MODEL_LEVEL && c->wanted[0] == 0) return S_OK;
    return model_named(c->wanted, &c->s.coding.model) ? S_OK : E_INVALIDARG;
}

/* version, arithmetic version, codecs; with a model: the first bytes of its hash, and its name. */
static result_t write_properties(void *self, out_stream_t *stream) {
    const coder_t *c = coder_of(self);
    const coder_model_t *m = c->s.coded && !c->s.uses_model ? NULL : c->s.coding.model;
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
    c->s.coding.model = NULL;
    if (data[2] == CODEC_CM) return S_OK;
    if (size < 3 + HASH_KEPT || size > 3 + HASH_KEPT + NAME_ROOM) return E_NOTIMPL;
    c->s.coding.model = model_of_hash(data + 3, HASH_KEPT);
    if (c->s.coding.model != NULL) return S_OK;
    char hash[2 * HASH_KEPT + 1], name[NAME_ROOM + 1] = {0};
    for (uint32_t i = 0; i < HASH_KEPT; i++) {
        hash[2 * i] = "0123456789abcdef"[data[3 + i] >> 4];
        hash[2 * i + 1] = "0123456789abcdef"[data[3 + i] & 15];
    }
    hash[2 * HASH_KEPT] = 0;
    for (uint32_t i = 0; i < size - 3 - HASH_KEPT; i++) {
        const uint8_t character = data[3 + HASH_KEPT + i];
        name[i] = (char)(character < 0x20 || character == 0x7f ? '?' : character);
    }
    complain("the model \"%s\", whose SHA-256 begins with %s, is not here: put it into the folder models beside the "
             "plug-in, or let ZLLM_MODEL name its file", name, hash);
    return E_NOTIMPL;
}

static result_t set_threads(void *self, uint32_t threads) {
    coder_of(self)->s.threads = threads;
    return S_OK;
}

static result_t set_memory(void *self, uint64_t memory) {
    coder_of(self)->s.memory = memory;
    return S_OK;
}

static result_t set_finish(void *self, uint32_t whole) {
    coder_of(self)->s.whole = whole != 0;
    return S_OK;
}

static result_t code(void *self, in_stream_t *in, out_stream_t *out, const uint64_t *in_size, const uint64_t *out_size,
                     progress_t *progress) {
    (void)in_size;
    return code_stream(&coder_of(self)->s, in, out, out_size, progress);
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
    static const void *const TABLES[FACES] = {&CODER_TABLE, &SET_TABLE, &WRITE_TABLE, &READ_TABLE,
                                               &THREADS_TABLE, &MEMORY_TABLE, &FINISH_TABLE};
    coder_t *c = calloc(1, sizeof *c);
    *out = NULL;
    if (c == NULL) return E_OUTOFMEMORY;
    for (int i = 0; i < FACES; i++) c->faces[i] = (face_t){TABLES[i], c};
    atomic_init(&c->count, 1);
    c->s.encoding = encoding;
    c->level = MODEL_LEVEL;
    c->s.threads = 1;
    c->s.block = encoding ? 0 : MOST_BLOCK;
    const result_t rc = coder_query(&c->faces[FACE_CODER], interface, out);
    (void)coder_release(&c->faces[FACE_CODER]);
    return rc;
}
