/* POSIX threads; for WebAssembly without threads, none: a second one cannot be made, and locks are always free. */
#ifndef ZLLM_THREADS_H
#define ZLLM_THREADS_H

#if defined(__wasm__) && !defined(_REENTRANT)
#include <stddef.h>

typedef int lone_t;
#define pthread_t lone_t
#define pthread_mutex_t lone_t
#define pthread_cond_t lone_t

static inline int lone(lone_t *t) {
    *t = 0;
    return 0;
}
#define pthread_mutex_init(lock, attributes) lone(lock)
#define pthread_mutex_lock(lock) lone(lock)
#define pthread_mutex_unlock(lock) lone(lock)
#define pthread_mutex_destroy(lock) lone(lock)
#define pthread_cond_init(changed, attributes) lone(changed)
#define pthread_cond_wait(changed, lock) lone(changed)
#define pthread_cond_broadcast(changed) lone(changed)
#define pthread_cond_destroy(changed) lone(changed)
#define pthread_create(thread, attributes, work, context) (lone(thread), (void)(work), (void)(context), 1)
#define pthread_join(thread, out) (*(out) = NULL, (void)(thread), 0)
#else
#include <pthread.h>
#endif

#endif
