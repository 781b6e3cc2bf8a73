/* Streams of deflate (RFC 1951), read into blocks and tokens. */
#ifndef ZLLM_REBUILD_PARSE_H
#define ZLLM_REBUILD_PARSE_H

#include "rebuild/deflate.h"

typedef struct {
    heap_t *heap;
    tokens_t tokens; /* of all blocks but the stored ones */
    block_t *blocks; /* kind is one of block_kind_t */
    size_t n_blocks, room;
    uint32_t farthest, longest; /* distance and length of a match */
    int all_fixed;
} stream_t;

/* Read a stream of n bytes of data. ZLLM_E_DATA: it is not one whole stream, its padding is not zeros, or it has more blocks
 * or tokens than such data may. */
zllm_result zllm_stream_read(stream_t *s, heap_t *heap, const uint8_t *coded, size_t size, size_t n);
void zllm_stream_free(stream_t *s);

#endif
