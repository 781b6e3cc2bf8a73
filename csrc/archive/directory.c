#include "archive/directory.h"

#include "archive/unpack.h"
#include "network/json.h"

#define WHAT "the directory"
#define LEAST_MODEL 40u /* bytes that describe a model */
#define LEAST_ROW 4u
#define LEAST_OTHER 5u
#define MAX_DELETED ((uint64_t)4 << 20)
#define PROBES 5

static zllm_result malformed(problem_t *p) { return DAMAGED(p, "%s is damaged: its numbers make no sense", WHAT); }

/* The models, and the text unpacked; what is left are the filters. */
static zllm_result read_front(directory_t *d, size_t size, const zllm_limits *limits, problem_t *p) {
    bytes_t outer = bytes_of(d->body, size);
    d->n_models = bytes_varint(&outer, bytes_left(&outer) / LEAST_MODEL);
    if (outer.bad || size > limits->directory_bytes) return malformed(p);
    d->models = zllm_heap_zeroed(d->heap, (size_t)d->n_models + 1, sizeof *d->models);
    if (d->models == NULL) return NO_MEMORY(p);
    for (uint64_t i = 0; i < d->n_models; i++) zllm_model_said_read(&outer, &d->models[i]);
    const uint64_t text_size =
        bytes_varint(&outer, lesser(limits->directory_bytes, FREE_DIRECTORY + MAX_DIRECTORY_RATIO * (uint64_t)size));
    const uint64_t coded = bytes_varint(&outer, MAX_DIRECTORY);
    const uint8_t *packed = bytes_take(&outer, coded);
    if (packed == NULL) return malformed(p);
    d->text = zllm_heap_take(d->heap, (size_t)text_size + 1);
    if (d->text == NULL) return NO_MEMORY(p);
    d->rows = bytes_of(d->text, (size_t)text_size);
    d->filters = bytes_of(d->body + outer.at, bytes_left(&outer));
    return zllm_inflate(d->heap, packed, (size_t)coded, d->text, (size_t)text_size, WHAT, p);
}

static zllm_result read_row(const directory_t *d, bytes_t *text, row_t *out, problem_t *p) {
    *out = (row_t){.offset = bytes_varint(text, MAX_OFFSET), .number = bytes_varint(text, MAX_OFFSET)};
    out->members = bytes_varint(text, MAX_RECORDS);
    out->length = bytes_varint(text, MAX_SECTION_HEADER + MAX_MAP);
    if (text->bad) return malformed(p);
    if (out->length == 0) return ZLLM_OK;
    out->frames = bytes_varint(text, MAX_FRAMES);
    out->frames_size = bytes_varint(text, MAX_OFFSET);
    out->raw = text->data + text->at;
    const zllm_result rc = zllm_section_facts_read(text, &out->facts, p);
    if (rc != ZLLM_OK) return rc;
    out->raw_size = (size_t)(text->data + text->at - out->raw);
    out->facts.n_models = (uint32_t)bytes_varint(text, MAX_MODELS);
    for (uint32_t i = 0; i < out->facts.n_models && !text->bad; i++) {
        const uint64_t number = bytes_varint(text, UINT64_MAX);
        if (number >= d->n_models) return DAMAGED(p, "%s is damaged: a section needs a model that it does not name", WHAT);
        out->models[i] = &d->models[number];
    }
    return text->bad ? malformed(p) : ZLLM_OK;
}

static zllm_result read_rows(directory_t *d, bytes_t *text, uint64_t before, problem_t *p) {
    uint64_t last = 0;
    d->n_rows = bytes_varint(text, lesser(bytes_left(text) / LEAST_ROW, before / LEAST_PART));
    d->rows = *text;
    for (uint64_t i = 0; i < d->n_rows && !text->bad; i++) {
        row_t row;
        const zllm_result rc = read_row(d, text, &row, p);
        if (rc != ZLLM_OK) return rc;
        if (i > 0 && row.offset <= last) return DAMAGED(p, "%s is damaged: its sections are not in order", WHAT);
        last = row.offset;
        d->members += row.members;
    }
    return text->bad ? malformed(p) : ZLLM_OK;
}

void zllm_directory_other(bytes_t *others, other_t *out) {
    const uint8_t *front = bytes_take(others, 2);
    out->envelope.kind = front == NULL ? 0 : front[0];
    out->envelope.flags = front == NULL ? 0 : front[1];
    out->offset = bytes_varint(others, MAX_OFFSET);
    out->envelope.number = bytes_varint(others, MAX_OFFSET);
    out->envelope.length = bytes_varint(others, MAX_OFFSET);
}

static zllm_result read_others(directory_t *d, bytes_t *text, uint64_t before, problem_t *p) {
    other_t other;
    d->n_others = bytes_varint(text, lesser(bytes_left(text) / LEAST_OTHER, before / LEAST_PART));
    d->others = *text;
    for (uint64_t i = 0; i < d->n_others && !text->bad; i++) zllm_directory_other(text, &other);
    return text->bad ? malformed(p) : ZLLM_OK;
}

const uint8_t *zllm_directory_name(bytes_t *deleted, size_t *size) {
    *size = (size_t)bytes_varint(deleted, MAX_EXTENDED);
    return bytes_take(deleted, *size);
}

static int is_above(const uint8_t *name, size_t size, const uint8_t *last, size_t last_size) {
    const size_t common = size < last_size ? size : last_size;
    const int order = common > 0 ? memcmp(name, last, common) : 0;
    return order > 0 || (order == 0 && size > last_size);
}

static zllm_result read_deleted(directory_t *d, bytes_t *text, problem_t *p) {
    const uint8_t *last = NULL;
    size_t last_size = 0;
    d->n_deleted = bytes_varint(text, lesser(bytes_left(text), MAX_DELETED));
    d->deleted = *text;
    for (uint64_t i = 0; i < d->n_deleted && !text->bad; i++) {
        size_t size;
        const uint8_t *name = zllm_directory_name(text, &size);
        if (name != NULL && last != NULL && !is_above(name, size, last, last_size))
            return DAMAGED(p, "%s is damaged: its deleted names are not in order", WHAT);
        last = name;
        last_size = size;
    }
    d->deleted.size = text->at;
    if (text->bad) return malformed(p);
    return d->n_deleted > 0 && d->generation == 0
               ? DAMAGED(p, "%s is damaged: the first generation deletes names", WHAT)
               : ZLLM_OK;
}

static zllm_result check_manifest(const directory_t *d, const bytes_t *text, problem_t *p) {
    json_t json = {0};
    const size_t size = bytes_left(text);
    if (size > MAX_MANIFEST) return DAMAGED(p, "%s is damaged: its manifest is too long", WHAT);
    const json_result_t rc = zllm_json_parse(&json, d->heap, (const char *)text->data + text->at, size);
    const int good = rc == JSON_OK && json.root.kind == JSON_OBJECT;
    zllm_json_free(&json);
    if (rc == JSON_NO_MEMORY) return NO_MEMORY(p);
    return good ? ZLLM_OK : DAMAGED(p, "%s is damaged: its manifest is not a JSON object", WHAT);
}

static zllm_result read_text(directory_t *d, uint64_t before, problem_t *p) {
    bytes_t text = d->rows;
    d->generation = bytes_varint(&text, (uint64_t)1 << 32);
    d->time = bytes_varint(&text, MAX_OFFSET);
    d->back = bytes_varint(&text, MAX_OFFSET);
    zllm_result rc = text.bad ? malformed(p) : read_rows(d, &text, before, p);
    if (rc == ZLLM_OK) rc = read_others(d, &text, before, p);
    if (rc == ZLLM_OK) rc = read_deleted(d, &text, p);
    if (rc == ZLLM_OK) rc = check_manifest(d, &text, p);
    if (rc != ZLLM_OK) return rc;
    if (d->filters.size > 0 && d->filters.size != d->members)
        return DAMAGED(p, "%s is damaged: its filters do not fit its members", WHAT);
    return ZLLM_OK;
}

zllm_result zllm_directory_read(heap_t *heap, const uint8_t *body, size_t size, uint64_t before, const zllm_limits *limits,
                                directory_t *out, problem_t *p) {
    *out = (directory_t){.heap = heap, .body = zllm_heap_take(heap, size + 1)};
    if (out->body == NULL) return NO_MEMORY(p);
    if (size > 0) memcpy(out->body, body, size);
    const zllm_result rc = read_front(out, size, limits, p);
    return rc == ZLLM_OK ? read_text(out, before, p) : rc;
}

void zllm_directory_free(directory_t *d) {
    if (d->heap == NULL) return;
    zllm_heap_free(d->heap, d->body);
    zllm_heap_free(d->heap, d->text);
    zllm_heap_free(d->heap, d->models);
    *d = (directory_t){0};
}

void zllm_directory_row(const directory_t *d, bytes_t *rows, bytes_t *filters, row_t *out) {
    problem_t none;
    (void)read_row(d, rows, out, &none);
    out->filter = filters->size > 0 ? bytes_take(filters, out->members) : NULL;
}

/* What describes the models of a row, hashed as in a section. */
static uint64_t hash_of_models(const row_t *row) {
    uint8_t raw[MAX_MODELS * (SHA256_SIZE + ANSWER_SIZE + 2 * MAX_VARINT_BYTES + 2 * 256)];
    size_t size = 0;
    for (uint32_t i = 0; i < row->facts.n_models; size += row->models[i++]->raw_size)
        memcpy(raw + size, row->models[i]->raw, row->models[i]->raw_size);
    return zllm_xxh3(raw, size, 0);
}

static int same_section(const row_t *row, const seen_t *seen) {
    const section_facts_t *a = &row->facts, *b = &seen->facts;
    return seen->number == row->number && seen->length == row->length && seen->frames == row->frames &&
           seen->frames_size == row->frames_size && a->offset == b->offset && a->size == b->size &&
           a->columns_size == b->columns_size && a->flags == b->flags && a->n_models == b->n_models &&
           hash_of_models(row) == b->models_hash;
}

int zllm_directory_fits(const directory_t *d, const seen_t *seen, size_t n_seen, int *whole) {
    bytes_t rows = d->rows, filters = d->filters;
    int same = d->n_rows == n_seen;
    *whole = 1;
    for (uint64_t i = 0; i < d->n_rows; i++) {
        const seen_t *one = i < n_seen ? &seen[i] : NULL;
        row_t row;
        zllm_directory_row(d, &rows, &filters, &row);
        if (one == NULL || one->offset != row.offset) {
            same = *whole = 0;
            continue;
        }
        if (!one->readable) *whole = 0;
        else if (one->members != row.members || (row.length > 0 && !same_section(&row, one))) same = 0;
    }
    return same;
}

int zllm_filter_may_have(const uint8_t *filter, uint64_t size, uint32_t seed, const char *name, size_t name_size) {
    const uint64_t hash = zllm_xxh3(name, name_size, seed);
    const uint32_t step = (uint32_t)(hash >> 32) | 1;
    uint32_t at = (uint32_t)hash;
    if (size == 0) return 0;
    for (int i = 0; i < PROBES; i++, at += step) {
        const uint64_t bit = at * (8 * size) >> 32;
        if (!(filter[bit >> 3] >> (bit & 7) & 1)) return 0;
    }
    return 1;
}
