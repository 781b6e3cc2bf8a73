/* A section that is read: its map, and its frames as they are decoded. */
#ifndef ZLLM_SECTION_H
#define ZLLM_SECTION_H

#include "archive/map.h"
#include "archive/models.h"
#include "archive/repair.h"
#include "archive/source.h"

typedef struct {
    heap_t *heap;
    uint64_t place;     /* of its envelope in the input */
    uint64_t base;      /* where its archive's tar stream begins in that of all archives */
    uint32_t seed;
    envelope_t envelope;
    section_facts_t facts;
    known_model_t *models[MAX_MODELS];
    map_t map;
    int exact;          /* all frames are where the map says: from frames_at on, frames_size bytes */
    uint64_t frames_at, frames_size;
    const uint8_t *block;    /* of a pipe: these bytes */
    uint64_t *frame_places;  /* [frames] if not exact: where each is; 0: it is lost */
    uint8_t **frame_parts;   /* [frames] the same of a pipe: the whole part, or NULL */
    uint8_t **data;          /* [frames] decoded, or NULL */
    problem_t **problems;    /* [frames] why one cannot be, or NULL */
    uint32_t requests;       /* frames that were asked for one by one */
    size_t cut_frame, cut_size; /* of a pipe: that frame's part has so many bytes only, if more than 0 */
    uint8_t *corrected;      /* its body, if one byte was wrong */
    /* When a frame was damaged: */
    uint8_t **proofs;        /* [frames] of records with data in it, PROOF_...; NULL: all of it is right */
    const uint8_t **trial;   /* [frames] data that is being proved */
    uint32_t n_trials;
    size_t *owners, *first_run; /* [pieces] record of each; [frames] hash of its first run */
    int runs_fit;
} section_t;

/* Whether a record's data in a frame is right: no, yes, or reading its member to the end will tell. */
enum { PROOF_NONE, PROOF_GOOD, PROOF_OPEN };

/* What all frames are decoded with. */
typedef struct {
    heap_t *heap;
    input_t *input;
    const zllm_limits *limits;
    decoding_t decoding;
    models_t *models;
    uint32_t threads;
    int everything; /* all of each section will be asked for */
    problem_t *told; /* of the archive */
    budget_t *budget;
} decoder_of_frames_t;

/* Where frames are is not set yet. Free it in any case. */
zllm_result zllm_section_open(section_t *s, const decoder_of_frames_t *d, const uint8_t *body, size_t size, problem_t *p);
void zllm_section_free(section_t *s);
static inline uint64_t section_start(const section_t *s) { return s->base + s->facts.offset; }
static inline uint64_t section_end(const section_t *s) { return section_start(s) + s->facts.size; }

/* `size` bytes of a record's data, `offset` bytes into it, all of which there are. `hashed`: the caller will prove them,
 * reading the member to its end. */
zllm_result zllm_section_read(section_t *s, const decoder_of_frames_t *d, size_t record, uint64_t offset, uint8_t *out,
                              size_t size, int hashed, problem_t *p);
/* Decode all frames that are not yet. What is wrong with some of them is told when they are read. */
zllm_result zllm_section_load(section_t *s, const decoder_of_frames_t *d, problem_t *p);

#endif
