#include "team.h"

#define MOST_THREADS 256u

zllm_result zllm_team_new(uint32_t threads, const zllm_options *options, zllm_team **out) {
    heap_t *heap;
    *out = NULL;
    if (threads < 1 || threads > MOST_THREADS) return ZLLM_E_ARGUMENT;
    const zllm_result rc = zllm_heap_open(options, &heap);
    if (rc != ZLLM_OK) return rc;
    zllm_team *t = zllm_heap_zeroed(heap, 1, sizeof *t + threads * sizeof t->runs[0]);
    if (t == NULL) {
        zllm_heap_close(heap);
        return ZLLM_E_MEMORY;
    }
    t->heap = heap;
    t->threads = threads;
    t->crowded = zllm_wait_crowded(threads);
    *out = t;
    return ZLLM_OK;
}

void zllm_team_free(zllm_team *t) {
    if (t == NULL) return;
    heap_t *heap = t->heap;
    zllm_heap_free(heap, t);
    zllm_heap_close(heap);
}

int zllm_team_whole(zllm_team *t) {
    uint32_t others = t->threads - 1;
    return atomic_compare_exchange_strong(&t->joined.value, &others, TEAM_WHOLE);
}

void zllm_team_run(zllm_team *t, team_work_t *work, void *context) {
    t->work = work;
    t->context = context;
    wait_add(&t->pieces, 1);
    work(context, 0);
    zllm_team_barrier(t);
}

void zllm_team_end(zllm_team *t) {
    atomic_store(&t->ended, 1);
    zllm_wait_wake(&t->pieces);
}

/* Whether a thread could still go: the leader has not seen it. */
static int leave(zllm_team *t) {
    uint32_t joined = wait_value(&t->joined);
    while (joined != TEAM_WHOLE)
        if (atomic_compare_exchange_weak(&t->joined.value, &joined, joined - 1)) return 1;
    return 0;
}

int zllm_team_help(zllm_team *t, uint32_t thread, const zllm_run *run) {
    t->runs[thread] = run;
    wait_add(&t->joined, 1);
    for (uint32_t done = 0;; done++) {
        uint32_t turns = 0;
        while (wait_value(&t->pieces) == done) {
            if (atomic_load(&t->ended)) return 1;
            if (cancelled(run->cancel) && leave(t)) return 0;
            zllm_wait_while(&t->pieces, done, t->crowded, &turns);
        }
        t->work(t->context, thread);
        zllm_team_barrier(t);
    }
}

void zllm_team_barrier(zllm_team *t) {
    const uint32_t passed = wait_value(&t->passed);
    uint32_t turns = 0;
    if (atomic_fetch_add(&t->arrived, 1) + 1 == t->threads) {
        atomic_store(&t->arrived, 0);
        wait_set(&t->passed, passed + 1);
        return;
    }
    while (wait_value(&t->passed) == passed) zllm_wait_while(&t->passed, passed, t->crowded, &turns);
}
