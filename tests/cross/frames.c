/* Frames of a model: encoded, and their golden code strings decoded, in each of the ways that the bundle lists, by one
 * thread, by a team all together, or by several threads one after the other. What goes wrong on purpose must end every
 * thread. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "machine.h"

#define MOST_FRAMES 4096u
#define MOST_THREADS 16u
#define MOST_IN_TEAM 3u /* for they meet often, and an emulator may have two processors for all */
#define ROOM 1024u

typedef struct {
    zllm_stream *streams;
    size_t n_streams, size, golden_size, room;
    uint8_t *golden, *coded, *text;
} item_t;

typedef struct {
    const zllm_model *model;
    uint32_t start, n_ways, n;
    const uint32_t *ways; /* [n_ways][2]: lanes, threads */
    item_t *items;
} frames_t;

static void read_stream(bundle_t *b, zllm_stream *t) {
    const uint64_t size = bundle_get(b, 8);
    if (size > 64u << 20) b->bad = 1;
    t->size = (size_t)size;
    t->n_cuts = bundle_u32(b);
    t->cuts = bundle_u64s(b, t->n_cuts);
    t->n_tokens = bundle_u32(b);
    t->tokens = bundle_u32s(b, t->n_tokens);
}

static void read_item(bundle_t *b, item_t *f) {
    size_t tokens = 0;
    f->n_streams = bundle_u32(b);
    if (f->n_streams > 256) b->bad = 1;
    f->streams = bundle_room(b, f->n_streams, sizeof *f->streams);
    for (size_t i = 0; !b->bad && i < f->n_streams; i++) {
        read_stream(b, &f->streams[i]);
        f->size += f->streams[i].size;
        tokens += f->streams[i].n_tokens;
    }
    f->golden_size = bundle_u32(b);
    const uint8_t *golden = bundle_bytes(b, f->golden_size);
    f->golden = bundle_room(b, f->golden_size, 1);
    if (!b->bad) memcpy(f->golden, golden, f->golden_size);
    f->room = 24 * (f->size + tokens) + ROOM;
    f->coded = bundle_room(b, f->room, 1);
    f->text = bundle_room(b, f->size, 1);
}

static int read_frames(run_t *r, frames_t *t) {
    bundle_t *b = &r->bundle;
    const uint32_t model = bundle_u32(b);
    t->start = bundle_u32(b);
    t->n_ways = bundle_u32(b);
    t->ways = bundle_u32s(b, 2 * (uint64_t)t->n_ways);
    t->n = bundle_u32(b);
    if (t->n > MOST_FRAMES || model >= r->n_models) b->bad = 1;
    t->items = bundle_room(b, t->n, sizeof *t->items);
    for (uint32_t i = 0; !b->bad && i < t->n; i++) read_item(b, &t->items[i]);
    for (uint32_t i = 0; !b->bad && i < t->n_ways; i++)
        if (t->ways[2 * i + 1] < 1 || t->ways[2 * i + 1] > MOST_THREADS) b->bad = 1;
    if (!b->bad) t->model = r->models[model];
    return !b->bad;
}

typedef struct {
    zllm_job **jobs;
    size_t n;
    uint32_t thread;
    zllm_run run;
    zllm_result rc;
} worker_t;

static void *work(void *argument) {
    worker_t *w = argument;
    w->rc = zllm_job_work(w->jobs, w->n, w->thread, &w->run);
    return NULL;
}

/* Jobs by several threads; the last may be given another number of lanes, and all be cancelled as soon as they run. */
static zllm_result share(zllm_job **jobs, size_t count, uint32_t threads, const zllm_run *run,
                         const uint32_t *odd_lanes, int32_t *cancel) {
    pthread_t id[MOST_THREADS];
    worker_t workers[MOST_THREADS];
    int32_t not_started = 0;
    uint32_t n = 0;
    zllm_result rc = ZLLM_OK;
    for (; n < threads; n++) {
        workers[n] = (worker_t){.jobs = jobs, .n = count, .thread = n, .run = *run};
        workers[n].run.cancel = cancel != NULL ? cancel : &not_started;
        if (odd_lanes != NULL && n == threads - 1) workers[n].run.lanes = *odd_lanes;
        if (pthread_create(&id[n], NULL, work, &workers[n]) != 0) {
            __atomic_store_n(cancel != NULL ? cancel : &not_started, 1, __ATOMIC_RELAXED);
            rc = ZLLM_E_MEMORY;
            break;
        }
    }
    if (cancel != NULL) __atomic_store_n(cancel, 1, __ATOMIC_RELAXED);
    for (uint32_t k = 0; k < n; k++) {
        pthread_join(id[k], NULL);
        if (rc == ZLLM_OK) rc = workers[k].rc;
    }
    return rc;
}

static zllm_result work_all(zllm_job **jobs, uint32_t n, uint32_t threads, const zllm_run *run) {
    zllm_result rc = ZLLM_OK;
    if (threads == 1) return zllm_job_work(jobs, n, 0, run);
    if (run->team != NULL) return share(jobs, n, threads, run, NULL, NULL);
    for (uint32_t i = 0; i < n && rc == ZLLM_OK; i++) rc = share(&jobs[i], 1, threads, run, NULL, NULL);
    return rc;
}

typedef enum { ENCODING, DECODING, TEAM } way_t; /* teams decode */

/* All frames, encoded or decoded in one way. */
static zllm_result code(const frames_t *t, uint32_t lanes, uint32_t threads, way_t way, zllm_frame *frames) {
    zllm_run run = {.lanes = lanes};
    zllm_job **jobs = calloc(t->n + 1, sizeof(zllm_job *));
    zllm_result rc = jobs == NULL ? ZLLM_E_MEMORY : ZLLM_OK;
    if (rc == ZLLM_OK && way == TEAM) rc = zllm_team_new(threads, NULL, &run.team);
    for (uint32_t i = 0; i < t->n && rc == ZLLM_OK; i++) {
        const item_t *f = &t->items[i];
        if (way != ENCODING) memset(f->text, 0, f->size);
        frames[i] = (zllm_frame){.streams = f->streams, .n_streams = f->n_streams, .size = f->size, .data = f->text,
                                 .coded = way == ENCODING ? f->coded : f->golden,
                                 .coded_size = way == ENCODING ? f->room : f->golden_size};
        rc = zllm_job_new(t->model, &frames[i], t->start, way == TEAM ? 1 : threads, way != ENCODING, NULL, &jobs[i]);
    }
    if (rc == ZLLM_OK) rc = work_all(jobs, t->n, threads, &run);
    for (uint32_t i = 0; jobs != NULL && i < t->n; i++) zllm_job_free(jobs[i]);
    zllm_team_free(run.team);
    free(jobs);
    return rc;
}

static int print_way(const frames_t *t, uint32_t lanes, uint32_t threads, zllm_frame *frames, const char *name) {
    sha256_t s;
    zllm_result rc = code(t, lanes, threads, ENCODING, frames);
    if (rc != ZLLM_OK) return fail("%s: encoding, %u lanes, %u threads: error %d", name, lanes, threads, (int)rc);
    sha256_start(&s);
    for (uint32_t i = 0; i < t->n; i++) sha256_add(&s, frames[i].coded, frames[i].coded_size);
    print_item(&s, name, "/code");
    for (way_t way = DECODING; way <= (threads > MOST_IN_TEAM ? DECODING : TEAM); way++) {
        rc = code(t, lanes, threads, way, frames);
        if (rc != ZLLM_OK) return fail("%s: decoding, %u lanes, %u threads: error %d", name, lanes, threads, (int)rc);
        sha256_start(&s);
        for (uint32_t i = 0; i < t->n; i++) sha256_add(&s, frames[i].data, frames[i].size);
        print_item(&s, name, "/text");
    }
    return 0;
}

int do_frames(run_t *r, const char *name) {
    frames_t t = {0};
    sha256_t s;
    if (!read_frames(r, &t)) return fail("the bundle is damaged: %s", name);
    zllm_frame *frames = bundle_room(&r->bundle, t.n, sizeof *frames);
    if (frames == NULL) return fail("out of memory");
    sha256_start(&s);
    for (uint32_t i = 0; i < t.n; i++)
        for (size_t k = 0; k < t.items[i].n_streams; k++)
            for (size_t j = 0; j < t.items[i].streams[k].n_tokens; j++)
                sha256_add_little(&s, t.items[i].streams[k].tokens[j], 4);
    print_item(&s, name, "/tokens");
    for (uint32_t i = 0; i < t.n_ways; i++)
        if (print_way(&t, t.ways[2 * i], t.ways[2 * i + 1], frames, name)) return 1;
    return 0;
}

/* One frame of several streams by several threads, with something wrong. */
static zllm_result broken(const frames_t *t, zllm_frame *f, uint32_t threads, way_t way, const uint32_t *odd_lanes,
                          int cancel) {
    zllm_run run = {.lanes = 4};
    int32_t flag = 0;
    zllm_job *job = NULL;
    zllm_result rc = way == TEAM ? zllm_team_new(threads, NULL, &run.team) : ZLLM_OK;
    if (rc == ZLLM_OK) rc = zllm_job_new(t->model, f, t->start, way == TEAM ? 1 : threads, way != ENCODING, NULL, &job);
    if (rc == ZLLM_OK) rc = share(&job, 1, threads, &run, odd_lanes, cancel ? &flag : NULL);
    zllm_job_free(job);
    zllm_team_free(run.team);
    return rc;
}

/* A generator of numbers (Marsaglia 2003, Xorshift RNGs). */
static void fill_junk(uint8_t *out, size_t size) {
    uint32_t x = 2463534242u;
    for (size_t i = 0; i < size; i++) {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        out[i] = (uint8_t)(x >> 24);
    }
}

int do_failures(run_t *r, const char *name) {
    frames_t t = {0};
    const uint32_t none = 0;
    if (!read_frames(r, &t) || t.n < 1) return fail("the bundle is damaged: %s", name);
    const item_t *f = &t.items[0];
    for (uint32_t threads = 1; threads <= 3; threads++)
        for (way_t way = ENCODING; way <= TEAM; way++) {
            const int decoding = way != ENCODING;
            zllm_frame frame = {.streams = f->streams, .n_streams = f->n_streams, .size = f->size, .data = f->text,
                                .coded = decoding ? f->golden : f->coded,
                                .coded_size = decoding ? f->golden_size : f->golden_size / 2};
            zllm_frame again = frame;
            zllm_result rc = broken(&t, &again, threads, way, NULL, 0);
            if (rc != (decoding ? ZLLM_OK : ZLLM_E_SPACE)) return fail("%s: too little room: %d", name, (int)rc);
            again = frame;
            rc = broken(&t, &again, threads, way, &none, 0);
            if (rc != ZLLM_E_ARGUMENT) return fail("%s: a thread without lanes: %d", name, (int)rc);
            again = frame;
            again.coded_size = decoding ? f->golden_size : f->room;
            rc = broken(&t, &again, threads, way, NULL, 1);
            if (rc != ZLLM_OK && rc != ZLLM_E_CANCELLED) return fail("%s: cancelled: %d", name, (int)rc);
        }
    fill_junk(f->coded, f->golden_size);
    for (uint32_t i = 0; i < 6; i++) {
        zllm_frame junk = {.streams = f->streams, .n_streams = f->n_streams, .size = f->size, .data = f->text,
                           .coded = f->coded, .coded_size = f->golden_size};
        const zllm_result rc = broken(&t, &junk, 1 + i / 2, i % 2 ? TEAM : DECODING, NULL, 0);
        if (rc != ZLLM_OK && rc != ZLLM_E_DATA) return fail("%s: junk: %d", name, (int)rc);
    }
    return 0;
}
