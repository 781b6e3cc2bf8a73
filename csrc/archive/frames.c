#include "archive/frames.h"

#include <stdatomic.h>

#include "archive/rescue.h"
#include "archive/task.h"
#include "archive/threads.h"

#define LANES 32u           /* streams that a thread decodes at once */
#define UNIT_BYTES ((uint64_t)256 << 10) /* text of small frames that it decodes together */
#define MOST_THREADS 64u
#define MOST_OF_UNIT 32u
/* Threads that share a frame meet dozens of times a token. Where there is no futex, naps are too long for that: Windows. */
#if defined(_WIN32)
#define MAY_SHARE 0
#else
#define MAY_SHARE 1
#endif

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
        const unit_t *unit = &b->units[i];
        zllm_task_decode(b->s, b->d, &b->tasks[unit->from], unit->end - unit->from);
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
    return MAY_SHARE && b->threads > 1 && b->n_units < b->threads;
}

/* Frames of text one after the other, by all threads. */
static void decode_shared(batch_t *b) {
    for (size_t i = 0; i < b->n; i++) {
        task_t *t = &b->tasks[i];
        int done = 1;
        if (t->problem.result != ZLLM_OK) continue;
        zllm_result rc = zllm_task_start(b->s, b->d, t, b->threads);
        b->shared = t;
        atomic_store(&b->numbers, 0);
        if (rc == ZLLM_OK) rc = in_threads(b, t->threads, &done);
        zllm_task_end(t, done ? rc : ZLLM_E_MEMORY);
        if (done) continue;
        t->problem.result = ZLLM_OK;
        zllm_task_decode(b->s, b->d, t, 1);
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
    zllm_task_free(s, t);
    if (t->problem.result == ZLLM_OK) {
        s->data[t->number] = t->out;
        return ZLLM_OK;
    }
    zllm_heap_free(s->heap, t->out);
    if (is_general(t->problem.result)) {
        *p = t->problem;
        return p->result;
    }
    if (t->damaged) return ZLLM_OK; /* more may come of it */
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
        t->number = frames[i];
        if (i == 0) offset = zllm_task_offset(b->s, at = t->number);
        for (; at < t->number; at++) {
            const envelope_t e = zllm_frame_envelope(&b->s->map.frames[at], b->s->envelope.number + 1 + at);
            offset += envelope_whole(&e);
        }
        zllm_task_prepare(b->s, b->d, t, offset);
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
    for (size_t i = 0; i < n && rc == ZLLM_OK; i++) { /* proving one may have made others */
        const task_t *t = &b.tasks[i];
        if (t->damaged && s->problems[t->number] == NULL) rc = zllm_frame_rescue(s, d, t->number, &t->problem, p);
    }
    zllm_heap_free(s->heap, b.tasks);
    zllm_heap_free(s->heap, b.units);
    return rc;
}
