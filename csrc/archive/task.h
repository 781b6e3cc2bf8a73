/* A frame on its way from its part to its data. */
#ifndef ZLLM_TASK_H
#define ZLLM_TASK_H

#include "archive/section.h"
#include "archive/text.h"

typedef struct {
    size_t number;
    uint8_t *room;          /* its part, if it had to be read */
    const uint8_t *payload;
    size_t payload_size;
    uint8_t *out;
    uint64_t *cuts;
    size_t n_cuts;
    problem_t problem;
    int damaged;            /* its part is: another way to its data may be found */
    text_frame_t text;
    zllm_job *job;
    uint32_t threads;       /* of the job */
} task_t;

/* Where a frame begins behind the first one of its section. */
uint64_t zllm_task_offset(const section_t *s, size_t number);
/* Find a frame's payload, whose checksum is compared, and all that decoding takes. What is wrong is the task's problem. */
void zllm_task_prepare(section_t *s, const decoder_of_frames_t *d, task_t *t, uint64_t offset);
/* The part of a frame, which begins at `offset`, as far as it is there; *front bytes of it stand before the payload, and are
 * stored as they should be in `known`. */
#define FRAME_FRONT (MAX_ENVELOPE + 2 + MAX_VARINT_BYTES)
zllm_result zllm_task_part(section_t *s, const decoder_of_frames_t *d, task_t *t, uint64_t offset, const uint8_t **part,
                           size_t *got, uint8_t known[FRAME_FRONT], size_t *front);
/* Room for the data, and where documents start in it. */
zllm_result zllm_task_room(const section_t *s, task_t *t);
/* Free all but the data. */
void zllm_task_free(const section_t *s, task_t *t);

/* A frame of text: a job for so many threads, and what came of it. */
zllm_result zllm_task_start(const section_t *s, const decoder_of_frames_t *d, task_t *t, uint32_t threads);
void zllm_task_end(task_t *t, zllm_result rc);
/* Decode frames of one codec by this thread: several of text, or one of another codec. */
void zllm_task_decode(const section_t *s, const decoder_of_frames_t *d, task_t *tasks, size_t n);
/* Whether a result is not about a frame. */
static inline int is_general(zllm_result rc) {
    return rc == ZLLM_E_MEMORY || rc == ZLLM_E_INPUT || rc == ZLLM_E_CANCELLED;
}

#endif
