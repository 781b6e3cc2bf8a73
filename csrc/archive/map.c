#include "archive/map.h"

#include <stdlib.h>

#define WHAT "the section map"
#define FIXED_COLUMNS 16u
#define SMALL_UP_TO 8192u

enum { HAS_HEADER = 1, DATA_AS_SAID = 2, ZEROS_AS_SAID = 4 };
enum {
    COUNT = 0, SHAPES, DATA_SIZES, ZEROS, BUCKETS, REPETITIONS, HASHES, CATEGORIES, GROUP_BUCKETS, FRAME_SIZES,
    PAYLOAD_SIZES, CODECS, SLOTS, REASONS, RIVALS, FRAME_HASHES
};

typedef struct {
    map_t *m;
    columns_t columns;
    const section_facts_t *facts;
    const zllm_limits *limits;
    uint64_t *filled; /* bytes of each bucket, then where its pieces begin */
    uint8_t *small;   /* of each bucket: it has data of a small record */
    size_t buckets;
} reading_t;

static bytes_t *column(reading_t *r, int number) { return &r->columns.column[number]; }

/* Records. */

static zllm_result read_record(reading_t *r, headers_t *headers, uint8_t shape, uint64_t *left, record_t *out,
                               problem_t *p) {
    uint64_t said = 0;
    if (shape & HAS_HEADER) {
        size_t size;
        const uint64_t at = r->m->blocks_size;
        const zllm_result rc = zllm_headers_next(headers, &size, p);
        if (rc != ZLLM_OK) return rc;
        said = zllm_data_size(zllm_headers_blocks(headers) + at, size);
        out->headers_at = at;
        out->headers_size = (uint32_t)size;
        r->m->blocks_size += size;
        r->m->members += size > 0;
    }
    const uint64_t data = shape & DATA_AS_SAID ? said : bytes_varint(column(r, DATA_SIZES), UINT64_MAX);
    const uint64_t expected = said > INT64_MAX - BLOCK ? 0 : padded(said) - said;
    const uint64_t zeros = shape & ZEROS_AS_SAID ? expected : bytes_varint(column(r, ZEROS), UINT64_MAX);
    if (column(r, DATA_SIZES)->bad || column(r, ZEROS)->bad || data > *left || zeros > *left - data ||
        out->headers_size > *left - data - zeros)
        return DAMAGED(p, "%s is damaged: its records do not fit the section", WHAT);
    out->at = r->facts->size - *left;
    out->data_size = (uint32_t)data;
    out->zeros = (uint32_t)zeros;
    out->bucket = out->duplicate_of = -1;
    *left -= data + zeros + out->headers_size;
    return ZLLM_OK;
}

static zllm_result read_all_records(reading_t *r, headers_t *headers, problem_t *p) {
    const bytes_t *shapes = column(r, SHAPES);
    uint64_t left = r->facts->size;
    for (size_t i = 0; i < r->m->n_records; i++) {
        const uint8_t shape = shapes->size > 0 ? shapes->data[i] : 7;
        if (shape > 7) return DAMAGED(p, "%s is damaged: a record of an unknown shape", WHAT);
        const zllm_result rc = read_record(r, headers, shape, &left, &r->m->records[i], p);
        if (rc != ZLLM_OK) return rc;
    }
    if (left > 0 || bytes_left(column(r, DATA_SIZES)) > 0 || bytes_left(column(r, ZEROS)) > 0)
        return DAMAGED(p, "%s is damaged: its records are not the section's bytes", WHAT);
    return zllm_headers_end(headers, &r->m->blocks, &r->m->blocks_size, p);
}

static zllm_result read_records(reading_t *r, uint64_t packed, problem_t *p) {
    const bytes_t *of_headers = r->columns.column + FIXED_COLUMNS;
    bytes_t *counts = column(r, COUNT);
    headers_t *headers = NULL;
    const uint64_t count = bytes_varint(counts, UINT64_MAX);
    const uint64_t parts = zllm_headers_parts(of_headers) + column(r, CODECS)->size;
    const uint64_t most = limit_of_parts(r->limits, packed);
    if (counts->bad || bytes_left(counts) > 0 || count > r->facts->size || count > r->limits->records)
        return DAMAGED(p, "%s is damaged: impossible number of records", WHAT);
    if (count + parts > most)
        return DAMAGED(p, "%s is damaged: it claims more records and header blocks than fit it", WHAT);
    if (column(r, SHAPES)->size != 0 && column(r, SHAPES)->size != count)
        return DAMAGED(p, "%s is damaged: its records make no sense", WHAT);
    r->m->n_records = (size_t)count;
    r->m->records = zllm_heap_zeroed(r->m->heap, (size_t)count + 1, sizeof *r->m->records);
    if (r->m->records == NULL) return NO_MEMORY(p);
    zllm_result rc = zllm_headers_open(r->m->heap, of_headers, r->limits, r->facts->size, &headers, p);
    if (rc == ZLLM_OK) rc = read_all_records(r, headers, p);
    zllm_headers_close(headers);
    return rc;
}

/* Which bucket has the data of each record, or which earlier record. */
static zllm_result place_records(reading_t *r, problem_t *p) {
    bytes_t *buckets = column(r, BUCKETS), *back = column(r, REPETITIONS);
    for (size_t i = 0; i < r->m->n_records; i++) {
        record_t *record = &r->m->records[i];
        if (record->data_size == 0) continue;
        record->bucket = (int32_t)bytes_varint(buckets, INT32_MAX) - 1;
        if (record->bucket >= 0) continue;
        const uint64_t distance = bytes_varint(back, UINT32_MAX) + 1;
        const record_t *first = distance <= i ? &r->m->records[i - distance] : NULL;
        if (buckets->bad || back->bad || first == NULL || first->bucket < 0 || first->data_size != record->data_size)
            return DAMAGED(p, "%s is damaged: a repeated member repeats nothing", WHAT);
        record->duplicate_of = (int32_t)(i - distance);
    }
    if (buckets->bad || back->bad || bytes_left(buckets) > 0 || bytes_left(back) > 0)
        return DAMAGED(p, "%s is damaged: its pieces do not fit its records", WHAT);
    return ZLLM_OK;
}

/* Whether the SHA-256 of this record's member is stored with it. */
static int is_hashed(const reading_t *r, size_t i) {
    const record_t *record = &r->m->records[i];
    const int whole = !(r->facts->flags & SECTION_CONTINUES && i == r->m->n_records - 1);
    const int large = (r->facts->flags & SECTION_CONTINUED && i == 0) || record->data_size > SMALL_UP_TO;
    return record->duplicate_of < 0 && whole && large;
}

static zllm_result place_hashes(reading_t *r, bytes_t *hashes, problem_t *p) {
    for (size_t i = 0; i < r->m->n_records; i++) {
        record_t *record = &r->m->records[i];
        if (record->data_size == 0) continue;
        if (record->duplicate_of >= 0) record->sha256 = r->m->records[record->duplicate_of].sha256;
        else if (is_hashed(r, i)) record->sha256 = bytes_take(hashes, SHA256_SIZE);
    }
    if (hashes->bad || bytes_left(hashes) > 0) return DAMAGED(p, "%s is damaged: its hashes do not fit its records", WHAT);
    return ZLLM_OK;
}

/* Frames and groups. */

static zllm_result read_frames(reading_t *r, problem_t *p) {
    map_t *m = r->m;
    bytes_t *data = column(r, FRAME_SIZES), *payload = column(r, PAYLOAD_SIZES), *rivals = column(r, RIVALS);
    const size_t n = column(r, CODECS)->size;
    uint64_t total = 0, start = 0;
    if (n > MAX_FRAMES || column(r, SLOTS)->size != n || column(r, REASONS)->size != n)
        return DAMAGED(p, "%s is damaged: its columns differ in length", WHAT);
    m->n_frames = n;
    m->frames = zllm_heap_zeroed(m->heap, n + 1, sizeof *m->frames);
    if (m->frames == NULL) return NO_MEMORY(p);
    for (size_t i = 0; i < n; i++) {
        frame_row_t *f = &m->frames[i];
        f->start = start;
        f->data_size = (uint32_t)bytes_varint(data, WINDOW);
        f->payload_size = (uint32_t)bytes_varint(payload, MAX_PAYLOAD);
        f->codec = column(r, CODECS)->data[i];
        f->slot = column(r, SLOTS)->data[i];
        (void)bytes_varint(rivals, UINT64_MAX);
        total += f->payload_size;
        start += f->data_size;
        if (data->bad || payload->bad || rivals->bad || f->data_size == 0 || total > MAX_PAYLOAD)
            return DAMAGED(p, "%s is damaged: impossible size of a frame", WHAT);
    }
    if (bytes_left(data) > 0 || bytes_left(payload) > 0 || bytes_left(rivals) > 0)
        return DAMAGED(p, "%s is damaged: its columns differ in length", WHAT);
    return ZLLM_OK;
}

static zllm_result fill_buckets(reading_t *r, problem_t *p) {
    bytes_t counts = *column(r, GROUP_BUCKETS);
    uint64_t total = 0;
    while (bytes_left(&counts) > 0 && !counts.bad) {
        total += bytes_varint(&counts, r->m->n_records);
        if (total > r->m->n_records) counts.bad = 1;
    }
    if (counts.bad) return DAMAGED(p, "%s is damaged: its groups make no sense", WHAT);
    r->buckets = (size_t)total;
    r->filled = zllm_heap_zeroed(r->m->heap, r->buckets + 1, sizeof *r->filled);
    r->small = zllm_heap_zeroed(r->m->heap, r->buckets + 1, 1);
    if (r->filled == NULL || r->small == NULL) return NO_MEMORY(p);
    for (size_t i = 0; i < r->m->n_records; i++) {
        const record_t *record = &r->m->records[i];
        if (record->bucket < 0) continue;
        if ((uint64_t)record->bucket >= total) return DAMAGED(p, "%s is damaged: a piece is in no group", WHAT);
        r->filled[record->bucket] += record->data_size;
        r->small[record->bucket] |= record->data_size <= SMALL_UP_TO;
    }
    return ZLLM_OK;
}

/* Give each group its frames: as many as its pieces' sizes add up to; and those their hashes. */
static zllm_result read_groups(reading_t *r, bytes_t *hashes, problem_t *p) {
    bytes_t *kinds = column(r, CATEGORIES), *counts = column(r, GROUP_BUCKETS);
    size_t frame = 0, bucket = 0, groups = 0;
    for (; bytes_left(counts) > 0; groups++) {
        const uint64_t n = bytes_varint(counts, r->m->n_records);
        uint64_t left = 0;
        int small = 0;
        for (uint64_t i = 0; i < n; i++, bucket++) {
            left += r->filled[bucket];
            small |= r->small[bucket];
        }
        (void)bytes_varint(kinds, UINT64_MAX);
        for (; left > 0; frame++) {
            if (frame == r->m->n_frames || r->m->frames[frame].data_size > left)
                return DAMAGED(p, "%s is damaged: frames and members differ in size", WHAT);
            left -= r->m->frames[frame].data_size;
            if (small) r->m->frames[frame].hash = bytes_take(hashes, FRAME_HASH_SIZE);
        }
    }
    if (kinds->bad || bytes_left(kinds) > 0 || groups > r->m->n_frames || frame < r->m->n_frames)
        return DAMAGED(p, "%s is damaged: its groups make no sense", WHAT);
    /* What is left are hashes of runs, which are asked for where a frame is damaged. */
    if (hashes->bad || bytes_left(hashes) % RUN_HASH_SIZE > 0)
        return DAMAGED(p, "%s is damaged: its hashes do not fit its frames", WHAT);
    r->m->runs_size = bytes_left(hashes);
    r->m->runs = bytes_take(hashes, r->m->runs_size);
    return ZLLM_OK;
}

static int ascending(const void *a, const void *b) {
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Where each piece is. A bucket's pieces are in the order of the stream. */
static zllm_result place_pieces(reading_t *r, problem_t *p) {
    map_t *m = r->m;
    uint64_t at = 0;
    for (size_t i = 0; i < r->buckets; i++) {
        const uint64_t size = r->filled[i];
        r->filled[i] = at;
        at += size;
    }
    m->boundaries = zllm_heap_take(m->heap, (m->n_records + 1) * sizeof *m->boundaries);
    if (m->boundaries == NULL) return NO_MEMORY(p);
    for (size_t i = 0; i < m->n_records; i++) {
        record_t *record = &m->records[i];
        if (record->duplicate_of >= 0) record->piece = m->records[record->duplicate_of].piece;
        if (record->bucket < 0) continue;
        record->piece = r->filled[record->bucket];
        r->filled[record->bucket] += record->data_size;
        m->boundaries[m->n_boundaries++] = record->piece;
    }
    if (m->n_boundaries > 1) qsort(m->boundaries, m->n_boundaries, sizeof *m->boundaries, ascending);
    return ZLLM_OK;
}

/* The columns of hashes outlive the others. */
static zllm_result keep_hashes(reading_t *r, bytes_t *of_records, bytes_t *of_frames, problem_t *p) {
    const bytes_t *first = column(r, HASHES), *second = column(r, FRAME_HASHES);
    r->m->hashes = zllm_heap_take(r->m->heap, first->size + second->size + 1);
    if (r->m->hashes == NULL) return NO_MEMORY(p);
    if (first->size > 0) memcpy(r->m->hashes, first->data, first->size);
    if (second->size > 0) memcpy(r->m->hashes + first->size, second->data, second->size);
    *of_records = bytes_of(r->m->hashes, first->size);
    *of_frames = bytes_of(r->m->hashes + first->size, second->size);
    return ZLLM_OK;
}

static zllm_result read_map(reading_t *r, uint64_t packed, problem_t *p) {
    bytes_t of_records, of_frames;
    if (r->columns.n != FIXED_COLUMNS + HEADER_COLUMNS)
        return DAMAGED(p, "%s is damaged: it has %zu columns", WHAT, r->columns.n);
    zllm_result rc = read_records(r, packed, p);
    if (rc == ZLLM_OK) rc = place_records(r, p);
    if (rc == ZLLM_OK) rc = keep_hashes(r, &of_records, &of_frames, p);
    if (rc == ZLLM_OK) rc = place_hashes(r, &of_records, p);
    if (rc == ZLLM_OK) rc = read_frames(r, p);
    if (rc == ZLLM_OK) rc = fill_buckets(r, p);
    if (rc == ZLLM_OK) rc = read_groups(r, &of_frames, p);
    return rc == ZLLM_OK ? place_pieces(r, p) : rc;
}

zllm_result zllm_map_read(heap_t *heap, const uint8_t *map, size_t size, const section_facts_t *facts,
                          const zllm_limits *limits, const decoding_t *decoding, map_t *out, problem_t *p) {
    reading_t r = {.m = out, .facts = facts, .limits = limits};
    *out = (map_t){.heap = heap};
    r.columns.heap = heap;
    if (facts->columns_size > limit_of_map(limits, size))
        return DAMAGED(p, "%s is damaged: %zu bytes claim to unpack to %llu", WHAT, size,
                       (unsigned long long)facts->columns_size);
    zllm_result rc = zllm_columns_read(heap, map, size, facts->columns_size, decoding, &r.columns, p);
    if (rc == ZLLM_OK) rc = read_map(&r, size, p);
    zllm_heap_free(heap, r.filled);
    zllm_heap_free(heap, r.small);
    zllm_columns_free(&r.columns);
    return rc;
}

void zllm_map_free(map_t *m) {
    zllm_heap_free(m->heap, m->blocks);
    zllm_heap_free(m->heap, m->records);
    zllm_heap_free(m->heap, m->frames);
    zllm_heap_free(m->heap, m->boundaries);
    zllm_heap_free(m->heap, m->hashes);
    *m = (map_t){.heap = m->heap};
}

const uint64_t *zllm_map_pieces(const map_t *m, uint64_t from, uint64_t end, size_t *n) {
    size_t bounds[2];
    for (int i = 0; i < 2; i++) {
        const uint64_t wanted = i == 0 ? from : end;
        size_t low = 0, high = m->n_boundaries;
        while (low < high) {
            const size_t middle = low + (high - low) / 2;
            if (m->boundaries[middle] < wanted) low = middle + 1;
            else high = middle;
        }
        bounds[i] = low;
    }
    *n = bounds[1] > bounds[0] ? bounds[1] - bounds[0] : 0;
    return m->boundaries + bounds[0];
}

size_t zllm_map_first_piece(const map_t *m, uint64_t at) {
    size_t n;
    const size_t behind = (size_t)(zllm_map_pieces(m, at + 1, UINT64_MAX, &n) - m->boundaries);
    return behind > 0 ? behind - 1 : 0;
}

envelope_t zllm_frame_envelope(const frame_row_t *f, uint64_t number) {
    return (envelope_t){.kind = KIND_FRAME, .number = number, .length = frame_front_size(f) + f->payload_size};
}
