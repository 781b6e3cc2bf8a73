/* What zlib's search for matches gives next, whatever it gave before: hash chains, and lazy evaluation (zlib's algorithm.txt).
 *
 * A matcher is told the tokens that were really there: where they are not those that it foretold, it goes on behind them. */
#ifndef ZLLM_REBUILD_MATCHER_H
#define ZLLM_REBUILD_MATCHER_H

#include "heap.h"
#include "rebuild/trees.h"

/* zlib's strategies. */
enum { BY_DEFAULT = 0, FILTERED = 1, HUFFMAN_ONLY = 2, RUNS_ONLY = 3, ALWAYS_FIXED = 4 };

#define MOST_LEVEL 9u
#define LEAST_MEMORY 1u
#define MOST_MEMORY 9u
#define LEAST_WINDOW 8u
#define MOST_WINDOW 15u

/* zlib's parameters; level 0 here searches for nothing. */
typedef struct {
    uint32_t level, memory, window, strategy;
} deflate_form_t;

typedef struct {
    uint32_t good, lazy, nice, chain; /* of the level */
    uint32_t is_slow, strategy, shift, mask, window_mask, most_distance;
    const uint8_t *data;
    uint32_t size, at, inserted; /* inserted: positions before this one are in the chains, or left out for ever */
    uint32_t ahead, ahead_at;    /* length and place of a match at `at` that was found from the position before it; or 0 */
    uint32_t next, next_at;      /* the same, for the position after a literal that is foretold */
    uint32_t *heads, *before;    /* the last position of a hash, and the one before a position */
    uint64_t work, most_work;    /* steps along chains */
} matcher_t;

int zllm_form_valid(const deflate_form_t *form);
/* Tokens of a block that zlib ends because its room is used up. */
static inline uint32_t most_tokens(const deflate_form_t *form) { return (1u << (form->memory + 6)) - 1; }
size_t zllm_matcher_memory(void);
/* Steps along chains that data of that size may take. */
uint64_t zllm_matcher_most_work(size_t size);
/* At the beginning of `size` bytes of data, of which there are fewer than 2^31. 0: out of memory. */
int zllm_matcher_start(matcher_t *m, heap_t *heap, const deflate_form_t *form, const uint8_t *data, size_t size);
void zllm_matcher_end(matcher_t *m, heap_t *heap);
/* The token that zlib gives at m->at, before the end of the data; then the one that is there. */
token_t zllm_matcher_predict(matcher_t *m);
void zllm_matcher_advance(matcher_t *m, token_t predicted, token_t actual);
/* Whether it took longer than data of that size may. */
static inline int took_too_long(const matcher_t *m) { return m->work > m->most_work; }

#endif
