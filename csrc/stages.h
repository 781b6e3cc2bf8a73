/* Where the time goes, when somebody wants to know: a lap is added to the stage that has just ended. */
#ifndef ZLLM_STAGES_H
#define ZLLM_STAGES_H

#include "zllm_testing.h"

typedef struct {
    uint64_t *nanoseconds; /* [ZLLM_STAGES], or NULL: nothing is measured */
    uint64_t last;
} laps_t;

/* Of a clock that only goes forward. */
uint64_t zllm_stages_now(void);

static inline void laps_start(laps_t *l, uint64_t *nanoseconds) {
    l->nanoseconds = nanoseconds;
    l->last = nanoseconds ? zllm_stages_now() : 0;
}

static inline void lap(laps_t *l, zllm_stage stage) {
    if (l->nanoseconds == NULL) return;
    const uint64_t now = zllm_stages_now();
    l->nanoseconds[stage] += now - l->last;
    l->last = now;
}

#endif
