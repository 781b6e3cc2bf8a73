/* Opening archives, and going from section to section. */
#include "archive/file.h"
#include "archive/layout.h"
#include "archive/search.h"

#define MOST_THREADS 64u

static _Thread_local problem_t opening; /* why this thread's last archive could not be opened */

static zllm_result refuse(zllm_result rc, const problem_t *p) {
    opening = *p;
    return rc;
}

/* All memory of models and of coding comes from the archive's heap, so that one limit holds for all of it; without a limit
 * they have heaps of their own, which may be of large pages. */
static void *heap_allocate(void *heap, size_t size) { return zllm_heap_take(heap, size); }

static void heap_release(void *heap, void *memory, size_t size) {
    (void)size;
    zllm_heap_free(heap, memory);
}

static zllm_result read_options(const zllm_archive_options *from, zllm_archive_options *to, problem_t *p) {
    const unsigned char *bytes = (const unsigned char *)from;
    *to = (zllm_archive_options){.size = sizeof *to};
    if (from == NULL) return ZLLM_OK;
    int good = from->size >= sizeof *to;
    for (size_t i = sizeof *to; good && i < from->size; i++) good = bytes[i] == 0;
    if (!good) return zllm_problem(p, ZLLM_E_ARGUMENT, "the options are of another version of the library");
    *to = *from;
    return ZLLM_OK;
}

static void set_up(zllm_archive *a, const zllm_archive_options *o) {
    a->memory = (zllm_options){.size = sizeof a->memory};
    if (o->memory != NULL) a->memory = *o->memory;
    a->memory.size = sizeof a->memory;
    if (a->memory.memory_limit != 0)
        a->memory = (zllm_options){.size = sizeof a->memory, .allocate = heap_allocate, .release = heap_release,
                                   .context = a->heap};
    const decoding_t decoding = {.kernel = o->kernel, .cancel = o->cancel, .options = &a->memory};
    a->input.heap = a->heap;
    a->members.heap = a->heap;
    a->deletions.heap = a->heap;
    a->budget.left = BUDGET;
    a->wants_generation = o->generation != NULL;
    if (o->generation != NULL) a->generation = *o->generation;
    a->models = (models_t){.heap = a->heap, .input = &a->input, .limits = &a->limits, .decoding = decoding,
                           .find = o->find_model, .context = o->context};
    a->decoder = (decoder_of_frames_t){
        .heap = a->heap, .input = &a->input, .limits = &a->limits, .decoding = decoding, .models = &a->models,
        .threads = o->threads == 0 ? 1 : o->threads < MOST_THREADS ? o->threads : MOST_THREADS,
        .told = &a->told, .budget = &a->budget};
    a->walk = (walk_t){.heap = a->heap, .input = &a->input, .decoder = &a->decoder, .told = &a->told, .tries = SEARCHES,
                      .directory = zllm_names_compare, .context = a};
}

/* A new archive without an input. It has the file, which is closed with it. */
static zllm_result make(const zllm_archive_options *options, int file, zllm_archive **out, problem_t *p) {
    zllm_archive_options o;
    zllm_limits limits;
    heap_t *heap = NULL;
    zllm_result rc = read_options(options, &o, p);
    if (rc == ZLLM_OK && zllm_limits_read(o.limits, &limits) != ZLLM_OK)
        rc = zllm_problem(p, ZLLM_E_ARGUMENT, "the limits are of another version of the library");
    if (rc == ZLLM_OK && (rc = zllm_heap_open(o.memory, &heap)) != ZLLM_OK)
        rc = zllm_problem(p, rc, "the memory that was given cannot be used, or is too little");
    zllm_archive *a = rc == ZLLM_OK ? zllm_heap_zeroed(heap, 1, sizeof *a) : NULL;
    if (rc == ZLLM_OK && a == NULL) rc = NO_MEMORY(p);
    if (rc != ZLLM_OK) {
        zllm_heap_close(heap);
        zllm_file_close(file);
        return rc;
    }
    a->heap = heap;
    a->limits = limits;
    a->file = file;
    set_up(a, &o);
    *out = a;
    return ZLLM_OK;
}

static zllm_result begin(zllm_archive *a, zllm_archive **out) {
    zllm_result rc = zllm_walk_begin(&a->walk, &a->problem);
    if (rc == ZLLM_OK && !a->input.input.sequential) rc = zllm_layout_make(a);
    if (rc == ZLLM_OK) {
        *out = a;
        return ZLLM_OK;
    }
    (void)refuse(rc, &a->problem);
    zllm_archive_close(a);
    return rc;
}

zllm_result zllm_archive_open_input(const zllm_input *input, const zllm_archive_options *options, zllm_archive **out) {
    zllm_archive *a;
    problem_t p;
    *out = NULL;
    const zllm_result rc = make(options, -1, &a, &p);
    if (rc != ZLLM_OK) return refuse(rc, &p);
    a->input.input = *input;
    return begin(a, out);
}

static int read_memory(void *archive, uint64_t offset, void *data, size_t *size) {
    const zllm_archive *a = archive;
    memcpy(data, a->data + offset, *size); /* within its bounds: input.size is known */
    return 0;
}

zllm_result zllm_archive_open_memory(const void *data, size_t size, const zllm_archive_options *options,
                                     zllm_archive **out) {
    zllm_archive *a;
    problem_t p;
    *out = NULL;
    const zllm_result rc = make(options, -1, &a, &p);
    if (rc != ZLLM_OK) return refuse(rc, &p);
    a->data = data;
    a->input.input = (zllm_input){.read = read_memory, .context = a, .size = size};
    return begin(a, out);
}

static int read_file(void *archive, uint64_t offset, void *data, size_t *size) {
    const zllm_archive *a = archive;
    return zllm_file_read(a->file, offset, data, size);
}

zllm_result zllm_archive_open(const char *path, const zllm_archive_options *options, zllm_archive **out) {
    zllm_archive *a;
    problem_t p;
    uint64_t size = 0;
    const char *why = NULL;
    *out = NULL;
    const int file = zllm_file_open(path, &size, &why);
    if (file < 0) return refuse(zllm_problem(&p, ZLLM_E_INPUT, "%s", why), &p);
    const zllm_result rc = make(options, file, &a, &p);
    if (rc != ZLLM_OK) return refuse(rc, &p);
    a->input.input = (zllm_input){.read = read_file, .context = a, .size = size};
    return begin(a, out);
}

void zllm_archive_close(zllm_archive *a) {
    if (a == NULL) return;
    heap_t *heap = a->heap;
    const int file = a->file;
    zllm_section_free(&a->section);
    zllm_walk_free(&a->walk);
    zllm_models_free(&a->models);
    zllm_members_free(&a->members);
    zllm_layout_free(a);
    zllm_heap_free(heap, a->names);
    zllm_heap_free(heap, a->note);
    zllm_input_free(&a->input);
    zllm_heap_free(heap, a);
    zllm_heap_close(heap);
    zllm_file_close(file);
}

const char *zllm_archive_error(const zllm_archive *a) { return a != NULL ? a->problem.text : opening.text; }

uint64_t zllm_archive_ignored(const zllm_archive *a) { return a->walk.ignored; }

uint64_t zllm_archive_unfinished(const zllm_archive *a) { return a->unfinished; }

/* Sections. */

zllm_result zllm_archive_go(zllm_archive *a, size_t number) {
    zllm_result rc = ZLLM_END;
    a->record = a->reading = 0;
    a->offset = 0;
    for (; number < a->n_index; number++) {
        if (a->loaded == number + 1) rc = ZLLM_OK; /* with what was decoded of it */
        else rc = zllm_layout_load(a, &number);
        a->loaded = rc == ZLLM_OK ? number + 1 : 0;
        if (rc != ZLLM_E_DAMAGED && rc != ZLLM_E_VERSION) break;
        zllm_problem_note(&a->told, &a->problem); /* it is lost; others are not */
        rc = ZLLM_END;
    }
    a->started = a->started || rc == ZLLM_OK;
    a->current = number;
    if (rc == ZLLM_END) a->record = a->reading = SIZE_MAX; /* a section may be in memory, and has passed */
    return rc;
}

zllm_result zllm_archive_advance(zllm_archive *a) {
    if (!a->input.input.sequential) return zllm_archive_go(a, a->started ? a->current + 1 : 0);
    zllm_result rc = ZLLM_END;
    a->record = a->reading = 0;
    a->offset = 0;
    if (!a->ended) rc = zllm_walk_next(&a->walk, &a->section, &a->problem);
    if (rc == ZLLM_END && !a->ended && a->wants_generation && !a->walk.stop) {
        (void)zllm_layout_missing(a, a->walk.generation > 0 ? a->walk.generation - 1 : 0);
        zllm_problem_note(&a->told, &a->problem);
    }
    if (rc == ZLLM_END) a->ended = 1;
    if (rc == ZLLM_OK && a->walk.generation > 0) rc = zllm_names_add(a);
    if (a->started) a->current++;
    a->started = a->started || rc == ZLLM_OK;
    return rc;
}

zllm_result zllm_archive_restart(zllm_archive *a) {
    if (a->input.input.sequential && a->started)
        return zllm_problem(&a->problem, ZLLM_E_ARGUMENT, "a pipe cannot be read backwards");
    if (a->input.input.sequential) zllm_section_free(&a->section);
    a->started = a->in_member = a->raw_given = 0;
    a->current = a->record = 0;
    return ZLLM_OK;
}
