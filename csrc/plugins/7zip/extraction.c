#include <stdlib.h>
#include <string.h>

#include "plugins/7zip/archive.h"

#define PART ((size_t)1 << 20)
#define BLOCK 512u

enum { MODE_EXTRACT = 0, MODE_TEST = 1 };
enum { OUTCOME_OK = 0, OUTCOME_UNSUPPORTED = 1, OUTCOME_DATA = 2, OUTCOME_END = 5 };

typedef struct {
    opened_t *opened;
    extraction_t *callback;
    out_stream_t *out;  /* of the current item; NULL when testing */
    uint8_t *part;      /* PART bytes */
    uint64_t completed;
    result_t broken;    /* what 7-Zip's functions returned: it ends the work */
} run_t;

static int outcome_of(const run_t *r, zllm_result rc) {
    if (rc == ZLLM_OK) return OUTCOME_OK;
    complain("%s", zllm_archive_error(r->opened->archive));
    return rc == ZLLM_E_MISSING || rc == ZLLM_E_VERSION ? OUTCOME_UNSUPPORTED : rc == ZLLM_E_INPUT ? OUTCOME_END : OUTCOME_DATA;
}

static int give(run_t *r, const uint8_t *data, size_t size) {
    if (r->out != NULL) r->broken = write_fully(r->out, data, size);
    r->completed += size;
    if (r->broken == S_OK) r->broken = r->callback->table->completed(r->callback, &r->completed);
    return r->broken == S_OK;
}

static int give_zeros(run_t *r, uint64_t count) {
    memset(r->part, 0, PART);
    for (; count > 0; count -= count < PART ? count : PART)
        if (!give(r, r->part, count < PART ? (size_t)count : PART)) return 0;
    return 1;
}

/* Exactly so many bytes of the member's data. */
static zllm_result take(run_t *r, void *to, size_t size) {
    for (size_t done = 0; done < size;) {
        size_t part = size - done;
        const zllm_result rc = zllm_archive_read(r->opened->archive, (uint8_t *)to + done, &part);
        if (rc != ZLLM_OK) return rc;
        if (part == 0) return ZLLM_E_DAMAGED;
        done += part;
    }
    return ZLLM_OK;
}

static zllm_result give_data(run_t *r, uint64_t left) {
    while (left > 0) {
        size_t size = left < PART ? (size_t)left : PART;
        const zllm_result rc = zllm_archive_read(r->opened->archive, r->part, &size);
        if (rc != ZLLM_OK) return rc;
        if (size == 0 || !give(r, r->part, size)) return ZLLM_OK;
        left -= size;
    }
    return ZLLM_OK;
}

/* A map of holes is lines of decimal numbers, filled up to whole blocks: how many pieces, and of each the offset and length. */
typedef struct {
    run_t *run;
    uint8_t block[BLOCK];
    size_t at;
} map_t;

static zllm_result number(map_t *m, uint64_t *out) {
    *out = 0;
    for (int digits = 0; digits < 20; digits++) {
        if (m->at == BLOCK) {
            const zllm_result rc = take(m->run, m->block, BLOCK);
            if (rc != ZLLM_OK) return rc;
            m->at = 0;
        }
        const uint8_t c = m->block[m->at++];
        if (c == '\n' && digits > 0) return ZLLM_OK;
        if (c < '0' || c > '9') break;
        *out = *out * 10 + (c - '0');
    }
    return ZLLM_E_DAMAGED;
}

static zllm_result give_with_holes(run_t *r, uint64_t size) {
    map_t map = {.run = r, .at = BLOCK};
    uint64_t n, at = 0;
    zllm_result rc = number(&map, &n);
    if (rc != ZLLM_OK) return rc;
    if (n > ((uint64_t)1 << 20)) return ZLLM_E_LIMIT;
    uint64_t *pieces = malloc((size_t)n * 2 * sizeof *pieces + 1);
    if (pieces == NULL) return ZLLM_E_MEMORY;
    for (uint64_t i = 0; i < 2 * n && rc == ZLLM_OK; i++) rc = number(&map, &pieces[i]);
    for (uint64_t i = 0; i < n && rc == ZLLM_OK && r->broken == S_OK; i++) {
        const uint64_t offset = pieces[2 * i], length = pieces[2 * i + 1];
        if (offset < at || offset > size || length > size - offset) rc = ZLLM_E_DAMAGED;
        else if (give_zeros(r, offset - at)) rc = give_data(r, length);
        at = offset + length;
    }
    free(pieces);
    if (rc == ZLLM_OK && r->broken == S_OK) (void)give_zeros(r, size - at);
    return rc;
}

static zllm_result give_item(run_t *r, const item_t *item) {
    opened_t *a = r->opened;
    zllm_member member;
    zllm_result rc = ZLLM_OK;
    if (a->next != item->number) rc = zllm_archive_seek(a->archive, item->place);
    if (rc == ZLLM_OK) rc = zllm_archive_next(a->archive, &member);
    a->next = rc == ZLLM_OK ? item->number + 1 : SIZE_MAX;
    if (rc != ZLLM_OK) return rc;
    if (item->holes) return give_with_holes(r, item->size);
    return give_data(r, UINT64_MAX);
}

static int has_data(const item_t *item) {
    return item->kind == ZLLM_FILE || item->kind == ZLLM_OTHER || item->kind == ZLLM_RAW;
}

static result_t extract_item(run_t *r, uint32_t index, int32_t mode) {
    const item_t *item = &r->opened->items[index];
    int outcome = OUTCOME_OK;
    r->out = NULL;
    result_t rc = r->callback->table->stream(r->callback, index, &r->out, mode);
    if (rc != S_OK) return rc;
    if (mode == MODE_EXTRACT && r->out == NULL && item->kind != ZLLM_FOLDER) return S_OK; /* passed over, or a link */
    rc = r->callback->table->prepare(r->callback, mode);
    if (rc == S_OK && item->unknown_holes) {
        complain("%s: its holes are in a format that only tar knows", item->name);
        outcome = OUTCOME_UNSUPPORTED;
    } else if (rc == S_OK && has_data(item)) outcome = outcome_of(r, give_item(r, item));
    else if (rc == S_OK && item->kind == ZLLM_SYMBOLIC_LINK) (void)give(r, (const uint8_t *)item->link, item->link_size);
    if (r->out != NULL) (void)r->out->table->unknown.release(r->out);
    if (rc == S_OK) rc = r->broken;
    return rc == S_OK ? r->callback->table->outcome(r->callback, outcome) : rc;
}

result_t extract_items(opened_t *a, const uint32_t *indices, uint32_t n, int32_t testing, extraction_t *callback) {
    run_t r = {.opened = a, .callback = callback, .part = malloc(PART)};
    const int all = n == UINT32_MAX;
    uint64_t total = 0;
    if (r.part == NULL) return E_OUTOFMEMORY;
    if (all) n = (uint32_t)a->n;
    result_t rc = S_OK;
    for (uint32_t i = 0; i < n && rc == S_OK; i++) {
        const uint32_t index = all ? i : indices[i];
        if (index >= a->n) rc = E_INVALIDARG;
        else if (a->items[index].size != ZLLM_UNKNOWN) total += a->items[index].size;
    }
    if (rc == S_OK) rc = callback->table->total(callback, total);
    const int32_t mode = testing ? MODE_TEST : MODE_EXTRACT;
    for (uint32_t i = 0; i < n && rc == S_OK; i++) rc = extract_item(&r, all ? i : indices[i], mode);
    free(r.part);
    return rc;
}
