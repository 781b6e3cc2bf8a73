/* From part to part of one archive after another: the one place that knows what may follow what. Where something is damaged,
 * the search goes on for the next part whose envelope's checksum holds. */
#ifndef ZLLM_WALK_H
#define ZLLM_WALK_H

#include "archive/directory.h"
#include "archive/section.h"

/* What stood when a footer had come. */
typedef struct {
    uint64_t at; /* where it ends in the input */
    problem_t told;
    uint64_t notes, end, members;
} settled_t;

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
    uint64_t notes;         /* problems that were noted */
    settled_t settled;
    uint64_t due_end;       /* where the footer ends of a directory that has come */
    uint64_t unfinished;    /* bytes of a generation that was never finished, from settled.at on */
    int ended;              /* this part ends a generation */
    int stop;               /* nothing more is wanted */
    /* Told of each directory, and whether it names what was found and all of that can be read; of each part that is not
     * used. May be NULL. */
    zllm_result (*directory)(void *context, const directory_t *d, uint64_t offset, const envelope_t *e, int exact,
                             problem_t *p);
    zllm_result (*other)(void *context, uint64_t offset, const envelope_t *e, problem_t *p);
    void *context;
} walk_t;

/* Read the header of the first archive, at the input's position. */
zllm_result zllm_walk_begin(walk_t *w, problem_t *p);
void zllm_walk_free(walk_t *w);
/* The next section, with its frames; ZLLM_END: there is no more. What it replaces is freed. */
zllm_result zllm_walk_next(walk_t *w, section_t *s, problem_t *p);

/* For the files of the walk alone. The archive as a whole is damaged. */
void zllm_walk_note(walk_t *w, zllm_result result, const char *text);
/* What is wrong with a part is noted, and the walk goes on; unless nothing can go on. */
zllm_result zllm_walk_noted(walk_t *w, zllm_result rc, const problem_t *p);
/* Remember a model; pass over a part that is not used. */
zllm_result zllm_walk_model(walk_t *w, const envelope_t *e, problem_t *p);
zllm_result zllm_walk_pass(walk_t *w, const envelope_t *e, problem_t *p);
/* The envelope that is due here if one byte of it is wrong: 1, 0 if there is none, -1 and *rc if nothing can go on. Bytes
 * of the input that were looked at move. */
int zllm_walk_repaired(walk_t *w, const uint8_t *data, size_t size, envelope_t *e, zllm_result *rc, problem_t *p);
/* Find the frames of a section, right behind it. */
zllm_result zllm_walk_frames(walk_t *w, section_t *s, problem_t *p);

#endif
