/* The layout of a file with one archive, by its directories. */
#include <stdlib.h>

#include "archive/layout.h"

#define STEP ((size_t)64 << 10)
#define FIRST_STEP ((size_t)256)
#define TAIL (MAX_ENVELOPE + MAX_VARINT_BYTES + CHECK_SIZE) /* most bytes of a footer */

typedef struct {
    directory_t directory;
    envelope_t envelope, footer;
    uint64_t place, end; /* of the directory; where the footer ends */
} ending_t;

typedef struct {
    zllm_archive *a;
    uint64_t start;
    uint32_t seed;
    ending_t *endings; /* the newest first */
    size_t n, room;
    uint64_t at, number, stream, members;
    other_t *others;   /* of a generation, by their places */
    size_t n_others, other;
} reading_t;

static zllm_result wrong(reading_t *r, const char *text) {
    return DAMAGED(&r->a->problem, "the directory is damaged: %s", text);
}

/* The envelope of the part of that kind at a place. */
static zllm_result read_envelope(reading_t *r, uint64_t place, uint8_t kind, envelope_t *out) {
    uint8_t data[MAX_ENVELOPE];
    size_t got;
    if (place < r->start + HEADER_SIZE) return wrong(r, "it is not where it should be");
    const zllm_result rc = zllm_input_at(&r->a->input, place, data, sizeof data, &got, &r->a->problem);
    if (rc != ZLLM_OK) return rc;
    if (!zllm_envelope_read(data, got, &r->seed, out) || out->kind != kind)
        return wrong(r, "another part is where it should be");
    return zllm_envelope_refusal(out, &r->a->problem);
}

/* The body of a part whose checksum holds, in memory that the caller frees. */
static zllm_result read_body(reading_t *r, uint64_t place, const envelope_t *e, uint8_t **out) {
    const uint64_t whole = envelope_whole(e);
    const size_t front = envelope_size(e);
    size_t got = 0;
    *out = NULL;
    if (whole > r->a->input.input.size) return wrong(r, "its checksum does not match");
    uint8_t *part = zllm_heap_take(r->a->heap, (size_t)whole);
    if (part == NULL) return NO_MEMORY(&r->a->problem);
    zllm_result rc = zllm_input_at(&r->a->input, place, part, (size_t)whole, &got, &r->a->problem);
    if (rc == ZLLM_OK && (got < whole || !zllm_part_holds(r->seed, part, front, part + front, got - front)))
        rc = wrong(r, "its checksum does not match");
    if (rc != ZLLM_OK) {
        zllm_heap_free(r->a->heap, part);
        return rc;
    }
    memmove(part, part + front, (size_t)e->length);
    *out = part;
    return ZLLM_OK;
}

/* Where all but zeros ends. */
static zllm_result find_end(reading_t *r, uint64_t *end) {
    uint8_t *data = zllm_heap_take(r->a->heap, STEP);
    size_t step = FIRST_STEP;
    zllm_result rc = data == NULL ? NO_MEMORY(&r->a->problem) : ZLLM_OK;
    *end = r->a->input.input.size;
    while (rc == ZLLM_OK && *end > r->start) {
        const uint64_t from = *end - r->start > step ? *end - step : r->start;
        size_t got, left;
        rc = zllm_input_at(&r->a->input, from, data, (size_t)(*end - from), &got, &r->a->problem);
        for (left = got; left > 0 && data[left - 1] == 0;) left--;
        *end = from + left;
        step = STEP;
        if (left > 0) break;
    }
    zllm_heap_free(r->a->heap, data);
    return rc;
}

static zllm_result read_footer(reading_t *r, uint64_t place, const envelope_t *e, uint64_t *distance) {
    uint8_t *body;
    const zllm_result rc = read_body(r, place, e, &body);
    if (rc != ZLLM_OK) return rc;
    bytes_t b = bytes_of(body, (size_t)e->length);
    *distance = bytes_varint(&b, MAX_OFFSET);
    const int good = !b.bad && bytes_left(&b) == 0 && *distance <= place;
    zllm_heap_free(r->a->heap, body);
    return good ? ZLLM_OK : wrong(r, "it is not where the footer says");
}

/* The footer before nothing but zeros. */
static zllm_result last_footer(reading_t *r, uint64_t *place, envelope_t *e, uint64_t *distance) {
    uint8_t data[TAIL + CHECK_SIZE];
    uint64_t end;
    size_t got;
    zllm_result rc = find_end(r, &end);
    if (rc != ZLLM_OK) return rc;
    const uint64_t first = end - r->start > TAIL ? end - TAIL : r->start;
    rc = zllm_input_at(&r->a->input, first, data, (size_t)(end - first) + CHECK_SIZE, &got, &r->a->problem);
    for (size_t at = got; rc == ZLLM_OK && at-- > 0;) {
        if (got - at < 3 || data[at] != SYNC_0 || data[at + 1] != SYNC_1 || data[at + 2] != KIND_FOOTER) continue;
        *place = first + at;
        rc = read_envelope(r, *place, KIND_FOOTER, e);
        const uint64_t behind = *place + (rc == ZLLM_OK ? envelope_whole(e) : 0);
        if (rc == ZLLM_OK && end <= behind && behind <= r->a->input.input.size)
            rc = read_footer(r, *place, e, distance);
        else if (rc == ZLLM_OK) rc = ZLLM_E_DAMAGED;
        if (rc != ZLLM_E_DAMAGED) return rc;
        rc = ZLLM_OK;
    }
    return rc == ZLLM_OK ? DAMAGED(&r->a->problem, "the footer is missing") : rc;
}

/* The directory at a place, whose footer is known. */
static zllm_result add_ending(reading_t *r, uint64_t place, uint64_t footer_at, const envelope_t *footer) {
    uint8_t *body;
    if (r->n == r->room) {
        ending_t *more = zllm_heap_zeroed(r->a->heap, 2 * r->room + 4, sizeof *more);
        if (more == NULL) return NO_MEMORY(&r->a->problem);
        if (r->n > 0) memcpy(more, r->endings, r->n * sizeof *more);
        zllm_heap_free(r->a->heap, r->endings);
        r->endings = more;
        r->room = 2 * r->room + 4;
    }
    ending_t *one = &r->endings[r->n];
    *one = (ending_t){.place = place, .footer = *footer, .end = footer_at + envelope_whole(footer)};
    zllm_result rc = read_envelope(r, place, KIND_DIRECTORY, &one->envelope);
    if (rc != ZLLM_OK) return rc;
    if (place + envelope_whole(&one->envelope) != footer_at) return wrong(r, "it is not where the footer says");
    rc = read_body(r, place, &one->envelope, &body);
    if (rc != ZLLM_OK) return rc;
    r->n++;
    rc = zllm_directory_read(r->a->heap, body, (size_t)one->envelope.length, place - r->start, &r->a->limits,
                             &one->directory, &r->a->problem);
    zllm_heap_free(r->a->heap, body);
    return rc;
}

/* All directories, from the last one back. */
static zllm_result read_endings(reading_t *r) {
    envelope_t footer, before;
    uint64_t at, distance;
    zllm_result rc = last_footer(r, &at, &footer, &distance);
    if (rc == ZLLM_OK) rc = add_ending(r, at - distance, at, &footer);
    while (rc == ZLLM_OK && r->endings[r->n - 1].directory.back > 0) {
        const ending_t *last = &r->endings[r->n - 1];
        const uint64_t limit = last->place;
        if (last->directory.back > limit) return wrong(r, "it is not where it should be");
        const uint64_t place = limit - last->directory.back;
        rc = read_envelope(r, place, KIND_DIRECTORY, &before);
        if (rc != ZLLM_OK) return rc;
        at = place + envelope_whole(&before);
        rc = read_envelope(r, at, KIND_FOOTER, &footer);
        if (rc == ZLLM_OK) rc = read_footer(r, at, &footer, &distance);
        if (rc == ZLLM_OK && at + envelope_whole(&footer) > limit) rc = wrong(r, "it is not behind the one before it");
        if (rc == ZLLM_OK) rc = add_ending(r, place, at, &footer);
    }
    for (size_t i = 0; i < r->n && rc == ZLLM_OK; i++)
        if (r->endings[i].directory.generation != r->n - 1 - i) rc = wrong(r, "its generation is another one");
    return rc;
}

/* What follows what. */

static int by_offset(const void *a, const void *b) {
    const uint64_t x = ((const other_t *)a)->offset, y = ((const other_t *)b)->offset;
    return (x > y) - (x < y);
}

static zllm_result read_others(reading_t *r, const directory_t *d) {
    bytes_t others = d->others;
    zllm_heap_free(r->a->heap, r->others);
    r->others = zllm_heap_zeroed(r->a->heap, (size_t)d->n_others + 1, sizeof *r->others);
    if (r->others == NULL) return NO_MEMORY(&r->a->problem);
    r->n_others = (size_t)d->n_others;
    r->other = 0;
    for (size_t i = 0; i < r->n_others; i++) zllm_directory_other(&others, &r->others[i]);
    if (r->n_others > 1) qsort(r->others, r->n_others, sizeof *r->others, by_offset);
    return ZLLM_OK;
}

/* Parts that are here beside sections. */
static zllm_result take_others(reading_t *r) {
    for (; r->other < r->n_others && r->start + r->others[r->other].offset == r->at; r->other++) {
        const envelope_t *said = &r->others[r->other].envelope;
        envelope_t e;
        uint8_t data[MAX_ENVELOPE];
        size_t got;
        problem_t refused;
        zllm_result rc = zllm_input_at(&r->a->input, r->at, data, sizeof data, &got, &r->a->problem);
        if (rc != ZLLM_OK) return rc;
        if (!zllm_envelope_read(data, got, &r->seed, &e) || e.kind != said->kind || e.flags != said->flags ||
            e.number != said->number || e.length != said->length || e.number != r->number)
            return wrong(r, "a part is not what it says");
        if (zllm_envelope_refusal(&e, &refused) != ZLLM_OK) zllm_problem_note(&r->a->told, &refused);
        else if (e.kind == KIND_MODEL) {
            rc = zllm_layout_add_model(r->a, r->at, r->seed, &e);
            if (rc != ZLLM_OK) return rc;
        }
        if (e.kind != KIND_MODEL) rc = zllm_layout_add_other(r->a, r->at, r->seed, &e);
        if (rc != ZLLM_OK) return rc;
        r->at += envelope_whole(&e);
        r->number++;
    }
    return ZLLM_OK;
}

/* A section whose header is not in the directory: it is small, and is read. */
static zllm_result read_section(reading_t *r, indexed_t *out, uint64_t *frames) {
    zllm_archive *a = r->a;
    envelope_t e;
    uint8_t *body;
    zllm_result rc = read_envelope(r, r->at, KIND_SECTION, &e);
    if (rc == ZLLM_OK) rc = read_body(r, r->at, &e, &body);
    if (rc != ZLLM_OK) return rc;
    section_t *s = &a->section;
    *s = (section_t){.place = r->at, .seed = r->seed, .envelope = e, .exact = 1};
    rc = zllm_section_open(s, &a->decoder, body, (size_t)e.length, &a->problem);
    zllm_heap_free(a->heap, body);
    if (rc == ZLLM_OK)
        *out = (indexed_t){.place = r->at, .start = section_start(s), .end = section_end(s), .seed = r->seed, .envelope = e,
                           .exact = 1, .members = s->map.members, .frames_size = s->frames_size};
    *frames = s->map.n_frames;
    zllm_section_free(s);
    return rc;
}

static zllm_result check_limits(reading_t *r) {
    if (r->stream > r->a->limits.output_bytes)
        return zllm_problem(&r->a->problem, ZLLM_E_LIMIT, "the archive unpacks to more bytes than the limit that was set");
    if (r->members > r->a->limits.members)
        return zllm_problem(&r->a->problem, ZLLM_E_LIMIT, "the archive has more members than the limit that was set");
    return ZLLM_OK;
}

/* A section, with frames up to `last` of the input. */
static zllm_result take_row(reading_t *r, const row_t *row, uint64_t last) {
    indexed_t entry = {0};
    uint64_t frames = row->frames, end = 0;
    if (r->start + row->offset != r->at || row->number != r->number) return wrong(r, "a section is not where it says");
    zllm_result rc = row->length > 0 ? zllm_layout_of_row(r->a, row, r->start, 0, r->seed, &entry)
                                     : read_section(r, &entry, &frames);
    if (rc == ZLLM_OK) {
        end = r->at + envelope_whole(&entry.envelope) + entry.frames_size;
        if (entry.start != r->stream || end != last) rc = wrong(r, "a section is not where it says");
    }
    if (rc == ZLLM_OK) {
        r->stream = entry.end;
        r->members += row->members;
        rc = check_limits(r);
    }
    if (rc == ZLLM_OK) rc = zllm_layout_add(r->a, &entry);
    if (rc != ZLLM_OK) {
        zllm_heap_free(r->a->heap, entry.front);
        zllm_heap_free(r->a->heap, entry.filter);
        return rc;
    }
    r->at = end;
    r->number += 1 + frames;
    return ZLLM_OK;
}

/* The parts of a generation follow each other to its directory, and nothing is between them. */
static zllm_result follow(reading_t *r, const ending_t *one) {
    const directory_t *d = &one->directory;
    bytes_t rows = d->rows, filters = d->filters;
    row_t row, next;
    zllm_result rc = read_others(r, d);
    if (d->n_rows > 0) zllm_directory_row(d, &rows, &filters, &next);
    for (uint64_t i = 0; i < d->n_rows && rc == ZLLM_OK; i++) {
        rc = take_others(r);
        if (rc != ZLLM_OK) return rc;
        uint64_t last = one->place;
        row = next;
        if (i + 1 < d->n_rows) {
            zllm_directory_row(d, &rows, &filters, &next);
            last = lesser(last, r->start + next.offset);
        }
        if (r->other < r->n_others) last = lesser(last, r->start + r->others[r->other].offset);
        rc = take_row(r, &row, last);
    }
    if (rc == ZLLM_OK) rc = take_others(r);
    if (rc != ZLLM_OK) return rc;
    if (r->at != one->place || r->other < r->n_others || r->number != one->envelope.number)
        return wrong(r, "there are parts that it does not name");
    return ZLLM_OK;
}

static zllm_result follow_all(reading_t *r) {
    zllm_archive *a = r->a;
    size_t first = 0;
    if (a->wants_generation && a->generation >= r->n) return zllm_layout_missing(a, r->n - 1);
    if (a->wants_generation) first = r->n - 1 - (size_t)a->generation;
    r->at = r->start + HEADER_SIZE;
    for (size_t i = r->n; i-- > first;) {
        const ending_t *one = &r->endings[i];
        const uint64_t since = r->stream, members = r->members;
        zllm_result rc = follow(r, one);
        if (rc == ZLLM_OK) rc = zllm_deletions_add(&a->deletions, &one->directory, 0, since, members, &a->problem);
        const generation_t generation = {.number = one->directory.generation, .end = one->end, .stream_start = since,
                                         .stream_end = r->stream};
        if (rc == ZLLM_OK) rc = zllm_layout_add_generation(a, &generation);
        if (rc != ZLLM_OK) return rc;
        r->at = one->end;
        r->number = one->footer.number + 1;
    }
    return ZLLM_OK;
}

zllm_result zllm_layout_directories(zllm_archive *a) {
    reading_t r = {.a = a, .start = a->walk.start, .seed = a->walk.seed};
    zllm_result rc = read_endings(&r);
    if (rc == ZLLM_OK) rc = follow_all(&r);
    for (size_t i = 0; i < r.n; i++) zllm_directory_free(&r.endings[i].directory);
    zllm_heap_free(a->heap, r.endings);
    zllm_heap_free(a->heap, r.others);
    return rc;
}
