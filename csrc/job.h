/* A frame in work: what its streams share, and how the threads that code it together take turns.
 *
 * The order in which tokens reach the predictor and the range coder is part of the format: the first token of every
 * stream, in the streams' order, then the second of every stream, and so on. Each thread owns neighbouring streams. */
#ifndef ZLLM_JOB_H
#define ZLLM_JOB_H

#include <stdatomic.h>

#include "cancel.h"
#include "distribution.h"
#include "team.h"

#define ZLLM_AHEAD 6u /* blocks of tokens that an encoding thread may be ahead of the mixing */

/* Encoding: the model's probabilities for the next ZLLM_BULK tokens of each stream. */
typedef struct {
    uint32_t *lm;             /* [streams][ZLLM_BULK][m->deepest] */
    _Atomic uint32_t threads; /* that have put theirs in */
} block_t;

/* Where a stream that is decoded stands. */
typedef struct {
    uint64_t at;      /* where its next byte goes in the frame's text */
    size_t cut, done; /* next of the stream's cuts; bytes of text decoded */
    uint32_t next;    /* the token to feed */
    int coded;        /* whether what follows `next` is in the code string */
} place_t;

struct zllm_job {
    heap_t *heap; /* also of what its threads work with */
    const zllm_model *m;
    zllm_frame *frame;
    predictor_t *predictor;
    uint64_t *starts; /* [streams + 1]: where a stream's text starts */
    uint32_t start, threads, streams; /* no threads: the model is elsewhere (steps.c) */
    int decoding;
    int crowded;         /* more threads than cores */
    _Atomic int failure; /* a zllm_result that stops every thread */

    decoder_t decoder;
    signal_t turn;         /* the thread whose streams decode their tokens now */
    uint8_t *ended;        /* [threads]; only the thread whose turn it is looks at it */

    encoder_t encoder;
    uint32_t blocks;
    block_t block[ZLLM_AHEAD];
    _Atomic uint32_t mixed; /* blocks done */
    _Atomic int mixing;     /* whether a thread is at it */
    _Atomic uint64_t filled; /* blocks, by all threads together */
    signal_t progress;       /* counts what threads that have nothing to mix wait for: blocks filled or mixed */

    place_t *places;   /* steps.c, decoding: [streams] */
    size_t step;       /* steps.c, encoding: turns that all streams have had, */
    uint32_t stream;   /* and the stream whose turn is next */
    int finished;      /* whether the code string is whole */
};

/* The streams of a thread: [first, end). */
static inline uint32_t job_first(const zllm_job *j, uint32_t thread) {
    return (uint32_t)((uint64_t)j->streams * thread / j->threads);
}

/* Whether to give up: somebody failed, or the caller was cancelled, which is a failure from now on. */
int zllm_job_stopped(zllm_job *j, const zllm_run *run);
void zllm_job_fail(zllm_job *j, zllm_result rc);

static inline place_t job_place(const zllm_job *j, uint32_t stream) {
    return (place_t){.at = j->starts[stream], .next = j->start, .coded = 1};
}
/* A turn of a stream that is decoded, by what may follow. 1 if there is more, 0 at the stream's
 * end, -1 for data that no encoder makes. */
int zllm_job_decode_turn(zllm_job *j, uint32_t stream, place_t *p, const outcome_t *o, const zllm_run *run);
/* A turn of a stream that is encoded, its token number `at`; lm: of the decisions on the token's path. */
void zllm_job_encode_turn(zllm_job *j, uint32_t stream, size_t at, const uint32_t *lm, const zllm_run *run);
/* Such a turn will come soon, and before it none of the stream: what it will read is prefetched. */
void zllm_job_expect_decoding(const zllm_job *j, uint32_t stream, const place_t *p);
void zllm_job_expect_encoding(const zllm_job *j, uint32_t stream, size_t at);

/* A thread's part of coding; a failure is in its job. n is at least 1. */
void zllm_job_encode(zllm_job **jobs, size_t n, uint32_t thread, const zllm_run *run);
void zllm_job_decode(zllm_job **jobs, size_t n, uint32_t thread, const zllm_run *run);

static inline void job_report(const zllm_run *run, size_t bytes) {
    if (run->progress != NULL) *run->progress += bytes;
}

#endif
