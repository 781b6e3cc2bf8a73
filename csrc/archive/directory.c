#include "archive/directory.h"

#include "archive/unpack.h"
#include "network/json.h"

#define WHAT "the directory"
#define LEAST_MODEL 40u /* bytes that describe a model */
#define LEAST_ROW 4u
#define LEAST_OTHER 5u

typedef struct {
    heap_t *heap;
    const zllm_limits *limits;
    uint64_t before;
    model_said_t *models;
    uint64_t n_models;
    uint8_t *text;
    uint64_t text_size, members;
    const seen_t *seen;
    size_t n_seen;
} reading_t;

static zllm_result malformed(problem_t *p) { return DAMAGED(p, "%s is damaged: its numbers make no sense", WHAT); }

/* The models, and the text unpacked; `outer` ends up at the filters. */
static zllm_result read_front(reading_t *r, bytes_t *outer, problem_t *p) {
    const uint64_t size = outer->size;
    r->n_models = bytes_varint(outer, bytes_left(outer) / LEAST_MODEL);
    if (outer->bad || size > r->limits->directory_bytes) return malformed(p);
    r->models = zllm_heap_zeroed(r->heap, (size_t)r->n_models + 1, sizeof *r->models);
    if (r->models == NULL) return NO_MEMORY(p);
    for (uint64_t i = 0; i < r->n_models; i++) zllm_model_said_read(outer, &r->models[i]);
    r->text_size = bytes_varint(outer, lesser(r->limits->directory_bytes, FREE_DIRECTORY + MAX_DIRECTORY_RATIO * size));
    const uint64_t coded = bytes_varint(outer, MAX_DIRECTORY);
    const uint8_t *packed = bytes_take(outer, coded);
    if (packed == NULL) return malformed(p);
    r->text = zllm_heap_take(r->heap, (size_t)r->text_size + 1);
    if (r->text == NULL) return NO_MEMORY(p);
    return zllm_inflate(r->heap, packed, (size_t)coded, r->text, (size_t)r->text_size, WHAT, p);
}

/* What describes the models of a row, as it stands in the section; hashed as there. */
static zllm_result read_models(reading_t *r, bytes_t *text, section_facts_t *facts, problem_t *p) {
    uint8_t *raw;
    const model_said_t *chosen[MAX_MODELS];
    size_t size = 0;
    const uint64_t n = bytes_varint(text, MAX_MODELS);
    for (uint64_t i = 0; i < n && !text->bad; i++) {
        const uint64_t number = bytes_varint(text, UINT64_MAX);
        if (number >= r->n_models) return DAMAGED(p, "%s is damaged: a section needs a model that it does not name", WHAT);
        chosen[i] = &r->models[number];
        size += chosen[i]->raw_size;
    }
    if (text->bad) return malformed(p);
    raw = zllm_heap_take(r->heap, size + 1);
    if (raw == NULL) return NO_MEMORY(p);
    size = 0;
    for (uint64_t i = 0; i < n; size += chosen[i++]->raw_size) memcpy(raw + size, chosen[i]->raw, chosen[i]->raw_size);
    facts->n_models = (uint32_t)n;
    facts->models_hash = zllm_xxh3(raw, size, 0);
    zllm_heap_free(r->heap, raw);
    return ZLLM_OK;
}

static int same_facts(const section_facts_t *a, const section_facts_t *b) {
    return a->offset == b->offset && a->size == b->size && a->columns_size == b->columns_size && a->flags == b->flags &&
           a->n_models == b->n_models && a->models_hash == b->models_hash;
}

static zllm_result read_row(reading_t *r, bytes_t *text, uint64_t i, uint64_t *last, directory_t *out, problem_t *p) {
    const seen_t *seen = i < r->n_seen ? &r->seen[i] : NULL;
    seen_t row = {.offset = bytes_varint(text, MAX_OFFSET), .number = bytes_varint(text, MAX_OFFSET)};
    row.members = bytes_varint(text, MAX_RECORDS);
    row.length = bytes_varint(text, MAX_SECTION_HEADER + MAX_MAP);
    if (text->bad) return malformed(p);
    if (i > 0 && row.offset <= *last) return DAMAGED(p, "%s is damaged: its sections are not in order", WHAT);
    *last = row.offset;
    r->members += row.members;
    if (seen == NULL || seen->offset != row.offset || (seen->readable && seen->members != row.members)) out->same = 0;
    if (row.length == 0) return ZLLM_OK;
    row.frames = bytes_varint(text, MAX_FRAMES);
    row.frames_size = bytes_varint(text, MAX_OFFSET);
    zllm_result rc = zllm_section_facts_read(text, &row.facts, p);
    if (rc == ZLLM_OK) rc = read_models(r, text, &row.facts, p);
    if (rc != ZLLM_OK) return rc;
    if (seen == NULL || !seen->readable) return ZLLM_OK;
    if (seen->number != row.number || seen->length != row.length || seen->frames != row.frames ||
        seen->frames_size != row.frames_size || !same_facts(&seen->facts, &row.facts))
        out->same = 0;
    return ZLLM_OK;
}

static zllm_result read_others(reading_t *r, bytes_t *text, problem_t *p) {
    const uint64_t n = bytes_varint(text, lesser(bytes_left(text) / LEAST_OTHER, r->before / LEAST_PART));
    for (uint64_t i = 0; i < n && !text->bad; i++) {
        (void)bytes_take(text, 2);
        for (int k = 0; k < 3; k++) (void)bytes_varint(text, MAX_OFFSET);
    }
    return text->bad ? malformed(p) : ZLLM_OK;
}

/* Names that are deleted: of those this version knows nothing but that they are there. */
static zllm_result read_deleted(bytes_t *text, uint64_t *n, problem_t *p) {
    *n = bytes_varint(text, bytes_left(text));
    for (uint64_t i = 0; i < *n && !text->bad; i++) (void)bytes_take(text, bytes_varint(text, MAX_EXTENDED));
    return text->bad ? malformed(p) : ZLLM_OK;
}

static zllm_result check_manifest(reading_t *r, const bytes_t *text, problem_t *p) {
    json_t json = {0};
    const size_t size = bytes_left(text);
    if (size > MAX_MANIFEST) return DAMAGED(p, "%s is damaged: its manifest is too long", WHAT);
    const json_result_t rc = zllm_json_parse(&json, r->heap, (const char *)text->data + text->at, size);
    const int good = rc == JSON_OK && json.root.kind == JSON_OBJECT;
    zllm_json_free(&json);
    if (rc == JSON_NO_MEMORY) return NO_MEMORY(p);
    return good ? ZLLM_OK : DAMAGED(p, "%s is damaged: its manifest is not a JSON object", WHAT);
}

static zllm_result read_text(reading_t *r, const bytes_t *outer, directory_t *out, problem_t *p) {
    bytes_t text = bytes_of(r->text, (size_t)r->text_size);
    uint64_t last = 0, deleted = 0;
    out->generation = bytes_varint(&text, (uint64_t)1 << 32);
    (void)bytes_varint(&text, MAX_OFFSET);
    out->back = bytes_varint(&text, MAX_OFFSET);
    const uint64_t n = bytes_varint(&text, lesser(bytes_left(&text) / LEAST_ROW, r->before / LEAST_PART));
    zllm_result rc = text.bad ? malformed(p) : ZLLM_OK;
    out->same = n == r->n_seen;
    for (uint64_t i = 0; i < n && rc == ZLLM_OK; i++) rc = read_row(r, &text, i, &last, out, p);
    if (rc == ZLLM_OK) rc = read_others(r, &text, p);
    if (rc == ZLLM_OK) rc = read_deleted(&text, &deleted, p);
    if (rc == ZLLM_OK) rc = check_manifest(r, &text, p);
    if (rc != ZLLM_OK) return rc;
    if (bytes_left(outer) > 0 && bytes_left(outer) != r->members)
        return DAMAGED(p, "%s is damaged: its filters do not fit its members", WHAT);
    if (deleted == 0) return ZLLM_OK;
    if (out->generation == 0) return DAMAGED(p, "%s is damaged: the first generation deletes names", WHAT);
    return zllm_problem(p, ZLLM_E_VERSION,
                        "members were deleted from the archive, and this version of zllm cannot leave them out");
}

zllm_result zllm_directory_read(heap_t *heap, const uint8_t *body, size_t size, uint64_t before, const zllm_limits *limits,
                                const seen_t *seen, size_t n_seen, directory_t *out, problem_t *p) {
    reading_t r = {.heap = heap, .limits = limits, .before = before, .seen = seen, .n_seen = n_seen};
    bytes_t outer = bytes_of(body, size);
    zllm_result rc = read_front(&r, &outer, p);
    *out = (directory_t){0};
    if (rc == ZLLM_OK) rc = read_text(&r, &outer, out, p);
    zllm_heap_free(heap, r.models);
    zllm_heap_free(heap, r.text);
    return rc;
}
