#include "archive/layout.h"

#include <stdlib.h>

#include "archive/search.h"

#define PER_ROW ((uint64_t)16 << 10) /* what looking at a row costs, in bytes hashed */

/* Room for one more element of `size` bytes. */
static zllm_result make_room(zllm_archive *a, void **list, size_t n, size_t *room, size_t size) {
    if (n < *room) return ZLLM_OK;
    void *more = zllm_heap_zeroed(a->heap, 2 * *room + 16, size);
    if (more == NULL) return NO_MEMORY(&a->problem);
    if (n > 0) memcpy(more, *list, n * size);
    zllm_heap_free(a->heap, *list);
    *list = more;
    *room = 2 * *room + 16;
    return ZLLM_OK;
}

static void free_entry(zllm_archive *a, indexed_t *i) {
    zllm_heap_free(a->heap, i->frame_places);
    zllm_heap_free(a->heap, i->front);
    zllm_heap_free(a->heap, i->filter);
    zllm_heap_free(a->heap, i->corrected);
}

static void forget(zllm_archive *a) {
    for (size_t i = 0; i < a->n_index; i++) free_entry(a, &a->index[i]);
    a->n_index = a->n_others = a->n_generations = 0;
    a->unfinished = 0;
    zllm_deletions_free(&a->deletions);
    zllm_models_forget(&a->models);
}

void zllm_layout_free(zllm_archive *a) {
    forget(a);
    zllm_heap_free(a->heap, a->index);
    zllm_heap_free(a->heap, a->others);
    zllm_heap_free(a->heap, a->generations);
}

zllm_result zllm_layout_add(zllm_archive *a, const indexed_t *entry) {
    void *list = a->index;
    const zllm_result rc = make_room(a, &list, a->n_index, &a->index_room, sizeof *a->index);
    a->index = list;
    if (rc == ZLLM_OK) a->index[a->n_index++] = *entry;
    return rc;
}

zllm_result zllm_layout_add_section(zllm_archive *a, section_t *s) {
    indexed_t i = {.place = s->place, .base = s->base, .start = section_start(s), .end = section_end(s), .seed = s->seed,
                   .envelope = s->envelope, .exact = s->exact, .members = s->map.members,
                   .frames_size = s->exact ? s->frames_size : 0, .corrected = s->corrected};
    i.frame_places = s->exact ? NULL : s->frame_places;
    const zllm_result rc = zllm_layout_add(a, &i);
    if (rc != ZLLM_OK) return rc;
    s->corrected = NULL;
    if (!s->exact) s->frame_places = NULL;
    return ZLLM_OK;
}

zllm_result zllm_layout_add_other(zllm_archive *a, uint64_t place, uint32_t seed, const envelope_t *e) {
    void *list = a->others;
    const zllm_result rc = make_room(a, &list, a->n_others, &a->others_room, sizeof *a->others);
    a->others = list;
    if (rc == ZLLM_OK) a->others[a->n_others++] = (other_place_t){place, seed, *e};
    return rc;
}

zllm_result zllm_layout_add_generation(zllm_archive *a, const generation_t *generation) {
    void *list = a->generations;
    const zllm_result rc = make_room(a, &list, a->n_generations, &a->generations_room, sizeof *a->generations);
    a->generations = list;
    if (rc != ZLLM_OK) return rc;
    generation_t *one = &a->generations[a->n_generations++];
    *one = *generation;
    one->zeros_at = one->stream_end;
    one->deletions = a->deletions.n;
    return rc;
}

zllm_result zllm_layout_add_model(zllm_archive *a, uint64_t place, uint32_t seed, const envelope_t *e) {
    uint8_t front[MODEL_FRONT];
    embedded_t one = {.envelope = *e, .place = place, .seed = seed};
    const size_t size = (size_t)lesser(e->length, sizeof front);
    size_t got;
    zllm_result rc = zllm_input_at(&a->input, place + envelope_size(e), front, size, &got, &a->problem);
    if (rc == ZLLM_OK && got < size) return DAMAGED(&a->problem, "an embedded model is damaged: it is not whole");
    if (rc == ZLLM_OK) rc = zllm_model_part_read(front, size, e->length, &a->limits, &one.said, &a->problem);
    return rc == ZLLM_OK ? zllm_models_embedded(&a->models, &one, &a->problem) : rc;
}

zllm_result zllm_layout_of_row(zllm_archive *a, const row_t *row, uint64_t start, uint64_t base, uint32_t seed,
                               indexed_t *out) {
    uint8_t envelope[MAX_ENVELOPE];
    *out = (indexed_t){.place = start + row->offset, .base = base, .start = base + row->facts.offset, .seed = seed,
                       .envelope = {.kind = KIND_SECTION, .number = row->number, .length = row->length}, .exact = 1,
                       .listed = 1, .members = row->members, .frames = row->frames, .frames_size = row->frames_size};
    out->end = out->start + row->facts.size;
    const size_t size = zllm_envelope_write(&out->envelope, seed, envelope);
    out->front_size = size + row->raw_size + 1;
    for (uint32_t i = 0; i < row->facts.n_models; i++) out->front_size += row->models[i]->raw_size;
    out->front = zllm_heap_take(a->heap, out->front_size);
    out->filter = row->filter == NULL ? NULL : zllm_heap_take(a->heap, (size_t)row->members + 1);
    if (out->front == NULL || (row->filter != NULL && out->filter == NULL)) return NO_MEMORY(&a->problem);
    if (row->filter != NULL) memcpy(out->filter, row->filter, (size_t)row->members);
    uint8_t *to = out->front;
    memcpy(to, envelope, size);
    memcpy(to + size, row->raw, row->raw_size);
    to += size + row->raw_size;
    *to++ = (uint8_t)row->facts.n_models;
    for (uint32_t i = 0; i < row->facts.n_models; i++) {
        known_model_t *unused;
        memcpy(to, row->models[i]->raw, row->models[i]->raw_size);
        to += row->models[i]->raw_size;
        const zllm_result rc = zllm_models_name(&a->models, row->models[i], &unused, &a->problem);
        if (rc != ZLLM_OK) return rc;
    }
    return ZLLM_OK;
}

zllm_result zllm_layout_missing(zllm_archive *a, uint64_t last) {
    return zllm_problem(&a->problem, ZLLM_E_ARGUMENT, "there is no generation %llu: the archive has %llu, from 0 to %llu",
                        (unsigned long long)a->generation, (unsigned long long)last + 1, (unsigned long long)last);
}

/* Going from part to part. */

static int by_place(const void *a, const void *b) {
    const uint64_t x = ((const indexed_t *)a)->place, y = ((const indexed_t *)b)->place;
    return (x > y) - (x < y);
}

static uint64_t end_of(const indexed_t *i) { return i->place + envelope_whole(&i->envelope) + i->frames_size; }

static int overlap(const indexed_t *i, const indexed_t *behind) {
    return behind->place < end_of(i) || behind->start < i->end;
}

/* Leave out entries that only a directory has, and that overlap others. */
static void keep_apart(zllm_archive *a, size_t first) {
    size_t n = first;
    for (size_t i = first; i < a->n_index; i++) {
        indexed_t one = a->index[i];
        if (!one.listed)
            while (n > first && a->index[n - 1].listed && overlap(&a->index[n - 1], &one)) free_entry(a, &a->index[--n]);
        else if (n > first && overlap(&a->index[n - 1], &one)) {
            free_entry(a, &one);
            continue;
        }
        a->index[n++] = one;
    }
    a->n_index = n;
}

static int is_known(const zllm_archive *a, size_t first, size_t end, uint64_t place) {
    while (first < end) {
        const size_t middle = first + (end - first) / 2;
        if (a->index[middle].place == place) return 1;
        if (a->index[middle].place < place) first = middle + 1;
        else end = middle;
    }
    return 0;
}

/* Sections that were not found, or whose header is damaged, and the directory tells of. */
static zllm_result complete(zllm_archive *a, const directory_t *d, uint64_t end) {
    const walk_t *w = &a->walk;
    bytes_t rows = d->rows, filters = d->filters;
    size_t first = 0;
    const size_t n = a->n_index;
    while (first < n && a->index[first].place < w->start) first++;
    if (!zllm_budget_spend(&a->budget, n - first + d->n_rows, PER_ROW)) return ZLLM_OK;
    for (uint64_t i = 0; i < d->n_rows; i++) {
        row_t row;
        indexed_t entry;
        zllm_directory_row(d, &rows, &filters, &row);
        if (row.length == 0 || is_known(a, first, n, w->start + row.offset)) continue;
        zllm_result rc = zllm_layout_of_row(a, &row, w->start, w->base, w->seed, &entry);
        if (rc == ZLLM_OK && end_of(&entry) <= end && (rc = zllm_layout_add(a, &entry)) == ZLLM_OK) continue;
        free_entry(a, &entry);
        if (rc != ZLLM_OK) return rc;
    }
    if (a->n_index > first + 1) qsort(a->index + first, a->n_index - first, sizeof *a->index, by_place);
    keep_apart(a, first);
    return ZLLM_OK;
}

/* The models that were not found, and the directory tells of. */
static zllm_result complete_models(zllm_archive *a, const directory_t *d, uint64_t end) {
    bytes_t others = d->others;
    for (uint64_t i = 0; i < d->n_others; i++) {
        other_t other;
        const embedded_t *e = a->models.embedded;
        zllm_directory_other(&others, &other);
        const uint64_t place = a->walk.start + other.offset;
        if (other.envelope.kind != KIND_MODEL || other.envelope.length > MAX_MODEL + 64) continue;
        if (place + envelope_whole(&other.envelope) > end) continue;
        while (e != NULL && e->place != place) e = e->next;
        if (e != NULL) continue;
        const zllm_result rc = zllm_layout_add_model(a, place, a->walk.seed, &other.envelope);
        if (rc == ZLLM_E_MEMORY || rc == ZLLM_E_INPUT) return rc;
    }
    return ZLLM_OK;
}

static zllm_result take_directory(void *archive, const directory_t *d, uint64_t offset, const envelope_t *e, int exact,
                                  problem_t *p) {
    zllm_archive *a = archive;
    const walk_t *w = &a->walk;
    zllm_result rc = complete_models(a, d, offset);
    if (rc == ZLLM_OK && !exact) rc = complete(a, d, offset);
    if (rc == ZLLM_OK) {
        rc = zllm_deletions_add(&a->deletions, d, w->base, w->settled.end, w->settled.members, &a->problem);
        if (rc == ZLLM_E_DAMAGED) {
            zllm_walk_note(&a->walk, rc, a->problem.text);
            rc = ZLLM_OK;
        }
    }
    (void)e;
    const generation_t one = {.number = d->generation, .base = w->base, .end = w->due_end, .stream_start = w->settled.end,
                              .stream_end = w->end};
    if (rc == ZLLM_OK) rc = zllm_layout_add_generation(a, &one);
    if (rc != ZLLM_OK) *p = a->problem;
    return rc;
}

static zllm_result take_other(void *archive, uint64_t offset, const envelope_t *e, problem_t *p) {
    zllm_archive *a = archive;
    const zllm_result rc = zllm_layout_add_other(a, offset, a->walk.seed, e);
    if (rc != ZLLM_OK) *p = a->problem;
    return rc;
}

/* Forget what begins at a place of the input or behind it. */
static void cut(zllm_archive *a, uint64_t end) {
    size_t n = 0;
    for (size_t i = 0; i < a->n_index; i++)
        if (a->index[i].place < end) a->index[n++] = a->index[i];
        else free_entry(a, &a->index[i]);
    a->n_index = n;
    while (a->n_others > 0 && a->others[a->n_others - 1].place >= end) a->n_others--;
    while (a->n_generations > 0 && a->generations[a->n_generations - 1].end > end) a->n_generations--;
    a->deletions.n = a->n_generations > 0 ? a->generations[a->n_generations - 1].deletions : 0;
    zllm_models_cut(&a->models, end);
}

/* Forget what is later than the generation that is wanted. */
static zllm_result go_back(zllm_archive *a) {
    uint64_t last = 0;
    size_t n = 0;
    if (a->n_index > 0 && a->index[a->n_index - 1].base > 0)
        return zllm_problem(&a->problem, ZLLM_E_ARGUMENT,
                            "there are several archives in one file, so a generation's number does not say which");
    for (size_t i = 0; i < a->n_generations; i++) {
        if (a->generations[i].number <= a->generation) n = i + 1;
        if (a->generations[i].number > last) last = a->generations[i].number;
    }
    if (n == 0 || a->generations[n - 1].number != a->generation)
        return a->n_generations == 0 ? zllm_problem(&a->problem, ZLLM_E_ARGUMENT, "there is no generation %llu",
                                                    (unsigned long long)a->generation)
                                     : zllm_layout_missing(a, last);
    cut(a, a->generations[n - 1].end);
    return ZLLM_OK;
}

/* `told`: where what is wrong is noted. */
static zllm_result walk(zllm_archive *a, problem_t *told) {
    walk_t *w = &a->walk;
    forget(a);
    a->loaded = 0;
    zllm_input_seek(&a->input, 0);
    w->end = w->members = w->sections = w->ignored = w->held = w->notes = w->unfinished = 0;
    w->stop = 0;
    w->tries = SEARCHES;
    w->told = told;
    w->directory = take_directory;
    w->other = take_other;
    w->context = a;
    zllm_result rc = zllm_walk_begin(w, &a->problem);
    while (rc == ZLLM_OK && (rc = zllm_walk_next(w, &a->section, &a->problem)) == ZLLM_OK)
        rc = zllm_layout_add_section(a, &a->section);
    zllm_section_free(&a->section);
    w->told = &a->told;
    if (rc != ZLLM_END) return rc;
    a->walked = 1;
    a->unfinished = w->unfinished;
    if (a->unfinished > 0) cut(a, w->settled.at);
    return a->wants_generation ? go_back(a) : ZLLM_OK;
}

zllm_result zllm_layout_make(zllm_archive *a) {
    zllm_result rc = zllm_layout_directories(a);
    a->ended = 1;
    if (rc != ZLLM_E_DAMAGED && rc != ZLLM_E_VERSION) return rc;
    a->told = (problem_t){0};
    return walk(a, &a->told);
}

/* Reading a section again. */

static zllm_result lost(problem_t *p) { return DAMAGED(p, "a section map is damaged: its checksum does not match"); }

/* The body of a section and its checksum; *size is that of the body. What stands before the map is known. */
static zllm_result read_body(zllm_archive *a, indexed_t *i, uint8_t *part, const uint8_t **body) {
    const size_t whole = (size_t)envelope_whole(&i->envelope), envelope = envelope_size(&i->envelope);
    uint8_t known[MAX_ENVELOPE];
    const uint8_t *front = i->listed ? i->front : known;
    const size_t front_size = i->listed ? i->front_size : envelope;
    fix_t fixes[MOST_FIXES];
    problem_t one;
    size_t got;
    zllm_result rc = zllm_input_at(&a->input, i->place, part, whole, &got, &a->problem);
    if (rc != ZLLM_OK) return rc;
    if (got < whole || front_size + CHECK_SIZE > whole)
        return DAMAGED(&a->problem, "the archive ends inside a section map");
    (void)zllm_envelope_write(&i->envelope, i->seed, known);
    if (i->listed && memcmp(part, front, front_size) != 0) {
        (void)DAMAGED(&one, "a section header is damaged: the directory has it, too, nothing is lost");
        zllm_problem_note(&a->told, &one);
    }
    memcpy(part, front, front_size);
    *body = part + envelope;
    if (zllm_part_holds(i->seed, part, front_size, part + front_size, whole - front_size)) return ZLLM_OK;
    if (zllm_repair_body(i->seed, part, front_size, part + front_size, whole - front_size, &a->budget, fixes) == 0)
        return lost(&a->problem);
    fix_apply(&fixes[0], part + front_size);
    (void)DAMAGED(&one, "a section map is damaged: one byte was wrong and is corrected, nothing is lost");
    zllm_problem_note(&a->told, &one);
    i->corrected = zllm_heap_take(a->heap, whole - envelope);
    if (i->corrected == NULL) return NO_MEMORY(&a->problem);
    memcpy(i->corrected, *body, whole - envelope);
    return ZLLM_OK;
}

/* Compare a section with what the directory says of it. */
static zllm_result compare(zllm_archive *a, const indexed_t *i) {
    const section_t *s = &a->section;
    problem_t one;
    if (!i->listed) return ZLLM_OK;
    if (s->map.n_frames != i->frames || s->frames_size != i->frames_size)
        return DAMAGED(&a->problem, "a section map is damaged: it has other frames than the section");
    if (s->map.members != i->members) {
        (void)DAMAGED(&one, "the archive is damaged: its directory names other sections than there are");
        zllm_problem_note(&a->told, &one);
    }
    return ZLLM_OK;
}

static zllm_result reload(zllm_archive *a, indexed_t *i) {
    section_t *s = &a->section;
    problem_t *p = &a->problem;
    const uint8_t *body = i->corrected;
    uint8_t *part = NULL;
    zllm_result rc = ZLLM_OK;
    zllm_section_free(s);
    if (body == NULL) {
        part = zllm_heap_take(a->heap, (size_t)envelope_whole(&i->envelope));
        rc = part == NULL ? NO_MEMORY(p) : read_body(a, i, part, &body);
    }
    *s = (section_t){.heap = a->heap, .place = i->place, .base = i->base, .seed = i->seed, .envelope = i->envelope,
                     .exact = i->exact, .frames_at = i->place + envelope_whole(&i->envelope)};
    s->map.heap = a->heap;
    if (rc == ZLLM_OK) rc = zllm_section_open(s, &a->decoder, body, (size_t)i->envelope.length, p);
    zllm_heap_free(a->heap, part);
    if (rc == ZLLM_OK) rc = compare(a, i);
    if (rc == ZLLM_OK && !i->exact) {
        const size_t places = (s->map.n_frames + 1) * sizeof *s->frame_places;
        s->frame_places = zllm_heap_take(a->heap, places);
        if (s->frame_places == NULL) rc = NO_MEMORY(p);
        else memcpy(s->frame_places, i->frame_places, places);
    }
    if (rc != ZLLM_OK) zllm_section_free(s);
    return rc;
}

zllm_result zllm_layout_load(zllm_archive *a, size_t *number) {
    const indexed_t wanted = a->index[*number];
    problem_t unused = {0};
    const zllm_result rc = reload(a, &a->index[*number]);
    if (rc != ZLLM_E_DAMAGED || a->walked) return rc;
    const problem_t problem = a->problem;
    zllm_problem_note(&a->told, &problem);
    const zllm_result walked = walk(a, &unused);
    if (walked != ZLLM_OK) return walked;
    size_t at = 0;
    while (at < a->n_index && a->index[at].start < wanted.start) at++;
    const int there = at < a->n_index && a->index[at].start == wanted.start;
    *number = there ? at : at - 1;
    a->problem = problem;
    if (!there || a->index[at].place == wanted.place) return rc;
    return reload(a, &a->index[at]);
}
