/* Streams of deflate, taken apart into data and a recipe by which the very same stream is made again.
 *
 * A recipe is zlib's parameters, blocks that zlib would not have made, and tokens that it would not have taken; numbers are
 * varints:
 *
 *     u8 level + 16 * strategy; u8 memory level + 16 * (15 - window bits)
 *     bytes of all strange blocks; for each: blocks since the last one, then tokens << 3 | 4 if it is the last | its kind (3:
 *     dynamic, with its own codes), of stored blocks bytes in the place of tokens; for kind 3: bits of the header, and bytes
 *     for each token that differs: tokens since the last one; its length - 2, or 0 for a literal; its distance, if it has one
 */
#ifndef ZLLM_REBUILD_DEFLATE_H
#define ZLLM_REBUILD_DEFLATE_H

#include "rebuild/matcher.h"

#define HEADER_GIVEN 3u

/* Blocks of a stream, and one more for so many bytes of data: choosing the codes of one takes as long as coding such data, so
 * that streams of empty blocks would take time and memory out of proportion. */
#define FREE_BLOCKS 16u
#define DATA_OF_BLOCK 32u
static inline size_t most_blocks(size_t data_size) { return FREE_BLOCKS + data_size / DATA_OF_BLOCK; }

/* A block of a stream. */
typedef struct {
    uint32_t kind; /* block_kind_t, or HEADER_GIVEN */
    int last;
    size_t size;          /* tokens; bytes of a stored block */
    const uint8_t *header; /* of HEADER_GIVEN: its bits */
    uint64_t header_at, header_bits;
} block_t;

/* Tokens of a block in the making. */
typedef struct {
    heap_t *heap;
    token_t *all;
    size_t n, room;
} tokens_t;
/* 0: out of memory. */
int zllm_tokens_add(tokens_t *t, token_t token);

/* Read the codes of a dynamic block. 0: they make no sense. */
int zllm_read_header(bit_reader_t *in, lengths_t *lengths);

/* Tokens as they are predicted until `most` of them, or `span` bytes of data: one that would go beyond becomes a literal, and
 * *cut is set. ZLLM_E_DATA: it takes too long. */
zllm_result zllm_predict_block(matcher_t *m, tokens_t *tokens, size_t most, size_t span, int *cut);

/* Make the stream again; *size: room in, length out. */
zllm_result zllm_deflate_make(heap_t *heap, const uint8_t *recipe, size_t recipe_size, const uint8_t *data, size_t n,
                              uint8_t *out, size_t *size, const volatile int32_t *cancel);

#endif
