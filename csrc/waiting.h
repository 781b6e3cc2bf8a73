/* Waiting for another thread's word: a moment in a loop, for it is microseconds from done, and asleep from then on.
 *
 * Where there are more threads than cores, a thread that loops keeps another from the core that it needs: then the moment
 * is short. A sleep is a futex where there is one (Linux), which the other side ends; else, and at the latest, it ends by
 * itself, so that cancellation, which wakes no thread, is seen. */
#ifndef ZLLM_WAITING_H
#define ZLLM_WAITING_H

#include <stdatomic.h>
#include <stdint.h>

/* A number that threads wait for to change. */
typedef struct {
    _Atomic uint32_t value;
    _Atomic uint32_t sleepers; /* threads that are, or are about to be, asleep */
} signal_t;

/* Whether so many threads are more than there are cores for this process. */
int zllm_wait_crowded(uint32_t threads);

/* Wait a little, at most while the value is `seen`. `turns` counts how often one has waited, from 0. */
void zllm_wait_while(signal_t *s, uint32_t seen, int crowded, uint32_t *turns);

/* The value has changed, or something else that is waited for: wake all. */
void zllm_wait_wake(signal_t *s);

/* Change the value and wake all who wait for that. */
static inline void wait_set(signal_t *s, uint32_t value) {
    atomic_store(&s->value, value);
    if (atomic_load(&s->sleepers) > 0) zllm_wait_wake(s);
}

static inline void wait_add(signal_t *s, uint32_t count) {
    atomic_fetch_add(&s->value, count);
    if (atomic_load(&s->sleepers) > 0) zllm_wait_wake(s);
}

static inline uint32_t wait_value(const signal_t *s) { return atomic_load(&s->value); }

#endif
