#define _GNU_SOURCE /* syscall, sched_getaffinity */
#include "waiting.h"

#include <sched.h>
#include <time.h>
#include <unistd.h>

#if defined(__linux__)
#include <sys/syscall.h>
#if defined(SYS_futex)
#define FUTEX 1
#define FUTEX_WAIT_HERE 128 /* FUTEX_WAIT, FUTEX_WAKE | FUTEX_PRIVATE_FLAG: the kernel's interface, which never changes */
#define FUTEX_WAKE_HERE 129
#endif
#endif

#define LOOPS 100u  /* turns without a system call: some microseconds */
#define YIELDS 1900u /* then, while every thread has a core: a millisecond */

int zllm_wait_crowded(uint32_t threads) {
#if defined(__linux__) && defined(CPU_COUNT)
    cpu_set_t mine;
    if (sched_getaffinity(0, sizeof mine, &mine) == 0) return threads > (uint32_t)CPU_COUNT(&mine);
#endif
#if defined(_SC_NPROCESSORS_ONLN)
    const long cores = sysconf(_SC_NPROCESSORS_ONLN);
    if (cores > 0) return threads > (uint64_t)cores;
#endif
    return 1;
}

static void sleep_while(signal_t *s, uint32_t seen) {
#if defined(FUTEX)
    const struct timespec most = {0, 5000000};
    atomic_fetch_add(&s->sleepers, 1);
    (void)syscall(SYS_futex, &s->value, FUTEX_WAIT_HERE, seen, &most, NULL, 0);
    atomic_fetch_sub(&s->sleepers, 1);
#else
    const struct timespec nap = {0, 50000};
    if (atomic_load(&s->value) == seen) nanosleep(&nap, NULL);
#endif
}

void zllm_wait_while(signal_t *s, uint32_t seen, int crowded, uint32_t *turns) {
    const uint32_t turn = (*turns)++;
    if (turn < LOOPS) return;
    if (turn < LOOPS + YIELDS && !crowded) sched_yield();
    else sleep_while(s, seen);
}

void zllm_wait_wake(signal_t *s) {
#if defined(FUTEX)
    (void)syscall(SYS_futex, &s->value, FUTEX_WAKE_HERE, INT32_MAX, NULL, NULL, 0);
#else
    (void)s;
#endif
}
