/* The bytes of an input, from front to end with a look ahead; of one that is not a pipe also at any place. */
#ifndef ZLLM_SOURCE_OF_ARCHIVE_H
#define ZLLM_SOURCE_OF_ARCHIVE_H

#include "archive/problem.h"
#include "heap.h"
#include "zllm_archive.h"

typedef struct {
    heap_t *heap;
    zllm_input input;
    uint64_t position; /* of the next byte */
    uint8_t *buffer;   /* bytes from there on, at `from` */
    size_t from, have, room;
    int ended;         /* there is nothing behind the buffer */
    uint8_t *side;     /* for looks farther ahead */
} input_t;

void zllm_input_free(input_t *s);
/* The next `size` bytes, fewer (*got) at the end; they stay. They are good until the next call. */
zllm_result zllm_input_peek(input_t *s, uint64_t size, const uint8_t **data, size_t *got, problem_t *p);
/* `size` bytes, MOST_LOOK at most, that are `distance` bytes ahead. */
#define MOST_LOOK 64u
zllm_result zllm_input_look(input_t *s, uint64_t distance, size_t size, const uint8_t **data, size_t *got, problem_t *p);
/* Pass over bytes, fewer at the end; *got may be NULL. */
zllm_result zllm_input_skip(input_t *s, uint64_t size, uint64_t *got, problem_t *p);
/* Bytes at a place of an input that is not a pipe; fewer at the end. */
zllm_result zllm_input_at(input_t *s, uint64_t offset, void *data, size_t size, size_t *got, problem_t *p);
/* Go to a place of an input that is not a pipe. */
void zllm_input_seek(input_t *s, uint64_t position);

#endif
