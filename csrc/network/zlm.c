#include "network/zlm.h"

#include <stdlib.h>
#include <string.h>

#include "network/refusal.h"

#define NOT_ONE "not a model file: "
#define BAD "bad model file: "

struct zllm_model_file {
    heap_t *heap;
    int own; /* whether the heap ends with the file */
    json_t header;
    description_t description;
    const json_value_t *text; /* the description */
    zllm_tensor *tensors;
    size_t n_tensors;
    uint64_t size;
};

static const struct {
    const char *name;
    size_t size;
} TYPES[] = {[ZLLM_I8] = {"I8", 1}, [ZLLM_U8] = {"U8", 1}, [ZLLM_I16] = {"I16", 2}, [ZLLM_I32] = {"I32", 4},
             [ZLLM_U32] = {"U32", 4}};

#define N_TYPES (sizeof TYPES / sizeof *TYPES)

size_t zllm_type_size(zllm_type type) { return (size_t)type < N_TYPES ? TYPES[type].size : 0; }
const char *zllm_type_name(zllm_type type) { return (size_t)type < N_TYPES ? TYPES[type].name : NULL; }

static zllm_result parse_json(json_t *json, heap_t *heap, const char *text, size_t size) {
    switch (zllm_json_parse(json, heap, text, size)) {
    case JSON_OK: return ZLLM_OK;
    case JSON_NO_MEMORY: return ZLLM_E_MEMORY;
    case JSON_TOO_LARGE: return zllm_refuse(NOT_ONE "bad header (too deep, too long or too much)");
    default: return zllm_refuse(NOT_ONE "bad header (not proper JSON)");
    }
}

static int has_kind(const json_value_t *object, const char *name, json_kind_t kind) {
    return zllm_json_member_of_kind(object, name, kind) != NULL;
}

/* Characters of UTF-8. */
static uint32_t characters(const json_value_t *string) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < string->size; i++) count += ((uint8_t)string->as.string[i] & 0xc0) != 0x80;
    return count;
}

zllm_result zllm_description_parse(heap_t *heap, const char *text, size_t size, description_t *out) {
    static const struct {
        const char *name;
        json_kind_t kind;
    } needed[] = {{"format", JSON_INTEGER}, {"name", JSON_STRING}, {"origin", JSON_STRING}, {"arithmetic", JSON_INTEGER},
                  {"config", JSON_OBJECT}, {"layers", JSON_ARRAY}, {"exponents", JSON_OBJECT}};
    *out = (description_t){0};
    const zllm_result rc = parse_json(&out->json, heap, text, size);
    const json_value_t *d = &out->json.root;
    if (rc != ZLLM_OK) return rc;
    CHECK(d->kind == JSON_OBJECT, BAD "no description");
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++)
        CHECK(has_kind(d, needed[i].name, needed[i].kind), BAD "its description has no proper '%s'", needed[i].name);
    const int64_t format = zllm_json_member(d, "format", 6)->as.integer;
    CHECK(format == ZLM_FORMAT, "model file format %lld is not %d, the one this program reads", (long long)format,
          ZLM_FORMAT);
    out->layers = zllm_json_member(d, "layers", 6);
    int proper = out->layers->size <= ZLM_MAX_LAYERS;
    for (uint32_t i = 0; proper && i < out->layers->size; i++) proper = out->layers->as.values[i].kind == JSON_OBJECT;
    CHECK(proper, BAD "its description has no proper 'layers'");
    CHECK(zllm_json_member(d, "tokenizer", 9) == NULL || has_kind(d, "tokenizer", JSON_OBJECT),
          BAD "its description has no proper 'tokenizer'");
    CHECK(characters(zllm_json_member(d, "name", 4)) <= ZLM_MAX_NAME &&
          characters(zllm_json_member(d, "origin", 6)) <= ZLM_MAX_NAME,
          BAD "a name or an origin of more than %u characters", ZLM_MAX_NAME);
    out->config = zllm_json_member(d, "config", 6);
    out->exponents = zllm_json_member(d, "exponents", 9);
    out->arithmetic = zllm_json_member(d, "arithmetic", 10)->as.integer;
    return ZLLM_OK;
}

void zllm_description_free(description_t *d) { zllm_json_free(&d->json); }

/* A list of so many sizes. */
static int sizes(const json_value_t *entry, const char *name, uint32_t least, uint32_t most, uint64_t *out) {
    const json_value_t *list = zllm_json_member_of_kind(entry, name, JSON_ARRAY);
    if (list == NULL || list->size < least || list->size > most) return 0;
    for (uint32_t i = 0; i < list->size; i++) {
        const json_value_t *v = &list->as.values[i];
        if (v->kind != JSON_INTEGER || v->as.integer < 0 || (uint64_t)v->as.integer > ZLM_MAX_FILE) return 0;
        out[i] = (uint64_t)v->as.integer;
    }
    return 1;
}

/* Type, shape and place. No size is above ZLM_MAX_FILE, so that sums of them fit. */
static int read_tensor(const json_value_t *entry, uint64_t start, zllm_tensor *out) {
    uint64_t offsets[2];
    const json_value_t *type = zllm_json_member_of_kind(entry, "dtype", JSON_STRING);
    if (type == NULL || entry->size != 3) return 0;
    *out = (zllm_tensor){.name = entry->key, .name_size = entry->key_size, .type = (zllm_type)N_TYPES};
    for (size_t i = 0; i < N_TYPES; i++)
        if (strlen(TYPES[i].name) == type->size && memcmp(TYPES[i].name, type->as.string, type->size) == 0)
            out->type = (zllm_type)i;
    out->size = zllm_type_size(out->type);
    if (out->size == 0 || !sizes(entry, "shape", 0, sizeof out->shape / sizeof *out->shape, out->shape)) return 0;
    if (!sizes(entry, "data_offsets", 2, 2, offsets)) return 0;
    out->dimensions = zllm_json_member(entry, "shape", 5)->size;
    for (uint32_t i = 0; i < out->dimensions; i++) {
        if (out->shape[i] > 0 && out->size > ZLM_MAX_FILE / out->shape[i]) return 0;
        out->size *= out->shape[i];
    }
    out->offset = start + offsets[0];
    return offsets[0] <= offsets[1] && offsets[1] - offsets[0] == out->size;
}

static int by_place(const void *left, const void *right) {
    const zllm_tensor *a = *(zllm_tensor *const *)left, *b = *(zllm_tensor *const *)right;
    if (a->offset != b->offset) return a->offset < b->offset ? -1 : 1;
    return (a->size > b->size) - (a->size < b->size);
}

/* The tensors lie one behind the other, from the header's end to the file's. */
static zllm_result check_places(zllm_model_file *f, uint64_t start) {
    const zllm_tensor **order = zllm_heap_zeroed(f->heap, f->n_tensors + 1, sizeof *order);
    zllm_result rc = order == NULL ? ZLLM_E_MEMORY : ZLLM_OK;
    for (size_t i = 0; rc == ZLLM_OK && i < f->n_tensors; i++) order[i] = &f->tensors[i];
    if (rc == ZLLM_OK) qsort(order, f->n_tensors, sizeof *order, by_place);
    f->size = start;
    for (size_t i = 0; rc == ZLLM_OK && i < f->n_tensors; i++) {
        if (order[i]->offset != f->size)
            rc = zllm_refuse(BAD "tensor %s does not start where the one before it ends",
                             zllm_quoted(order[i]->name, order[i]->name_size).text);
        f->size += order[i]->size;
    }
    zllm_heap_free(f->heap, order);
    if (rc == ZLLM_OK && f->size > ZLM_MAX_FILE) return zllm_refuse("larger than any model");
    return rc;
}

static zllm_result read_tensors(zllm_model_file *f, uint64_t start) {
    const json_value_t *root = &f->header.root;
    f->tensors = zllm_heap_zeroed(f->heap, root->size, sizeof *f->tensors);
    if (f->tensors == NULL) return ZLLM_E_MEMORY;
    for (uint32_t i = 0; i < root->size; i++) {
        const json_value_t *entry = &root->as.values[i];
        if (entry->key_size == 12 && memcmp(entry->key, "__metadata__", 12) == 0) continue;
        CHECK(read_tensor(entry, start, &f->tensors[f->n_tensors]), BAD "tensor %s does not fit its file",
              zllm_quoted(entry->key, entry->key_size).text);
        f->n_tensors++;
    }
    return check_places(f, start);
}

static zllm_result open_file(zllm_model_file *f, const uint8_t *front, size_t size) {
    uint64_t start = 0;
    zllm_result rc = zllm_model_file_front(front, size, &start);
    if (rc != ZLLM_OK) return rc;
    CHECK(start <= size, NOT_ONE "bad header length");
    rc = parse_json(&f->header, f->heap, (const char *)front + 8, (size_t)start - 8);
    if (rc != ZLLM_OK) return rc;
    const json_value_t *metadata = zllm_json_member_of_kind(&f->header.root, "__metadata__", JSON_OBJECT);
    f->text = metadata == NULL ? NULL : zllm_json_member_of_kind(metadata, "zllm", JSON_STRING);
    CHECK(f->text != NULL, NOT_ONE "bad header (no description)");
    rc = zllm_description_parse(f->heap, f->text->as.string, f->text->size, &f->description);
    if (rc == ZLLM_OK) rc = read_tensors(f, start);
    if (rc != ZLLM_OK) return rc;
    for (size_t i = 0; f->size == size && i < f->n_tensors; i++) f->tensors[i].data = front + f->tensors[i].offset;
    return ZLLM_OK;
}

zllm_result zllm_model_file_front(const uint8_t *front, size_t size, uint64_t *bytes) {
    uint64_t length = 0;
    CHECK(size >= 8, NOT_ONE "too short");
    for (int i = 0; i < 8; i++) length |= (uint64_t)front[i] << 8 * i;
    CHECK(length >= 2 && length <= ZLM_MAX_HEADER, NOT_ONE "bad header length");
    *bytes = 8 + length;
    return ZLLM_OK;
}

zllm_result zllm_zlm_open(heap_t *heap, const uint8_t *front, size_t size, zllm_model_file **out) {
    *out = NULL;
    zllm_model_file *f = zllm_heap_zeroed(heap, 1, sizeof *f);
    if (f == NULL) return ZLLM_E_MEMORY;
    f->heap = heap;
    const zllm_result rc = open_file(f, front, size);
    if (rc == ZLLM_OK) *out = f;
    else zllm_model_file_free(f);
    return rc;
}

zllm_result zllm_model_file_open(const uint8_t *front, size_t size, const zllm_options *options, zllm_model_file **out) {
    heap_t *heap;
    *out = NULL;
    zllm_result rc = zllm_heap_open(options, &heap);
    if (rc == ZLLM_OK) rc = zllm_zlm_open(heap, front, size, out);
    if (rc == ZLLM_OK) (*out)->own = 1;
    else zllm_heap_close(heap);
    return rc;
}

void zllm_model_file_free(zllm_model_file *f) {
    if (f == NULL) return;
    heap_t *heap = f->heap;
    const int own = f->own;
    zllm_json_free(&f->header);
    zllm_description_free(&f->description);
    zllm_heap_free(heap, f->tensors);
    zllm_heap_free(heap, f);
    if (own) zllm_heap_close(heap);
}

uint64_t zllm_model_file_size(const zllm_model_file *f) { return f->size; }

const char *zllm_model_file_description(const zllm_model_file *f, size_t *size) {
    *size = f->text->size;
    return f->text->as.string;
}

const zllm_tensor *zllm_model_file_tensors(const zllm_model_file *f, size_t *n) {
    *n = f->n_tensors;
    return f->tensors;
}
