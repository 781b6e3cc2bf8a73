/* From part to part of one archive after another: the one place that knows what may follow what. Where something is damaged,
 * the search goes on for the next part whose envelope's checksum holds. */
#ifndef ZLLM_WALK_H
#define ZLLM_WALK_H

#include "archive/directory.h"
#include "archive/section.h"

typedef struct {
    heap_t *heap;
    input_t *input;
    decoder_of_frames_t *decoder;
    problem_t *told;        /* what is wrong with the archive */
    int verify;             /* check parts that are not used, too */
    uint64_t end, members;  /* of all archives' stream, as far as it is known */
    uint64_t ignored;       /* bytes behind the last archive that belong to none */
    int opaque;             /* the first section is not of a tar */
    uint64_t sections;
    /* Of this archive. */
    uint64_t start, base, next;
    uint32_t seed;
    uint64_t last_frame;    /* number behind that of the last section's last frame */
    int orphans;            /* the last section cannot be read: whose frames these are is not known */
    uint64_t generation;
    int64_t back;           /* where the directory of the generation before is; 0: none, -1: it is lost */
    int64_t directory_at;   /* of this generation, if it came; else -1 */
    int whole;              /* the generation that came last has its footer */
    seen_t *seen;           /* sections of this generation */
    size_t n_seen, seen_room;
    uint64_t held;          /* bytes that were left in the input for the section's reader */
    uint32_t tries;         /* that searches may still make */
} walk_t;

/* Read the header of the first archive, at the input's position. */
zllm_result zllm_walk_begin(walk_t *w, problem_t *p);
void zllm_walk_free(walk_t *w);
/* The next section, with its frames; ZLLM_END: there is no more. What it replaces is freed. */
zllm_result zllm_walk_next(walk_t *w, section_t *s, problem_t *p);

#endif
