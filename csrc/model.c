/* Models: which network computes them, and the byte trie of their vocabulary. */
#include "model.h"

#include <string.h>

#define MAX_TOKEN_BYTES 1024u /* bounds the trie's depth */
#define DEFAULT_FAMILY "transformer"

/* Token i's bytes, of which there are *length. */
static const uint8_t *token(const source_t *s, uint32_t i, uint32_t *length) {
    const uint32_t from = tensor_u32(s->token_offsets, i);
    *length = tensor_u32(s->token_offsets, i + 1) - from;
    return s->token_bytes->data + from;
}

/* Offsets that ascend inside the bytes, to their end. */
static zllm_result check_offsets(const source_t *s, uint32_t vocab) {
    const zllm_tensor *offsets = s->token_offsets;
    CHECK(tensor_u32(offsets, 0) == 0 && tensor_u32(offsets, vocab) == s->token_bytes->size,
          "the token table has the wrong size");
    for (uint32_t i = 0; i < vocab; i++) {
        const uint32_t from = tensor_u32(offsets, i), to = tensor_u32(offsets, i + 1);
        CHECK(to > from && to <= s->token_bytes->size, "a token is empty or out of bounds");
        CHECK(to - from <= MAX_TOKEN_BYTES, "a token is longer than %u bytes", MAX_TOKEN_BYTES);
    }
    return ZLLM_OK;
}

static zllm_result check_tokens(const source_t *s) {
    const uint32_t vocab = s->config[0];
    uint8_t single[256] = {0};
    const zllm_result rc = check_offsets(s, vocab);
    if (rc != ZLLM_OK) return rc;
    for (uint32_t i = 0; i < vocab; i++) {
        uint32_t length, before;
        const uint8_t *bytes = token(s, i, &length);
        if (length == 1) single[*bytes] = 1;
        if (i == 0) continue;
        const uint8_t *last = token(s, i - 1, &before);
        const int order = memcmp(last, bytes, before < length ? before : length);
        CHECK(order < 0 || (order == 0 && before < length), "tokens are not sorted by their bytes");
    }
    for (int b = 0; b < 256; b++) CHECK(single[b], "not every single byte is a token");
    return ZLLM_OK;
}

static void lay_out(zllm_model *m, const source_t *s, uint32_t classes) {
    m->arena.used = 0;
    m->token_bytes = zllm_tensor_copy(&m->arena, s->token_bytes);
    m->token_offsets = zllm_tensor_copy(&m->arena, s->token_offsets);
    m->decisions = arena_take(&m->arena, (m->vocab - 1) * sizeof *m->decisions);
    m->class_of = classes ? arena_take(&m->arena, m->vocab * sizeof *m->class_of) : NULL;
}

/* The network's classes are ranges that decisions lead to. */
static zllm_result mark_classes(zllm_model *m) {
    const network_t *network = m->network;
    for (uint32_t k = 0; k < network->classes; k++)
        for (uint32_t t = network->class_first[k]; t < network->class_first[k + 1]; t++) m->class_of[t] = (uint16_t)k;
    CHECK(m->class_of == NULL || zllm_trie_mark(m->decisions, m->vocab, m->class_of),
          "a class is not all tokens that begin with the same bits");
    return ZLLM_OK;
}

static zllm_result build(zllm_model *m, const source_t *s, const network_family_t *family) {
    m->network = family->pack(s, m->kernel, m->heap);
    if (m->network == NULL) return ZLLM_E_MEMORY;
    m->network->family = family;
    lay_out(m, s, m->network->classes);
    m->memory = m->arena.used;
    m->arena.base = zllm_heap_pages(m->heap, m->memory);
    if (m->arena.base == NULL) return ZLLM_E_MEMORY;
    lay_out(m, s, m->network->classes);
    m->deepest = zllm_trie_build(m->token_bytes, m->token_offsets, m->vocab, m->decisions);
    return mark_classes(m);
}

static const network_family_t *family_named(const char *name, size_t size) {
    for (const network_family_t *const *f = zllm_network_families; *f != NULL; f++)
        if (strlen((*f)->name) == size && memcmp((*f)->name, name, size) == 0) return *f;
    return NULL;
}

static zllm_result find_family(const description_t *d, const network_family_t **out) {
    const json_value_t *name = zllm_json_member(d->config, "family", 6);
    CHECK(name == NULL || name->kind == JSON_STRING, "the config's family is not a name");
    if (name == NULL) *out = family_named(DEFAULT_FAMILY, strlen(DEFAULT_FAMILY));
    else *out = family_named(name->as.string, name->size);
    CHECK(*out != NULL, "its network is a %s, which this program does not know",
          name == NULL ? DEFAULT_FAMILY : zllm_quoted(name->as.string, name->size).text);
    return ZLLM_OK;
}

/* All but the heap. */
static void release(zllm_model *m) {
    heap_t *heap = m->heap;
    if (m->network != NULL) m->network->family->release(m->network);
    zllm_heap_free_pages(heap, m->arena.base, m->memory);
    zllm_heap_free(heap, m);
}

static zllm_result make(heap_t *heap, const source_t *s, const network_family_t *family, const zllm_kernel *k,
                        zllm_model **out) {
    zllm_model *m = zllm_heap_zeroed(heap, 1, sizeof *m);
    if (m == NULL) return ZLLM_E_MEMORY;
    m->heap = heap;
    m->vocab = s->config[0];
    m->kernel = k;
    const zllm_result rc = build(m, s, family);
    if (rc == ZLLM_OK) *out = m;
    else release(m);
    return rc;
}

/* A description and tensors, which `heap` need not hold. */
static zllm_result read_model(heap_t *heap, const char *text, size_t size, const zllm_tensor *tensors, size_t n,
                              const zllm_kernel *k, zllm_model **out) {
    const network_family_t *family;
    description_t d = {0};
    source_t s = {0};
    zllm_result rc = zllm_description_parse(heap, text, size, &d);
    if (rc == ZLLM_OK) rc = find_family(&d, &family);
    if (rc == ZLLM_OK) rc = zllm_source_read(heap, &d, tensors, n, family->schema, family->check_config, &s);
    if (rc == ZLLM_OK) rc = check_tokens(&s);
    if (rc == ZLLM_OK) rc = family->check(&s);
    if (rc == ZLLM_OK) rc = make(heap, &s, family, k, out);
    zllm_source_free(&s);
    zllm_description_free(&d);
    return rc;
}

static zllm_result read_file(heap_t *heap, const uint8_t *data, size_t size, const zllm_kernel *k, zllm_model **out) {
    zllm_model_file *file;
    size_t n, length;
    zllm_result rc = zllm_zlm_open(heap, data, size, &file);
    if (rc != ZLLM_OK) return rc;
    const zllm_tensor *tensors = zllm_model_file_tensors(file, &n);
    const char *description = zllm_model_file_description(file, &length);
    if (zllm_model_file_size(file) == size) rc = read_model(heap, description, length, tensors, n, k, out);
    else rc = zllm_refuse("bad model file: its tensors do not fill it");
    zllm_model_file_free(file);
    return rc;
}

/* The kernel of that name, if it can be trusted, and a heap: the model's, if one comes of it. */
static zllm_result begin(const char *kernel, const zllm_options *options, const zllm_kernel **k, heap_t **heap) {
    *heap = NULL;
    zllm_result rc = zllm_kernel_find(kernel, k);
    if (rc == ZLLM_OK) rc = zllm_kernel_trusted(*k);
    if (rc == ZLLM_OK) rc = zllm_heap_open(options, heap);
    return rc;
}

zllm_result zllm_model_new(const char *description, size_t description_size, const zllm_tensor *tensors, size_t n,
                           const char *kernel, const zllm_options *options, zllm_model **out) {
    const zllm_kernel *k;
    heap_t *heap;
    *out = NULL;
    zllm_result rc = begin(kernel, options, &k, &heap);
    if (rc == ZLLM_OK) rc = read_model(heap, description, description_size, tensors, n, k, out);
    if (rc != ZLLM_OK) zllm_heap_close(heap);
    return rc;
}

zllm_result zllm_model_parse(const uint8_t *data, size_t size, const char *kernel, const zllm_options *options,
                             zllm_model **out) {
    const zllm_kernel *k;
    heap_t *heap;
    *out = NULL;
    zllm_result rc = begin(kernel, options, &k, &heap);
    if (rc == ZLLM_OK) rc = read_file(heap, data, size, k, out);
    if (rc != ZLLM_OK) zllm_heap_close(heap);
    return rc;
}

void zllm_model_free(zllm_model *m) {
    if (m == NULL) return;
    heap_t *heap = m->heap;
    release(m);
    zllm_heap_close(heap);
}

const char *zllm_model_kernel(const zllm_model *m) { return m->kernel->name; }

uint32_t zllm_model_vocab(const zllm_model *m) { return m->vocab; }

uint32_t zllm_model_outputs(const zllm_model *m) { return model_outputs(m); }

/* Tokens ascend by their bytes, and every single byte is one: the first is the byte 0. */
uint32_t zllm_model_start(const zllm_model *m) { return m->network->inputs > m->vocab ? m->vocab : 0; }

size_t zllm_model_memory(const zllm_model *m) { return m->memory + m->network->memory; }

size_t zllm_stream_memory(const zllm_model *m) { return m->network->family->lane_memory(m->network); }

int zllm_schema(const char *family, size_t i, zllm_schema_row *out) {
    const network_family_t *f = family_named(family, strlen(family));
    return f == NULL ? 0 : zllm_schema_entry(f->schema, i, out);
}
