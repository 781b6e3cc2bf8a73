/* Whether the caller wants no more. */
#ifndef ZLLM_CANCEL_H
#define ZLLM_CANCEL_H

#include <stddef.h>
#include <stdint.h>

/* What sets the flag is another thread, or another language: it cannot be asked for an _Atomic. */
static inline int cancelled(const volatile int32_t *flag) {
    return flag != NULL && __atomic_load_n(flag, __ATOMIC_RELAXED) != 0;
}

#endif
