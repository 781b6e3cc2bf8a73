/* Directories: what ends a generation. */
#ifndef ZLLM_DIRECTORY_H
#define ZLLM_DIRECTORY_H

#include "archive/part.h"

/* A section as a directory describes it. Offsets are from the archive's header on. */
typedef struct {
    uint64_t offset, number, members;
    uint64_t length;         /* bytes of its body; 0: nothing more is known */
    uint64_t frames, frames_size;
    section_facts_t facts;
    const uint8_t *raw;      /* the section's header up to its flags, as it stands in the section */
    size_t raw_size;
    const model_said_t *models[MAX_MODELS];
    const uint8_t *filter;   /* of its names, of as many bytes as it has members; or NULL */
} row_t;

/* Another part than a section. */
typedef struct {
    uint64_t offset;
    envelope_t envelope;
} other_t;

typedef struct {
    heap_t *heap;
    uint8_t *body, *text;    /* its own copies */
    model_said_t *models;
    uint64_t n_models, generation;
    uint64_t time;           /* seconds since 1970; 0: not known */
    uint64_t back;           /* bytes before this directory that the one of the generation before begins; 0: none */
    uint64_t n_rows, n_others, n_deleted, members;
    bytes_t rows, others, deleted, filters;
} directory_t;

/* A directory whose checksum holds. `before`: bytes of the archive before it. Free it in any case. */
zllm_result zllm_directory_read(heap_t *heap, const uint8_t *body, size_t size, uint64_t before, const zllm_limits *limits,
                                directory_t *out, problem_t *p);
void zllm_directory_free(directory_t *d);

/* The next of its rows, parts and deleted names, from copies of those fields: they were read once, and are right. */
void zllm_directory_row(const directory_t *d, bytes_t *rows, bytes_t *filters, row_t *out);
void zllm_directory_other(bytes_t *others, other_t *out);
const uint8_t *zllm_directory_name(bytes_t *deleted, size_t *size);

/* A section that was found. `offset` is that of its envelope, from the archive's header on. */
typedef struct {
    uint64_t offset, number, length, members, frames, frames_size;
    section_facts_t facts;
    int readable; /* else nothing but offset and number is known */
} seen_t;

/* Whether a directory names the sections that were found, and no other; *whole: all of those can be read, too. */
int zllm_directory_fits(const directory_t *d, const seen_t *seen, size_t n_seen, int *whole);

/* Whether a filter of `size` bytes lets a name pass, which has no slash at its end. */
int zllm_filter_may_have(const uint8_t *filter, uint64_t size, uint32_t seed, const char *name, size_t name_size);

#endif
