#include "archive/walk.h"

#include "archive/recover.h"
#include "archive/search.h"
#include "cancel.h"

#include <stdio.h>

#define MISSING "the archive is damaged: parts of it are missing"
#define ORDER "the archive is damaged: its parts are out of order"
#define TRUNCATED \
    "the archive is truncated: it ends before its footer. Whole members can be extracted, the rest is lost"

void zllm_walk_note(walk_t *w, zllm_result result, const char *text) {
    problem_t one;
    (void)zllm_problem(&one, result, "%s", text);
    zllm_problem_note(w->told, &one);
    w->notes++;
}

static int is_hard(zllm_result rc) {
    return rc == ZLLM_E_MEMORY || rc == ZLLM_E_INPUT || rc == ZLLM_E_LIMIT || rc == ZLLM_E_CANCELLED ||
           (rc >= ZLLM_E_KERNEL_UNKNOWN && rc <= ZLLM_E_KERNEL_UNSUPPORTED) || rc == ZLLM_E_KERNEL_WRONG;
}

zllm_result zllm_walk_noted(walk_t *w, zllm_result rc, const problem_t *p) {
    if (rc == ZLLM_OK || is_hard(rc)) return rc;
    zllm_problem_note(w->told, p);
    w->notes++;
    return ZLLM_OK;
}

/* What stands when the last footer of this archive has come, or there is none yet. */
static void settle(walk_t *w) {
    w->settled = (settled_t){w->input->position, *w->told, w->notes, w->end, w->members};
}


zllm_result zllm_walk_begin(walk_t *w, problem_t *p) {
    const uint8_t *data;
    size_t got;
    uint32_t seed = 0;
    zllm_result rc = zllm_input_peek(w->input, HEADER_SIZE, &data, &got, p);
    if (rc == ZLLM_OK) rc = zllm_header_read(data, got, &seed, p);
    if (rc == ZLLM_E_DAMAGED || rc == ZLLM_E_FORMAT) {
        problem_t other;
        int found;
        const zllm_result hard = zllm_header_recover(w->input, &seed, &found, &other);
        if (hard != ZLLM_OK) {
            *p = other;
            return hard;
        }
        if (!found) return rc;
        zllm_walk_note(w, ZLLM_E_DAMAGED, "the file header is damaged: nothing else is lost");
        rc = ZLLM_OK;
    }
    if (rc != ZLLM_OK) return rc;
    w->seed = seed;
    w->start = w->input->position;
    w->base = w->end;
    w->next = w->last_frame = w->generation = 0;
    w->back = 0;
    w->directory_at = -1;
    w->orphans = w->whole = 0;
    w->n_seen = 0;
    w->due_end = UINT64_MAX;
    settle(w);
    return zllm_input_skip(w->input, HEADER_SIZE, NULL, p);
}

void zllm_walk_free(walk_t *w) { zllm_heap_free(w->heap, w->seen); }

static zllm_result add_seen(walk_t *w, uint64_t offset, uint64_t number, problem_t *p) {
    if (w->n_seen == w->seen_room) {
        const size_t room = 2 * w->seen_room + 16;
        seen_t *more = zllm_heap_zeroed(w->heap, room, sizeof *more);
        if (more == NULL) return NO_MEMORY(p);
        if (w->n_seen > 0) memcpy(more, w->seen, w->n_seen * sizeof *more);
        zllm_heap_free(w->heap, w->seen);
        w->seen = more;
        w->seen_room = room;
    }
    w->seen[w->n_seen++] = (seen_t){.offset = offset, .number = number};
    return ZLLM_OK;
}

/* Parts that are read here. */

static zllm_result accept_section(walk_t *w, section_t *s, problem_t *p) {
    const uint64_t start = section_start(s);
    if (start < w->end) return DAMAGED(p, ORDER);
    if (start > w->end) zllm_walk_note(w, ZLLM_E_DAMAGED, "the archive is damaged: a section is missing");
    if (section_end(s) > w->decoder->limits->output_bytes)
        return zllm_problem(p, ZLLM_E_LIMIT, "the archive unpacks to more bytes than the limit that was set");
    w->members += s->map.members;
    if (w->members > w->decoder->limits->members)
        return zllm_problem(p, ZLLM_E_LIMIT, "the archive has more members than the limit that was set");
    if (w->sections++ == 0) w->opaque = (s->facts.flags & SECTION_OPAQUE) != 0;
    w->end = section_end(s);
    w->seen[w->n_seen - 1] = (seen_t){
        .offset = s->place - w->start, .number = s->envelope.number, .length = s->envelope.length,
        .members = s->map.members, .frames = s->map.n_frames, .frames_size = s->frames_size, .facts = s->facts,
        .readable = 1};
    return ZLLM_OK;
}

/* The directory has the header of a section that cannot be read: what follows goes on behind it. */
static void extend(walk_t *w, const directory_t *d) {
    bytes_t rows = d->rows, filters = d->filters;
    size_t at = 0;
    for (uint64_t i = 0; i < d->n_rows; i++) {
        row_t row;
        zllm_directory_row(d, &rows, &filters, &row);
        while (at < w->n_seen && w->seen[at].offset < row.offset) at++;
        const int readable = at < w->n_seen && w->seen[at].offset == row.offset && w->seen[at].readable;
        const int last = w->n_seen == 0 || w->seen[w->n_seen - 1].offset <= row.offset;
        const uint64_t end = w->base + row.facts.offset + row.facts.size;
        if (row.length > 0 && !readable && last && end > w->end && end - w->end <= WINDOW) w->end = end;
    }
}

static zllm_result read_directory(walk_t *w, uint64_t offset, const envelope_t *e, const uint8_t *body, size_t size,
                                  problem_t *p) {
    directory_t found;
    int whole;
    zllm_result rc = zllm_directory_read(w->heap, body, size, offset - w->start, w->decoder->limits, &found, p);
    if (rc == ZLLM_OK) {
        const int same = zllm_directory_fits(&found, w->seen, w->n_seen, &whole);
        const uint64_t back = w->back > 0 ? offset - (uint64_t)w->back : 0;
        if (!same)
            zllm_walk_note(w, ZLLM_E_DAMAGED, "the archive is damaged: its directory names other sections than there are");
        extend(w, &found);
        if (w->back >= 0 && (found.generation != w->generation || found.back != back))
            zllm_walk_note(w, ZLLM_E_DAMAGED, "the archive is damaged: its directory is of another generation");
        w->back = (int64_t)offset;
        if (w->directory != NULL) rc = w->directory(w->context, &found, offset, e, same && whole, p);
    }
    zllm_directory_free(&found);
    return rc;
}

static void end_generation(walk_t *w) {
    if (w->directory_at < 0 || w->back != w->directory_at) w->back = -1;
    w->whole = 1;
    w->n_seen = 0;
    w->directory_at = -1;
    w->due_end = UINT64_MAX;
    w->generation++;
    w->ended = 1;
}

static zllm_result read_footer(walk_t *w, uint64_t offset, const uint8_t *body, size_t size, problem_t *p) {
    bytes_t b = bytes_of(body, size);
    const uint64_t distance = bytes_varint(&b, MAX_OFFSET);
    const int good = !b.bad && bytes_left(&b) == 0;
    const int there = good && w->directory_at >= 0 && distance == offset - (uint64_t)w->directory_at;
    end_generation(w);
    return there ? ZLLM_OK : DAMAGED(p, "the archive is damaged: the directory is not where the footer says");
}

static const char *name_of(uint8_t kind) {
    return kind == KIND_SECTION ? "a section map" : kind == KIND_DIRECTORY ? "the directory" : "the footer";
}

/* The body of a part that is in memory: as it is, or a copy in which one byte is corrected; NULL if it is damaged. */
static zllm_result body_of(walk_t *w, const envelope_t *e, const uint8_t *data, const uint8_t **body, uint8_t **copy,
                           problem_t *p) {
    const size_t front = envelope_size(e), size = (size_t)e->length;
    uint8_t known[MAX_ENVELOPE];
    char text[96];
    fix_t fixes[MOST_FIXES];
    (void)zllm_envelope_write(e, w->seed, known);
    *body = data + front;
    *copy = NULL;
    if (zllm_part_holds(w->seed, known, front, data + front, size + CHECK_SIZE)) return ZLLM_OK;
    const size_t n = zllm_repair_body(w->seed, known, front, data + front, size + CHECK_SIZE, w->decoder->budget, fixes);
    if (n == 0) {
        (void)snprintf(text, sizeof text, "%s is damaged: its checksum does not match%s", name_of(e->kind),
                       e->kind == KIND_SECTION ? "" : ": nothing is lost by that");
        zllm_walk_note(w, ZLLM_E_DAMAGED, text);
        *body = NULL;
        return ZLLM_OK;
    }
    *copy = zllm_heap_take(w->heap, size + CHECK_SIZE);
    if (*copy == NULL) return NO_MEMORY(p);
    memcpy(*copy, data + front, size + CHECK_SIZE);
    fix_apply(&fixes[0], *copy);
    (void)snprintf(text, sizeof text, "%s is damaged: one byte was wrong and is corrected, nothing is lost",
                   name_of(e->kind));
    zllm_walk_note(w, ZLLM_E_DAMAGED, text);
    *body = *copy;
    return ZLLM_OK;
}

/* A section, a directory or a footer, whose body is right; *got_section: it is a section that can be read. */
static zllm_result use_part(walk_t *w, const envelope_t *e, const uint8_t *body, section_t *s, int *got_section,
                            problem_t *p) {
    const uint64_t offset = w->input->position;
    const size_t size = (size_t)e->length;
    if (e->kind == KIND_DIRECTORY) return read_directory(w, offset, e, body, size, p);
    if (e->kind == KIND_FOOTER) return read_footer(w, offset, body, size, p);
    *s = (section_t){.place = offset, .base = w->base, .seed = w->seed, .envelope = *e};
    zllm_result rc = zllm_section_open(s, w->decoder, body, size, p);
    if (rc == ZLLM_OK) rc = accept_section(w, s, p);
    *got_section = rc == ZLLM_OK;
    if (rc != ZLLM_OK) zllm_section_free(s);
    return rc;
}

static zllm_result take_part(walk_t *w, const envelope_t *e, section_t *s, int *got_section, problem_t *p) {
    const uint64_t whole = envelope_whole(e);
    const uint8_t *data, *body;
    uint8_t *copy = NULL;
    size_t got;
    zllm_result rc = zllm_input_peek(w->input, whole, &data, &got, p);
    if (rc != ZLLM_OK) return rc;
    if (got < whole) return zllm_input_skip(w->input, got, NULL, p); /* the archive was cut off here */
    rc = body_of(w, e, data, &body, &copy, p);
    if (rc == ZLLM_OK && body != NULL) rc = use_part(w, e, body, s, got_section, p);
    else if (rc == ZLLM_OK && e->kind == KIND_FOOTER) end_generation(w);
    if (*got_section) s->corrected = copy;
    else zllm_heap_free(w->heap, copy);
    rc = zllm_walk_noted(w, rc, p);
    if (rc == ZLLM_OK) rc = zllm_input_skip(w->input, whole, NULL, p);
    if (w->ended) settle(w);
    w->ended = 0;
    return rc == ZLLM_OK && *got_section ? zllm_walk_frames(w, s, p) : rc;
}

static void check_place(walk_t *w, const envelope_t *e) {
    const int belongs = e->kind == KIND_FRAME && e->number < w->last_frame;
    if (e->number > w->next || belongs != (e->number < w->last_frame)) zllm_walk_note(w, ZLLM_E_DAMAGED, MISSING);
    else if (e->kind == KIND_FRAME && !belongs && !w->orphans && !(e->flags & FLAG_SEALED))
        zllm_walk_note(w, ZLLM_E_DAMAGED, "the archive is damaged: a frame belongs to no section");
    if (w->directory_at >= 0 && e->kind != KIND_FOOTER) zllm_walk_note(w, ZLLM_E_DAMAGED, ORDER);
}

static zllm_result read_part(walk_t *w, const envelope_t *e, section_t *s, int *got_section, problem_t *p) {
    const uint64_t offset = w->input->position;
    zllm_result rc = ZLLM_OK;
    w->whole = 0;
    if (e->number < w->next) {
        zllm_walk_note(w, ZLLM_E_DAMAGED, ORDER);
        return zllm_input_skip(w->input, envelope_whole(e), NULL, p);
    }
    const zllm_result refused = zllm_envelope_refusal(e, p);
    if (refused != ZLLM_OK) (void)zllm_walk_noted(w, refused, p);
    check_place(w, e);
    w->next = e->number + 1;
    if (e->kind == KIND_DIRECTORY) {
        const envelope_t footer = {.kind = KIND_FOOTER, .number = e->number + 1, .length = varint_size(envelope_whole(e))};
        w->directory_at = (int64_t)offset;
        w->due_end = offset + envelope_whole(e) + envelope_whole(&footer);
    }
    if (e->kind == KIND_SECTION) {
        w->orphans = 1;
        rc = add_seen(w, offset - w->start, e->number, p);
        if (rc != ZLLM_OK) return rc;
    }
    if (refused == ZLLM_OK && e->kind == KIND_MODEL) return zllm_walk_model(w, e, p);
    if (refused == ZLLM_OK && (e->kind == KIND_SECTION || e->kind == KIND_DIRECTORY || e->kind == KIND_FOOTER))
        return take_part(w, e, s, got_section, p);
    return zllm_walk_pass(w, e, p);
}

/* What is next before a footer. */
static zllm_result inside(walk_t *w, section_t *s, int *got_section, problem_t *p) {
    const uint8_t *data;
    envelope_t e;
    size_t got;
    uint32_t seed;
    problem_t unused;
    zllm_result rc = zllm_input_peek(w->input, MAX_ENVELOPE, &data, &got, p);
    if (rc != ZLLM_OK) return rc;
    if (zllm_header_read(data, got, &seed, &unused) == ZLLM_OK) {
        zllm_walk_note(w, ZLLM_E_DAMAGED, TRUNCATED);
        return zllm_walk_begin(w, p);
    }
    if (zllm_envelope_read(data, got, &w->seed, &e)) return read_part(w, &e, s, got_section, p);
    const int repaired = zllm_walk_repaired(w, data, got, &e, &rc, p);
    if (repaired < 0) return rc;
    if (repaired > 0) return read_part(w, &e, s, got_section, p);
    rc = zllm_input_peek(w->input, MAX_ENVELOPE, &data, &got, p);
    if (rc != ZLLM_OK) return rc;
    if (zllm_envelope_is_cut(data, got)) {
        w->whole = 0;
        return zllm_input_skip(w->input, got, NULL, p);
    }
    zllm_walk_note(w, ZLLM_E_DAMAGED, "the archive is damaged: there is no part where one should be");
    rc = zllm_search_part(w->input, w->seed, w->next, &w->tries, p);
    w->whole = 0;
    return rc;
}

/* What is next behind a footer: more of the archive, another one, or nothing that belongs to one. */
static zllm_result between(walk_t *w, section_t *s, int *got_section, problem_t *p) {
    const uint8_t *data;
    envelope_t e;
    size_t got, zeros = 0;
    zllm_result rc = zllm_input_peek(w->input, MAX_ENVELOPE, &data, &got, p);
    if (rc != ZLLM_OK) return rc;
    while (zeros < got && data[zeros] == 0) zeros++;
    if (zeros > 0) return zllm_input_skip(w->input, zeros, NULL, p);
    const int goes_on = zllm_envelope_read(data, got, &w->seed, &e) && e.number >= w->next;
    if (goes_on || zllm_envelope_is_cut(data, got)) return inside(w, s, got_section, p);
    rc = zllm_walk_begin(w, p);
    if (rc == ZLLM_OK || rc == ZLLM_E_MEMORY || rc == ZLLM_E_INPUT) return rc;
    if (rc == ZLLM_E_VERSION) {
        (void)zllm_walk_noted(w, rc, p);
        return zllm_input_skip(w->input, UINT64_MAX, NULL, p);
    }
    if (got >= 4 && got < HEADER_SIZE && memcmp(data, zllm_file_magic, got < FILE_MAGIC_SIZE ? got : FILE_MAGIC_SIZE) == 0) {
        w->whole = 0; /* an archive begins, and that is all there is of it */
        w->generation = 0;
        return zllm_input_skip(w->input, got, NULL, p);
    }
    uint64_t passed;
    rc = zllm_search_archive(w->input, w->seed, w->next, &w->tries, &passed, p);
    if (rc == ZLLM_OK)
        zllm_walk_note(w, ZLLM_E_DAMAGED, "the archive is damaged: there are unknown bytes between its parts");
    if (rc == ZLLM_END) w->ignored += passed;
    return rc == ZLLM_END ? ZLLM_OK : rc;
}

/* The input ends before a footer. What is behind the last one is a generation that was never finished, if nothing of it is
 * damaged; but a pipe's members have been given. */
static void end_early(walk_t *w) {
    if (w->input->input.sequential || w->generation == 0 || w->notes != w->settled.notes ||
        w->input->position >= w->due_end) {
        zllm_walk_note(w, ZLLM_E_DAMAGED, TRUNCATED);
        return;
    }
    w->unfinished = w->input->position - w->settled.at;
    *w->told = w->settled.told;
}

zllm_result zllm_walk_next(walk_t *w, section_t *s, problem_t *p) {
    int found = 0;
    zllm_section_free(s);
    zllm_result rc = zllm_input_skip(w->input, w->held, NULL, p);
    w->held = 0;
    while (rc == ZLLM_OK && !found) {
        const uint8_t *data;
        size_t got;
        if (cancelled(w->decoder->decoding.cancel)) return zllm_problem(p, ZLLM_E_CANCELLED, "cancelled");
        rc = zllm_input_peek(w->input, 1, &data, &got, p);
        if (rc != ZLLM_OK) break;
        if (got == 0 || w->stop) {
            if (!w->whole && !w->stop) end_early(w);
            w->whole = 1;
            return ZLLM_END;
        }
        rc = w->whole ? between(w, s, &found, p) : inside(w, s, &found, p);
    }
    return rc;
}
