/* Data whose streams of deflate were unpacked, put together again by a plan (docs/media.md has its bytes). */
#include <string.h>

#include "cancel.h"
#include "media/payload.h"
#include "rebuild/deflate.h"

#define MOST_GROUPS 4096u
#define DATA_OF_STREAM 32u /* bytes of data in which there may be one stream more */
#define CHUNK_FRAME 12u    /* bytes of a PNG chunk beside its data */
#define MOST_PIXEL 8u

enum { COPY = 0, RAW_STREAM = 1, ZLIB_STREAM = 2, PNG_STREAM = 3 };

typedef struct {
    const uint8_t *at;
    size_t left;
} group_t;

typedef struct {
    heap_t *heap;
    reader_t plan;
    group_t *groups;
    size_t n_groups, streams;
    uint8_t *out;
    size_t room, at;
    uint8_t *filtered, *stream; /* of a PNG file, in work */
    uint32_t crcs[256];
    const volatile int32_t *cancel;
} join_t;

/* A stream of a plan. */
typedef struct {
    const uint8_t *data, *recipe;
    size_t size, recipe_size;
} piece_t;

static uint32_t adler32_of(const uint8_t *data, size_t n) {
    uint32_t a = 1, b = 0;
    for (size_t i = 0; i < n; i++) {
        a = (a + data[i]) % 65521u;
        b = (b + a) % 65521u;
    }
    return b << 16 | a;
}

static void make_crcs(uint32_t *crcs) {
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t value = i;
        for (uint32_t k = 0; k < 8; k++) value = value >> 1 ^ (value & 1 ? 0xedb88320u : 0);
        crcs[i] = value;
    }
}

static uint32_t crc32_of(const uint32_t *crcs, const uint8_t *data, size_t n) {
    uint32_t value = UINT32_MAX;
    for (size_t i = 0; i < n; i++) value = value >> 8 ^ crcs[(value ^ data[i]) & 255];
    return ~value;
}

static void put_big32(uint8_t *out, uint32_t value) {
    for (uint32_t i = 0; i < 4; i++) out[i] = (uint8_t)(value >> (24 - 8 * i));
}

static int paeth(int a, int b, int c) {
    const int p = a + b - c, pa = p < a ? a - p : p - a, pb = p < b ? b - p : p - b, pc = p < c ? c - p : p - c;
    return pa <= pb && pa <= pc ? a : pb <= pc ? b : c;
}

/* What a PNG filter adds to byte i of a row; `up` is NULL above the first one. */
static uint8_t expected(uint32_t filter, const uint8_t *row, const uint8_t *up, size_t i, size_t pixel) {
    const int a = i < pixel ? 0 : row[i - pixel], b = up == NULL ? 0 : up[i], c = up == NULL || i < pixel ? 0 : up[i - pixel];
    switch (filter) {
        case 1: return (uint8_t)a;
        case 2: return (uint8_t)b;
        case 3: return (uint8_t)((a + b) / 2);
        case 4: return (uint8_t)paeth(a, b, c);
        default: return 0;
    }
}

zllm_result zllm_png_unfilter(const uint8_t *filtered, size_t rows, size_t row, size_t pixel, uint8_t *filters,
                              uint8_t *pixels) {
    if (pixel < 1 || pixel > MOST_PIXEL) return ZLLM_E_ARGUMENT;
    for (size_t y = 0; y < rows; y++, filtered += row + 1, pixels += row) {
        filters[y] = filtered[0];
        if (filtered[0] > 4) return ZLLM_E_DATA;
        for (size_t i = 0; i < row; i++)
            pixels[i] = (uint8_t)(filtered[1 + i] + expected(filtered[0], pixels, y ? pixels - row : NULL, i, pixel));
    }
    return ZLLM_OK;
}

static void filter(const uint8_t *pixels, size_t rows, size_t row, size_t pixel, const uint8_t *filters, uint8_t *out) {
    for (size_t y = 0; y < rows; y++, pixels += row) {
        *out++ = filters[y];
        for (size_t i = 0; i < row; i++)
            *out++ = (uint8_t)(pixels[i] - expected(filters[y], pixels, y ? pixels - row : NULL, i, pixel));
    }
}

/* The next bytes of a group; NULL: there are fewer. */
static const uint8_t *take(join_t *j, uint64_t number, uint64_t size) {
    if (j->plan.bad || number >= j->n_groups || size > j->groups[number].left) return NULL;
    group_t *g = &j->groups[number];
    const uint8_t *data = g->at;
    g->at += size;
    g->left -= (size_t)size;
    return data;
}

static int read_recipe(join_t *j, piece_t *p) {
    const uint64_t size = read_number(&j->plan);
    if (j->plan.bad || size > j->plan.size - j->plan.at) return 0;
    p->recipe = j->plan.data + j->plan.at;
    p->recipe_size = (size_t)size;
    j->plan.at += (size_t)size;
    return j->streams++ <= j->room / DATA_OF_STREAM;
}

static zllm_result make(join_t *j, const piece_t *p, uint8_t *out, size_t *size) {
    return zllm_deflate_make(j->heap, p->recipe, p->recipe_size, p->data, p->size, out, size, j->cancel);
}

static zllm_result join_stream(join_t *j, uint64_t group, uint64_t size, int has_sum) {
    piece_t p = {.data = take(j, group, size), .size = (size_t)size};
    size_t made = j->room - j->at;
    if (p.data == NULL || !read_recipe(j, &p)) return ZLLM_E_DATA;
    const zllm_result rc = make(j, &p, j->out + j->at, &made);
    if (rc != ZLLM_OK) return rc;
    j->at += made;
    if (!has_sum) return ZLLM_OK;
    if (j->room - j->at < 4) return ZLLM_E_DATA;
    put_big32(j->out + j->at, adler32_of(p.data, p.size));
    j->at += 4;
    return ZLLM_OK;
}

/* Write a chunk of a PNG file. */
static int put_chunk(join_t *j, const uint8_t *data, size_t size) {
    if (j->room - j->at < CHUNK_FRAME || size > j->room - j->at - CHUNK_FRAME) return 0;
    uint8_t *out = j->out + j->at;
    put_big32(out, (uint32_t)size);
    memcpy(out + 4, "IDAT", 4);
    memcpy(out + 8, data, size);
    put_big32(out + 8 + size, crc32_of(j->crcs, out + 4, size + 4));
    j->at += size + CHUNK_FRAME;
    return 1;
}

/* A stream in chunks, all of one length but the last, or each of its own. */
static zllm_result put_chunks(join_t *j, size_t size) {
    const uint64_t packed = read_number(&j->plan), n = packed >> 1;
    const uint64_t each = packed & 1 || n < 2 ? 0 : read_number(&j->plan);
    size_t at = 0;
    if (j->plan.bad || n < 1) return ZLLM_E_DATA;
    for (uint64_t i = 0; i < n; i++) {
        const uint64_t wanted = i + 1 == n ? size - at : packed & 1 ? read_number(&j->plan) : each;
        if (j->plan.bad || wanted > size - at || !put_chunk(j, j->stream + at, (size_t)wanted)) return ZLLM_E_DATA;
        at += (size_t)wanted;
    }
    return ZLLM_OK;
}

/* The stream's data: as it is, or pixels of a group and their filters of the first one. */
static zllm_result take_rows(join_t *j, uint64_t group, uint64_t size, piece_t *p) {
    const uint64_t packed = read_number(&j->plan), row = packed >> 4, pixel = packed & 15;
    if (j->plan.bad) return ZLLM_E_DATA;
    p->size = (size_t)size;
    if (row == 0) {
        p->data = take(j, group, size);
        return p->data == NULL ? ZLLM_E_DATA : ZLLM_OK;
    }
    if (pixel < 1 || pixel > MOST_PIXEL || row > size || size % (row + 1)) return ZLLM_E_DATA;
    const uint64_t rows = size / (row + 1);
    const uint8_t *filters = take(j, 0, rows), *pixels = take(j, group, rows * row);
    if (filters == NULL || pixels == NULL) return ZLLM_E_DATA;
    for (uint64_t y = 0; y < rows; y++)
        if (filters[y] > 4) return ZLLM_E_DATA;
    j->filtered = zllm_heap_take(j->heap, p->size + 1);
    if (j->filtered == NULL) return ZLLM_E_MEMORY;
    filter(pixels, (size_t)rows, (size_t)row, (size_t)pixel, filters, j->filtered);
    p->data = j->filtered;
    return ZLLM_OK;
}

static zllm_result join_png(join_t *j, uint64_t group, uint64_t size) {
    piece_t p = {0};
    zllm_result rc = take_rows(j, group, size, &p);
    if (rc != ZLLM_OK) return rc;
    const uint64_t head = read_number(&j->plan);
    if (!read_recipe(j, &p) || head > 0xffff || j->room - j->at < CHUNK_FRAME + 6) return ZLLM_E_DATA;
    size_t made = j->room - j->at - CHUNK_FRAME - 6;
    j->stream = zllm_heap_take(j->heap, made + 6);
    if (j->stream == NULL) return ZLLM_E_MEMORY;
    j->stream[0] = (uint8_t)(head >> 8);
    j->stream[1] = (uint8_t)head;
    rc = make(j, &p, j->stream + 2, &made);
    if (rc != ZLLM_OK) return rc;
    put_big32(j->stream + 2 + made, adler32_of(p.data, p.size));
    return put_chunks(j, made + 6);
}

static zllm_result join_next(join_t *j) {
    const uint64_t packed = read_number(&j->plan), size = read_number(&j->plan), group = packed >> 2;
    zllm_result rc = ZLLM_OK;
    if (cancelled(j->cancel)) return ZLLM_E_CANCELLED;
    if ((packed & 3) == COPY) {
        const uint8_t *data = take(j, group, size);
        if (data == NULL || size > j->room - j->at) return ZLLM_E_DATA;
        memcpy(j->out + j->at, data, (size_t)size);
        j->at += (size_t)size;
    } else if ((packed & 3) == PNG_STREAM) {
        rc = join_png(j, group, size);
        zllm_heap_free(j->heap, j->filtered);
        zllm_heap_free(j->heap, j->stream);
        j->filtered = j->stream = NULL;
    } else {
        rc = join_stream(j, group, size, (packed & 3) == ZLIB_STREAM);
    }
    return rc;
}

/* The groups, which have all of the bytes. */
static zllm_result read_groups(join_t *j, const uint8_t *unpacked, size_t size) {
    const uint64_t n = read_number(&j->plan);
    if (j->plan.bad || n < 1 || n > MOST_GROUPS) return ZLLM_E_DATA;
    j->groups = zllm_heap_zeroed(j->heap, (size_t)n, sizeof *j->groups);
    if (j->groups == NULL) return ZLLM_E_MEMORY;
    j->n_groups = (size_t)n;
    for (size_t i = 0; i < j->n_groups; i++) {
        const uint64_t left = read_number(&j->plan);
        if (j->plan.bad || left > size) return ZLLM_E_DATA;
        j->groups[i] = (group_t){unpacked, (size_t)left};
        unpacked += left;
        size -= (size_t)left;
    }
    return size == 0 ? ZLLM_OK : ZLLM_E_DATA;
}

zllm_result zllm_rebuild_join(const uint8_t *plan, size_t plan_size, const uint8_t *unpacked, size_t unpacked_size,
                              uint8_t *out, size_t n, const volatile int32_t *cancel, const zllm_options *options) {
    join_t j = {.plan = {plan, plan_size, 0, 0}, .out = out, .room = n, .cancel = cancel};
    zllm_result rc = zllm_heap_open(options, &j.heap);
    if (rc != ZLLM_OK) return rc;
    make_crcs(j.crcs);
    rc = read_groups(&j, unpacked, unpacked_size);
    while (rc == ZLLM_OK && j.plan.at < j.plan.size) rc = join_next(&j);
    for (size_t i = 0; i < j.n_groups && rc == ZLLM_OK; i++)
        if (j.groups[i].left > 0) rc = ZLLM_E_DATA;
    if (rc == ZLLM_OK && j.at != n) rc = ZLLM_E_DATA;
    zllm_heap_free(j.heap, j.groups);
    zllm_heap_close(j.heap);
    return rc;
}

size_t zllm_rebuild_memory(uint64_t size, uint64_t unpacked) {
    return zllm_matcher_memory() + (size_t)(size + 9 * unpacked); /* a stream in chunks; its rows; tokens, growing */
}
