/* Threads that work at pieces, while the caller's thread tells 7-Zip how far they are. */
#define _POSIX_C_SOURCE 200809L
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "plugins/7zip/blocks.h"

#define MOST_THREADS 64u
#define TICK_NANOSECONDS 100000000L

typedef struct {
    work_t work;
    coding_t *coding;
    piece_t *pieces;
    size_t n;
    atomic_size_t next;
    pthread_mutex_t lock;
    pthread_cond_t returned;
    uint32_t running;
} crew_t;

static void *labour(void *argument) {
    crew_t *c = argument;
    for (size_t i; (i = atomic_fetch_add(&c->next, 1)) < c->n;) c->work(c->coding, &c->pieces[i]);
    (void)pthread_mutex_lock(&c->lock);
    c->running--;
    (void)pthread_cond_signal(&c->returned);
    (void)pthread_mutex_unlock(&c->lock);
    return NULL;
}

static uint64_t done(const crew_t *c) {
    uint64_t sum = 0;
    for (size_t i = 0; i < c->n; i++) sum += c->pieces[i].progress;
    return sum;
}

/* Wait for all of them, ticking. */
static int watch(crew_t *c, int (*tick)(void *context, uint64_t done), void *context) {
    int rc = 0;
    (void)pthread_mutex_lock(&c->lock);
    while (c->running > 0) {
        struct timespec until;
        (void)clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += TICK_NANOSECONDS;
        if (until.tv_nsec >= 1000000000L) {
            until.tv_nsec -= 1000000000L;
            until.tv_sec++;
        }
        (void)pthread_cond_timedwait(&c->returned, &c->lock, &until);
        if (rc != 0 || c->running == 0) continue;
        (void)pthread_mutex_unlock(&c->lock);
        rc = tick(context, done(c));
        if (rc != 0) {
            c->coding->cancel = 1;
            atomic_store(&c->next, c->n);
        }
        (void)pthread_mutex_lock(&c->lock);
    }
    (void)pthread_mutex_unlock(&c->lock);
    return rc;
}

int work_at(work_t work, coding_t *coding, piece_t *pieces, size_t n, uint32_t threads,
            int (*tick)(void *context, uint64_t done), void *context) {
    pthread_t ids[MOST_THREADS];
    uint32_t started = 0;
    crew_t c = {.work = work, .coding = coding, .pieces = pieces, .n = n,
                .lock = PTHREAD_MUTEX_INITIALIZER, .returned = PTHREAD_COND_INITIALIZER};
    atomic_init(&c.next, 0);
    if (threads > n) threads = (uint32_t)n;
    if (threads > MOST_THREADS) threads = MOST_THREADS;
    (void)pthread_mutex_lock(&c.lock);
    while (started < threads && pthread_create(&ids[started], NULL, labour, &c) == 0) started++;
    c.running = started;
    (void)pthread_mutex_unlock(&c.lock);
    if (started == 0) { /* no thread is to be had: the caller's does it all */
        c.running = 1;
        (void)labour(&c);
    }
    int rc = watch(&c, tick, context);
    for (uint32_t i = 0; i < started; i++) (void)pthread_join(ids[i], NULL);
    if (rc == 0) rc = tick(context, done(&c));
    return rc;
}
