/* The adaptive predictor: the probability of the next bit of a text from the bytes before it and, where there is a
 * language model, from the model's own probability (docs/arithmetic.md, section 9; docs/predictor.md says why).
 *
 * A frame's text is one array of known size, cut into streams that take turns at token boundaries. They share what is
 * learnt (predictor_t); where each one stands is its cursor (cursor_t). All numbers are integers, the same everywhere.
 */
#ifndef ZLLM_PREDICTOR_H
#define ZLLM_PREDICTOR_H

#include "heap.h"

typedef struct predictor predictor_t; /* adaptive state of one frame */
typedef struct cursor cursor_t;       /* where one stream stands */
typedef struct operations operations_t; /* how it is computed: that of a kernel */

/* What a stream's contexts are made of that its newest bytes and tokens alone decide. */
typedef struct {
    uint64_t last; /* the last eight bytes */
    uint32_t word, word_before, word_before_that, line_word;
    uint32_t classes; /* of the last ten bytes, three bits each */
    uint32_t token_hash, token_length;
    uint32_t tokens_before[2]; /* the newest first */
} trail_t;

/* Bytes that zllm_predictor_new takes, but for the cursors (under 4 KiB a stream): they grow with the text's size up to
 * a bound, plus the text itself. `lm`: whether a language model's probabilities come in. */
size_t zllm_predictor_memory(uint64_t size, int lm);
/* For a frame of `size` bytes, below 2^32 - 1. NULL when out of memory, or if an argument is out of range. */
predictor_t *zllm_predictor_new(heap_t *heap, const operations_t *operations, uint64_t size, uint32_t streams, int lm);
void zllm_predictor_free(predictor_t *p);
cursor_t *zllm_predictor_cursor(predictor_t *p, uint32_t stream);
/* What the contexts of text without a model are made for: one of the below, or the size of records, from PROFILE_RECORDS
 * to PROFILE_RECORDS_MOST bytes. Before the first cursor is started; text if not called. */
enum { PROFILE_TEXT = 0, PROFILE_PROSE = 1, PROFILE_RECORDS = 2, PROFILE_RECORDS_MOST = 253, PROFILE_X86 = 254, PROFILE_ARM = 255 };
void zllm_predictor_profile(predictor_t *p, uint32_t profile);
/* The profiles that are worth trying on such bytes; returns how many (profile.c). */
#define PROFILES 4u
uint32_t zllm_profile_candidates(const uint8_t *sample, size_t n, uint32_t found[PROFILES]);
/* Where it keeps the frame's text. Cursors write it, and read nothing that has not been written. */
uint8_t *zllm_predictor_text(predictor_t *p);
/* The stream will write the frame's bytes [start, end). Ranges must ascend with the stream's number, and not overlap.
 * Every stream is started before the first decision of any. */
void zllm_cursor_start(predictor_t *p, uint32_t stream, uint64_t start, uint64_t end);

/* Decisions about the bits of a byte, the highest first. Every one is either predicted and then learnt from, or
 * skipped; the eighth ends the byte. Probabilities are of a one, in 2^-24, 1 to 2^24 - 1; `lm` is the model's, which is
 * ignored without one. What is past the end of the stream's range is dropped. */
uint32_t zllm_predictor_bit(predictor_t *p, cursor_t *c, uint32_t lm);
/* The next call will be zllm_predictor_bit, which then need not find where to look. */
void zllm_predictor_find(predictor_t *p, cursor_t *c);
void zllm_predictor_update(predictor_t *p, cursor_t *c, int bit);
/* A bit that the trie makes certain: contexts move on, nothing is learnt. */
void zllm_cursor_skip(predictor_t *p, cursor_t *c, int bit);
/* Whether the token ends here. */
uint32_t zllm_predictor_flag(predictor_t *p, cursor_t *c, uint32_t lm);
void zllm_predictor_update_flag(predictor_t *p, cursor_t *c, int end);
/* A token has ended, after its last byte's bits (and after its flag, if that was asked). */
void zllm_cursor_token(predictor_t *p, cursor_t *c, uint32_t token);
/* A new document starts here: contexts are as at the start; what was learnt stays. */
void zllm_cursor_cut(predictor_t *p, cursor_t *c);

/* Most of what a decision reads is in far caches, or in memory, at a place that the bytes before it decide. Whoever knows
 * what comes, or what may come, can have that prefetched, with a model only; nothing else happens (expect.c). */

/* A byte, where `t` is the cursor's trail as it will be then; the byte is added to it. */
trail_t zllm_cursor_trail(const cursor_t *c);
void zllm_predictor_expect_byte(const predictor_t *p, trail_t *t, uint32_t byte);
/* After a trail, the decision whether the token ends; one about a bit of the byte: its bits so far, after a one. */
void zllm_predictor_expect_flag(const predictor_t *p, const cursor_t *c, const trail_t *t);
void zllm_predictor_expect_bit(const predictor_t *p, const trail_t *t, uint32_t partial);
/* Such a one about the byte that the cursor is in. */
void zllm_predictor_expect_here(const predictor_t *p, const cursor_t *c, uint32_t partial);
/* Another token at the cursor. */
void zllm_predictor_expect_token(const predictor_t *p, const cursor_t *c);

#endif
