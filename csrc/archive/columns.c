#include "archive/columns.h"

#include "archive/limits.h"

#define WHAT "the section map"

enum { JOINT, RAW, ZSTD, MIXED };

typedef struct {
    uint64_t size, coded;
    uint8_t kind;
} row_t;

typedef struct {
    row_t *rows;
    size_t n;
    uint64_t decoded; /* bytes of all columns of kinds 2 and 3 */
} table_t;

static zllm_result malformed(problem_t *p) { return DAMAGED(p, "%s is damaged: its columns make no sense", WHAT); }

/* What the joint part says of each column, before any is decoded. */
static zllm_result read_table(bytes_t *inner, uint64_t packed, uint64_t limit, table_t *t, problem_t *p) {
    uint64_t total = 0, mixed = 0;
    for (size_t i = 0; i < t->n; i++) {
        row_t *row = &t->rows[i];
        const uint64_t field = bytes_varint(inner, limit << 2 | 3);
        row->size = row->coded = field >> 2;
        row->kind = field & 3;
        if (row->kind >= ZSTD) {
            row->coded = bytes_varint(inner, MAX_MAP);
            t->decoded += row->size;
        }
        if (inner->bad || (row->kind == MIXED && row->size > MAX_MIXED)) return malformed(p);
        total += row->size;
        mixed += row->kind == MIXED ? row->size : 0;
        if (total > limit) return DAMAGED(p, "%s is damaged: it unpacks to more than it says", WHAT);
    }
    if (mixed > FREE_MIXED + MAX_MIXED_RATIO * packed)
        return DAMAGED(p, "%s is damaged: %llu bytes claim too much text", WHAT, (unsigned long long)packed);
    return ZLLM_OK;
}

static zllm_result read_column(columns_t *c, const row_t *row, bytes_t *inner, bytes_t *outer, uint8_t *to,
                               const decoding_t *d, bytes_t *out, problem_t *p) {
    const uint8_t *from = bytes_take(row->kind == JOINT ? inner : outer, row->coded);
    if (from == NULL) return malformed(p);
    *out = bytes_of(row->kind >= ZSTD ? to : from, (size_t)row->size);
    if (row->kind == ZSTD)
        return zllm_unpack_zstd(c->heap, from, (size_t)row->coded, to, (size_t)row->size, WHAT, p);
    if (row->kind == MIXED)
        return zllm_unpack_cm(d, from, (size_t)row->coded, to, (size_t)row->size, NULL, 0, 0, WHAT, p);
    return ZLLM_OK;
}

static zllm_result read_columns(columns_t *c, const table_t *t, bytes_t *inner, bytes_t *outer, const decoding_t *d,
                                problem_t *p) {
    c->n = t->n;
    c->column = zllm_heap_zeroed(c->heap, t->n + 1, sizeof *c->column);
    c->decoded = zllm_heap_take(c->heap, (size_t)t->decoded + 1);
    if (c->column == NULL || c->decoded == NULL) return NO_MEMORY(p);
    uint8_t *to = c->decoded;
    for (size_t i = 0; i < t->n; i++) {
        const zllm_result rc = read_column(c, &t->rows[i], inner, outer, to, d, &c->column[i], p);
        if (rc != ZLLM_OK) return rc;
        if (t->rows[i].kind >= ZSTD) to += t->rows[i].size;
    }
    return bytes_left(inner) == 0 && bytes_left(outer) == 0 ? ZLLM_OK : malformed(p);
}

zllm_result zllm_columns_read(heap_t *heap, const uint8_t *set, size_t size, uint64_t limit, const decoding_t *decoding,
                              columns_t *out, problem_t *p) {
    bytes_t outer = bytes_of(set, size), inner;
    table_t t = {0};
    *out = (columns_t){.heap = heap};
    const uint64_t joint_size = bytes_varint(&outer, limit + 20 * MAX_COLUMNS), coded = bytes_varint(&outer, MAX_MAP);
    const uint8_t *packed = bytes_take(&outer, coded);
    if (packed == NULL) return malformed(p);
    out->joint = zllm_heap_take(heap, (size_t)joint_size + 1);
    if (out->joint == NULL) return NO_MEMORY(p);
    zllm_result rc = zllm_inflate(heap, packed, (size_t)coded, out->joint, (size_t)joint_size, WHAT, p);
    if (rc != ZLLM_OK) return rc;
    inner = bytes_of(out->joint, (size_t)joint_size);
    t.n = (size_t)bytes_varint(&inner, MAX_COLUMNS);
    t.rows = zllm_heap_zeroed(heap, t.n + 1, sizeof *t.rows);
    if (t.rows == NULL) return NO_MEMORY(p);
    rc = inner.bad ? malformed(p) : read_table(&inner, size, limit, &t, p);
    if (rc == ZLLM_OK) rc = read_columns(out, &t, &inner, &outer, decoding, p);
    zllm_heap_free(heap, t.rows);
    return rc;
}

void zllm_columns_free(columns_t *c) {
    zllm_heap_free(c->heap, c->column);
    zllm_heap_free(c->heap, c->decoded);
    zllm_heap_free(c->heap, c->joint);
    *c = (columns_t){.heap = c->heap};
}
