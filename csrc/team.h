/* Threads that do each piece of work together, with barriers between its parts.
 *
 * The first of them leads: it says what there is to do, and the others wait for that. Whoever is late is waited for, for as
 * long as a piece of work lasts; only before the first piece may a thread be missing, and waiting be given up. */
#ifndef ZLLM_TEAM_H
#define ZLLM_TEAM_H

#include <stdatomic.h>

#include "cancel.h"
#include "heap.h"
#include "waiting.h"

#define TEAM_WHOLE UINT32_MAX /* nobody may go any more before the end */

/* A thread's part of a piece of work. */
typedef void team_work_t(void *context, uint32_t thread);

struct zllm_team {
    heap_t *heap;
    uint32_t threads;
    int crowded;              /* more of them than cores */
    signal_t joined;          /* threads that came, without the leader; TEAM_WHOLE once it has seen them all */
    _Atomic uint32_t arrived; /* at the next barrier, */
    signal_t passed;          /* and how many barriers all have passed */
    signal_t pieces;          /* of work that there have been, */
    _Atomic int ended;        /* and whether that was all */
    team_work_t *work;        /* the newest */
    void *context;
    const zllm_run *runs[];   /* [threads], of those that have joined */
};

/* Threads of a team, or the one there is without. */
static inline uint32_t team_threads(const zllm_team *t) { return t != NULL ? t->threads : 1; }

/* The leader. Whether all threads have come; from then on they stay to the end. */
int zllm_team_whole(zllm_team *t);
void zllm_team_run(zllm_team *t, team_work_t *work, void *context);
/* No more work: the others go. */
void zllm_team_end(zllm_team *t);

/* Any other thread: its part of all there is to do. 0 if it was cancelled before the leader had seen all. */
int zllm_team_help(zllm_team *t, uint32_t thread, const zllm_run *run);

/* Within a piece of work: wait for all the others (a central barrier, as in Mellor-Crummey and Scott 1991, with a count in
 * the place of a sense). What each has written before, all can read after. */
void zllm_team_barrier(zllm_team *t);

#endif
