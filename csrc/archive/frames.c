#include "archive/frames.h"

#include <pthread.h>
#include <stdatomic.h>

#include "archive/text.h"

#define LANES 32u           /* streams that a thread decodes at once */
#define UNIT_BYTES ((uint64_t)256 << 10) /* text of small frames that it decodes together */
#define MOST_THREADS 64u
#define MOST_OF_UNIT 32u

/* A frame on its way. */
typedef struct {
    size_t number;
    uint8_t *room;          /* its part, if it had to be read */
    const uint8_t *payload;
    uint8_t *out;
    uint64_t *cuts;
    size_t n_cuts;
    problem_t problem;
    text_frame_t text;
    zllm_job *job;
    uint32_t threads;       /* of the job */
} task_t;

/* Frames [from, end) of the tasks, which one thread decodes together. */
typedef struct {
    size_t from, end;
} unit_t;

typedef struct {
    section_t *s;
    const decoder_of_frames_t *d;
    task_t *tasks;
    size_t n;
    unit_t *units;
    size_t n_units;
    atomic_size_t next;     /* unit to be taken */
    uint32_t threads;
    task_t *shared;         /* that all threads decode together, when all of them are there */
    atomic_uint numbers;    /* of threads, given out */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int gate;               /* 1: go on, -1: go away */
} batch_t;

static int is_general(zllm_result rc) { return rc == ZLLM_E_MEMORY || rc == ZLLM_E_INPUT || rc == ZLLM_E_CANCELLED; }

/* Where documents start inside a frame. */
static zllm_result find_cuts(const section_t *s, task_t *t) {
    const frame_row_t *f = &s->map.frames[t->number];
    const uint64_t *cuts = s->map.boundaries;
    size_t low = 0, high = s->map.n_boundaries;
    while (low < high) { /* the first one behind the frame's start */
        const size_t middle = low + (high - low) / 2;
        if (cuts[middle] <= f->start) low = middle + 1;
        else high = middle;
    }
    size_t end = low;
    while (end < s->map.n_boundaries && cuts[end] < f->start + f->data_size) end++;
    t->cuts = zllm_heap_take(s->heap, (end - low + 1) * sizeof *t->cuts);
    if (t->cuts == NULL) return NO_MEMORY(&t->problem);
    for (size_t i = low; i < end; i++) /* two pieces never begin at one place: they have data */
        t->cuts[t->n_cuts++] = cuts[i] - f->start;
    return ZLLM_OK;
}

/* The whole part of a frame, wherever it is. */
static zllm_result fetch(section_t *s, const decoder_of_frames_t *d, task_t *t, uint64_t offset, size_t whole,
                         const uint8_t **part) {
    size_t got;
    if (s->exact && s->block != NULL) {
        *part = s->block + offset;
        return ZLLM_OK;
    }
    if (!s->exact && s->frame_parts != NULL && s->frame_parts[t->number] != NULL) {
        *part = s->frame_parts[t->number];
        return ZLLM_OK;
    }
    const uint64_t place = s->exact ? s->frames_at + offset : s->frame_places == NULL ? 0 : s->frame_places[t->number];
    if (place == 0)
        return DAMAGED(&t->problem, "the archive ends before a frame that this member needs, or the frame is lost");
    t->room = zllm_heap_take(s->heap, whole);
    if (t->room == NULL) return NO_MEMORY(&t->problem);
    *part = t->room;
    const zllm_result rc = zllm_input_at(d->input, place, t->room, whole, &got, &t->problem);
    if (rc == ZLLM_OK && got < whole)
        return DAMAGED(&t->problem, "the archive ends before a frame that this member needs, or the frame is lost");
    return rc;
}

static uint64_t offset_of(const section_t *s, size_t number) {
    uint64_t offset = 0;
    for (size_t i = 0; i < number; i++) {
        const envelope_t e = zllm_frame_envelope(&s->map.frames[i], s->envelope.number + 1 + i);
        offset += envelope_whole(&e);
    }
    return offset;
}

/* A frame's payload, after its checksum was compared. What stands before it is known: damage to that costs nothing. */
static zllm_result prepare(section_t *s, const decoder_of_frames_t *d, task_t *t, uint64_t offset) {
    const frame_row_t *f = &s->map.frames[t->number];
    const envelope_t e = zllm_frame_envelope(f, s->envelope.number + 1 + t->number);
    uint8_t front[MAX_ENVELOPE + 2 + MAX_VARINT_BYTES];
    const uint8_t *part = NULL;
    const size_t whole = (size_t)envelope_whole(&e);
    if (f->data_size > d->limits->frame_bytes)
        return zllm_problem(&t->problem, ZLLM_E_LIMIT, "a frame has more bytes than the limit that was set");
    zllm_result rc = fetch(s, d, t, offset, whole, &part);
    if (rc != ZLLM_OK) return rc;
    size_t size = zllm_envelope_write(&e, s->seed, front);
    front[size++] = f->codec;
    front[size++] = f->slot;
    size += varint_put(front + size, f->data_size);
    if (!zllm_part_holds(s->seed, front, size, part + size, whole - size))
        return DAMAGED(&t->problem, "a frame is damaged: its checksum does not match");
    if (memcmp(front, part, size) != 0) {
        problem_t harmless;
        (void)zllm_problem(&harmless, ZLLM_E_DAMAGED,
                           "the header of a frame is damaged: the section has it, nothing is lost");
        zllm_problem_note(d->told, &harmless);
    }
    t->payload = part + size;
    t->out = zllm_heap_take(s->heap, f->data_size);
    if (t->out == NULL) return NO_MEMORY(&t->problem);
    return f->codec == CODEC_LLM || f->codec == CODEC_CM ? find_cuts(s, t) : ZLLM_OK;
}

/* The model of a frame. */
static zllm_result find_model(const section_t *s, const decoder_of_frames_t *d, const frame_row_t *f, known_model_t **out,
                              problem_t *p) {
    if (f->slot > s->facts.n_models)
        return DAMAGED(p, "a section is damaged: a frame needs a model that the section does not name");
    if (f->slot == 0) return zllm_problem(p, ZLLM_E_VERSION, "frames of text do not say which model they need");
    *out = s->models[f->slot - 1];
    return zllm_models_load(d->models, *out, p);
}

static zllm_result check_codec(const section_t *s, const frame_row_t *f, problem_t *p) {
    if (f->slot > s->facts.n_models)
        return DAMAGED(p, "a section is damaged: a frame needs a model that the section does not name");
    if (f->codec > CODEC_REBUILD)
        return zllm_problem(p, ZLLM_E_MISSING,
                            "codec %u is not known to this library: unpack the archive with zllm, or a newer library",
                            f->codec);
    return ZLLM_OK;
}

/* Decode a frame of any codec but llm. */
static void decode_plain(const section_t *s, const decoder_of_frames_t *d, task_t *t) {
    const frame_row_t *f = &s->map.frames[t->number];
    problem_t *p = &t->problem;
    if (f->codec == CODEC_CM)
        (void)zllm_unpack_cm(&d->decoding, t->payload, f->payload_size, t->out, f->data_size, t->cuts, t->n_cuts, 1,
                             "a text frame", p);
    else
        (void)zllm_unpack_alone(&d->decoding, s->heap, f->codec, t->payload, f->payload_size, t->out, f->data_size, p);
}

static zllm_result start_text(const section_t *s, const decoder_of_frames_t *d, task_t *t, uint32_t threads) {
    const frame_row_t *f = &s->map.frames[t->number];
    const known_model_t *model = s->models[f->slot - 1];
    zllm_result rc = zllm_text_open(s->heap, t->payload, f->payload_size, t->out, f->data_size, t->cuts, t->n_cuts, &t->text,
                                    &t->problem);
    if (rc != ZLLM_OK) return rc;
    t->threads = threads < t->text.frame.n_streams ? threads : (uint32_t)t->text.frame.n_streams;
    rc = zllm_job_new(model->model, &t->text.frame, model->start, t->threads, 1, d->decoding.options, &t->job);
    return zllm_problem_of_coder(rc, "a text frame", &t->problem);
}

static void end_text(task_t *t, zllm_result rc) {
    if (t->problem.result == ZLLM_OK && zllm_problem_of_coder(rc, "a text frame", &t->problem) == ZLLM_OK)
        zllm_text_finish(&t->text);
    zllm_job_free(t->job);
    t->job = NULL;
    zllm_text_free(&t->text);
    t->text = (text_frame_t){.heap = t->text.heap};
}

/* Text of several frames, one job each, by this thread. If one of them fails, each is decoded by itself. */
static void decode_texts(const section_t *s, const decoder_of_frames_t *d, task_t *tasks, size_t n) {
    const zllm_run run = {.lanes = LANES, .cancel = d->decoding.cancel};
    zllm_job *jobs[MOST_OF_UNIT];
    size_t made = 0;
    zllm_result rc = ZLLM_OK;
    for (size_t i = 0; i < n; i++)
        if (tasks[i].problem.result == ZLLM_OK && start_text(s, d, &tasks[i], 1) == ZLLM_OK) jobs[made++] = tasks[i].job;
    if (made > 0) rc = zllm_job_work(jobs, made, 0, &run);
    const int again = made > 1 && rc != ZLLM_OK && !is_general(rc);
    for (size_t i = 0; i < n; i++) {
        if (tasks[i].text.heap == NULL) continue;
        end_text(&tasks[i], again && tasks[i].problem.result == ZLLM_OK ? ZLLM_OK : rc);
        if (again && tasks[i].problem.result == ZLLM_OK) decode_texts(s, d, &tasks[i], 1);
    }
}

static void decode_unit(batch_t *b, const unit_t *unit) {
    task_t *first = &b->tasks[unit->from];
    if (b->s->map.frames[first->number].codec == CODEC_LLM) decode_texts(b->s, b->d, first, unit->end - unit->from);
    else if (first->problem.result == ZLLM_OK) decode_plain(b->s, b->d, first);
}

static int pass_gate(batch_t *b) {
    (void)pthread_mutex_lock(&b->lock);
    while (b->gate == 0) (void)pthread_cond_wait(&b->changed, &b->lock);
    const int way = b->gate;
    (void)pthread_mutex_unlock(&b->lock);
    return way > 0;
}

static void open_gate(batch_t *b, int way) {
    (void)pthread_mutex_lock(&b->lock);
    b->gate = way;
    (void)pthread_cond_broadcast(&b->changed);
    (void)pthread_mutex_unlock(&b->lock);
}

static void *work(void *batch) {
    batch_t *b = batch;
    const zllm_run run = {.lanes = LANES, .cancel = b->d->decoding.cancel};
    if (!pass_gate(b)) return NULL;
    if (b->shared != NULL) {
        const zllm_result rc = zllm_job_work(&b->shared->job, 1, atomic_fetch_add(&b->numbers, 1), &run);
        return (void *)(uintptr_t)rc;
    }
    for (;;) {
        const size_t i = atomic_fetch_add(&b->next, 1);
        if (i >= b->n_units) return NULL;
        decode_unit(b, &b->units[i]);
    }
}

/* Run the work in so many threads, this one among them; fewer if there cannot be so many. Gives what one of them gave. Those
 * of a shared frame wait for each other, so nothing is done (*done is 0) unless all are there. */
static zllm_result in_threads(batch_t *b, uint32_t threads, int *done) {
    pthread_t others[MOST_THREADS];
    uint32_t n = 0;
    b->gate = 0;
    while (n + 1 < threads && pthread_create(&others[n], NULL, work, b) == 0) n++;
    *done = b->shared == NULL || n + 1 == threads;
    open_gate(b, *done ? 1 : -1);
    zllm_result rc = (zllm_result)(uintptr_t)work(b);
    for (uint32_t i = 0; i < n; i++) {
        void *other;
        (void)pthread_join(others[i], &other);
        if ((zllm_result)(uintptr_t)other != ZLLM_OK) rc = (zllm_result)(uintptr_t)other;
    }
    return rc;
}

/* Units of the tasks: frames of text, small ones together; of other codecs each by itself. */
static void make_units(batch_t *b) {
    uint64_t bytes = 0;
    for (size_t i = 0; i < b->n; i++) {
        const frame_row_t *f = &b->s->map.frames[b->tasks[i].number];
        unit_t *last = b->n_units > 0 ? &b->units[b->n_units - 1] : NULL;
        const frame_row_t *before = last != NULL ? &b->s->map.frames[b->tasks[last->from].number] : NULL;
        if (before != NULL && f->codec == CODEC_LLM && before->codec == CODEC_LLM && before->slot == f->slot &&
            last->end == i && bytes + f->data_size <= UNIT_BYTES && i - last->from < MOST_OF_UNIT) {
            last->end++;
            bytes += f->data_size;
            continue;
        }
        b->units[b->n_units++] = (unit_t){i, i + 1};
        bytes = f->data_size;
    }
}

/* Whether there is nothing but text, in fewer units than threads. */
static int is_for_all_threads(const batch_t *b) {
    for (size_t i = 0; i < b->n_units; i++)
        if (b->s->map.frames[b->tasks[b->units[i].from].number].codec != CODEC_LLM) return 0;
    return b->threads > 1 && b->n_units < b->threads;
}

/* Frames of text one after the other, by all threads. */
static void decode_shared(batch_t *b) {
    for (size_t i = 0; i < b->n; i++) {
        task_t *t = &b->tasks[i];
        int done = 1;
        if (t->problem.result != ZLLM_OK) continue;
        zllm_result rc = start_text(b->s, b->d, t, b->threads);
        b->shared = t;
        atomic_store(&b->numbers, 0);
        if (rc == ZLLM_OK) rc = in_threads(b, t->threads, &done);
        end_text(t, done ? rc : ZLLM_E_MEMORY);
        if (done) continue;
        t->problem.result = ZLLM_OK;
        decode_texts(b->s, b->d, t, 1);
    }
}

/* All tasks, which are prepared. */
static void decode_batch(batch_t *b) {
    int done;
    make_units(b);
    if (is_for_all_threads(b)) {
        decode_shared(b);
        return;
    }
    (void)in_threads(b, b->threads < b->n_units ? b->threads : (uint32_t)b->n_units, &done);
}

static zllm_result finish(section_t *s, task_t *t, problem_t *p) {
    const frame_row_t *f = &s->map.frames[t->number];
    uint8_t hash[SHA256_SIZE];
    if (t->problem.result == ZLLM_OK && f->hash != NULL) {
        zllm_sha256(t->out, f->data_size, hash);
        if (memcmp(hash, f->hash, FRAME_HASH_SIZE) != 0)
            (void)DAMAGED(&t->problem, "a frame is damaged: its data has another SHA-256");
    }
    zllm_heap_free(s->heap, t->room);
    zllm_heap_free(s->heap, t->cuts);
    if (t->problem.result == ZLLM_OK) {
        s->data[t->number] = t->out;
        return ZLLM_OK;
    }
    zllm_heap_free(s->heap, t->out);
    if (is_general(t->problem.result)) {
        *p = t->problem;
        return p->result;
    }
    problem_t *kept = zllm_heap_take(s->heap, sizeof *kept);
    if (kept == NULL) return NO_MEMORY(p);
    *kept = t->problem;
    s->problems[t->number] = kept;
    return ZLLM_OK;
}

static void prepare_all(batch_t *b, const size_t *frames) {
    uint64_t offset = 0;
    size_t at = 0;
    for (size_t i = 0; i < b->n; i++) {
        task_t *t = &b->tasks[i];
        const frame_row_t *f = &b->s->map.frames[frames[i]];
        known_model_t *model;
        t->number = frames[i];
        if (i == 0) offset = offset_of(b->s, at = t->number);
        for (; at < t->number; at++) {
            const envelope_t e = zllm_frame_envelope(&b->s->map.frames[at], b->s->envelope.number + 1 + at);
            offset += envelope_whole(&e);
        }
        if (check_codec(b->s, f, &t->problem) == ZLLM_OK && prepare(b->s, b->d, t, offset) == ZLLM_OK &&
            f->codec == CODEC_LLM)
            (void)find_model(b->s, b->d, f, &model, &t->problem);
    }
}

zllm_result zllm_frames_decode(section_t *s, const decoder_of_frames_t *d, const size_t *frames, size_t n, problem_t *p) {
    batch_t b = {.s = s, .d = d, .n = n};
    zllm_result rc = ZLLM_OK;
    b.tasks = zllm_heap_zeroed(s->heap, n + 1, sizeof *b.tasks);
    b.units = zllm_heap_zeroed(s->heap, n + 1, sizeof *b.units);
    if (b.tasks == NULL || b.units == NULL) {
        zllm_heap_free(s->heap, b.tasks);
        zllm_heap_free(s->heap, b.units);
        return NO_MEMORY(p);
    }
    atomic_init(&b.next, 0);
    atomic_init(&b.numbers, 0);
    b.threads = d->threads;
    prepare_all(&b, frames);
    if (pthread_mutex_init(&b.lock, NULL) != 0 || pthread_cond_init(&b.changed, NULL) != 0) b.threads = 1;
    decode_batch(&b);
    (void)pthread_cond_destroy(&b.changed);
    (void)pthread_mutex_destroy(&b.lock);
    for (size_t i = 0; i < n; i++) {
        const zllm_result one = finish(s, &b.tasks[i], p);
        if (rc == ZLLM_OK) rc = one;
    }
    zllm_heap_free(s->heap, b.tasks);
    zllm_heap_free(s->heap, b.units);
    return rc;
}
