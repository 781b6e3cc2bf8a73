/* Blocks of deflate: their codes, how long they are, and which of the three kinds zlib takes. */
#ifndef ZLLM_REBUILD_TREES_H
#define ZLLM_REBUILD_TREES_H

#include "rebuild/bits.h"

#define LITERALS 286u
#define DISTANCES 30u
#define END_OF_BLOCK 256u
#define LONGEST_MATCH 258u
#define SHORTEST_MATCH 3u
#define MOST_STORED 65535u

/* length << 16 | distance; a literal has length 1 and distance 0. */
typedef uint32_t token_t;
#define LITERAL ((token_t)1 << 16)
static inline token_t match_of(uint32_t length, uint32_t distance) { return length << 16 | distance; }
static inline uint32_t length_of(token_t t) { return t >> 16; }
static inline uint32_t distance_of(token_t t) { return t & 0xffff; }

typedef enum { STORED_BLOCK = 0, FIXED_BLOCK = 1, DYNAMIC_BLOCK = 2 } block_kind_t;

typedef struct {
    uint8_t literals[LITERALS + 2], distances[DISTANCES + 2]; /* bits of each code; 0: not used */
} lengths_t;

/* Symbol and extra bits of a length or distance. */
typedef struct {
    uint32_t symbol, extra_bits, extra;
} symbol_t;
symbol_t zllm_length_symbol(uint32_t length);
symbol_t zllm_distance_symbol(uint32_t distance);
/* Least length or distance of a symbol, and its extra bits. */
void zllm_length_range(uint32_t symbol, uint32_t *least, uint32_t *extra_bits);
void zllm_distance_range(uint32_t symbol, uint32_t *least, uint32_t *extra_bits);

extern const uint8_t zllm_order_of_lengths[19];
void zllm_fixed_lengths(lengths_t *lengths);
/* Canonical codes of lengths, their bits in the order in which they are written. */
void zllm_codes_of(const uint8_t *lengths, uint32_t n, uint16_t *codes);
/* Write the header of a dynamic block behind its kind, as zlib does. */
void zllm_put_header(bit_writer_t *w, const lengths_t *lengths);
/* Write the data of n tokens, which begin at `data`, and the end of the block. */
void zllm_put_tokens(bit_writer_t *w, const lengths_t *lengths, const token_t *tokens, size_t n, const uint8_t *data);

/* Lengths as zlib makes them for n tokens, which begin at `data`. */
void zllm_dynamic_lengths(const token_t *tokens, size_t n, const uint8_t *data, lengths_t *lengths);

/* How zlib writes a block of n tokens of `span` bytes of data: kind, and lengths of a kind that has codes.
 * `always_fixed`: it was told so. */
block_kind_t zllm_choose_block(const token_t *tokens, size_t n, const uint8_t *data, size_t span, int always_fixed,
                               lengths_t *lengths);

#endif
