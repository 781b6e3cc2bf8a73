/* Column sets: byte strings, each stored in the way that is smallest. */
#ifndef ZLLM_COLUMNS_H
#define ZLLM_COLUMNS_H

#include "archive/bytes.h"
#include "archive/unpack.h"

typedef struct {
    heap_t *heap;
    size_t n;
    bytes_t *column; /* [n]; those that are stored as they are lie in the set */
    uint8_t *joint, *decoded;
} columns_t;

/* The columns of a set, which take at most `limit` bytes together. The set must stay as long as they are used; free them in
 * any case. */
zllm_result zllm_columns_read(heap_t *heap, const uint8_t *set, size_t size, uint64_t limit, const decoding_t *decoding,
                              columns_t *out, problem_t *p);
void zllm_columns_free(columns_t *c);

#endif
