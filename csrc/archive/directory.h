/* Directories: compared with the sections that were found. */
#ifndef ZLLM_DIRECTORY_H
#define ZLLM_DIRECTORY_H

#include "archive/part.h"

/* A section that was found. `offset` is that of its envelope, from the archive's header on. */
typedef struct {
    uint64_t offset, number, length, members, frames, frames_size;
    section_facts_t facts;
    int readable; /* else nothing but offset and number is known */
} seen_t;

typedef struct {
    uint64_t generation, back; /* `back`: bytes before this directory that the one of the generation before begins; 0: none */
    int same;                  /* it names the sections that were found, and no other */
} directory_t;

/* A directory whose checksum holds, of a generation with the sections `seen`. `before`: bytes of the archive before it.
 * ZLLM_E_VERSION if it deletes names; *out is whole then. */
zllm_result zllm_directory_read(heap_t *heap, const uint8_t *body, size_t size, uint64_t before, const zllm_limits *limits,
                                const seen_t *seen, size_t n_seen, directory_t *out, problem_t *p);

#endif
