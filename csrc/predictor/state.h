/* What the predictor's parts share: constants, tables, the two structs. */
#ifndef ZLLM_PREDICTOR_STATE_H
#define ZLLM_PREDICTOR_STATE_H

#include "code.h"
#include "predictor.h"

#define CONTEXTS 15u /* of a byte: the first two index arrays, the others a hash table */
#define DIRECT 2u
#define HASHED (CONTEXTS - DIRECT)
#define MODEL_FIRST 5u /* beside a model, the contexts before this one are left out */
#define ORDERED 6u     /* the first of the four whose histories tell how much is known */
#define MATCH CONTEXTS /* the match model's place among inputs and lanes: after the contexts */
#define INPUTS 32u     /* of the mixer: two of each context, two of the match model */
#define PLAIN_MAPS 2u  /* adaptive probability maps of what was mixed */
#define MAPS 5u        /* with a model: of its probability, before mixing */
#define SETS 6u        /* of weights; one vector of each is selected */
#define FIELDS 32u     /* of a line that are told apart */
#define FLAG_CONTEXTS 10u
#define FLAG_INPUTS 16u /* of the counters, the model, and a constant; the others are 0 */
#define FLAG_MODEL FLAG_CONTEXTS
#define FLAG_CONSTANT (FLAG_CONTEXTS + 1)
#define FLAG_SETS 3u
#define FLAG_BITS_MOST 16u

#define STRETCH_MAX 2047 /* 12 natural log units, 512 / 3 steps each */
#define STATES 256u
#define DECAY_SHIFT 6 /* of how often a weight vector has learnt: 2^6 times a step of its rate */
#define DECAYS 64u
#define KNOTS 16u /* of an adaptive probability map */
#define GROUP 16u /* its rows that belong to a nibble; number 0 is not used */

/* Where each set's vectors start. */
enum {
    SET_MATCH = 0,
    SET_CLASS = SET_MATCH + 34,
    SET_BYTE = SET_CLASS + 4096,
    SET_ORDER = SET_BYTE + 256,
    SET_PARTIAL = SET_ORDER + 128, /* by the model's confidence, where there is a model */
    SET_COMMON = SET_PARTIAL + 2048,
    VECTORS = SET_COMMON + 1
};

/* Where the sets of vectors that mix the sets' outputs start. */
#define FINALS 3u
#define FINAL_ROW 8u /* of weights and outputs: padded with zeros */
enum { FINAL_PARTIAL = 0, FINAL_MATCH = 256, FINAL_CLASS = FINAL_MATCH + 34, FINAL_VECTORS = FINAL_CLASS + 512 };

/* An adaptive probability: of a one in 2^-22, above a count of 10 bits. */
typedef uint32_t adaptive_t;

#define LANES (MATCH + 1 + PLAIN_MAPS) /* adaptive probabilities of a decision, at most */
#define LANE_ROOM 24u                  /* the next multiple of 8: SIMD reads as many */

/* What is at hand of them, side by side: what they were when it was asked for learns the answer. No probability has two
 * lanes; a lane without one learns into nothing. */
typedef struct {
    adaptive_t *at[LANES], seen[LANE_ROOM], nothing;
    uint32_t limit[LANE_ROOM]; /* counts after which they move at a constant rate */
} lanes_t;

typedef struct {
    uint32_t squash[2 * STRETCH_MAX + 2]; /* [x + STRETCH_MAX]: probability in 2^-24 */
    struct {
        int16_t stretched, plain; /* plain: in 2^-10, less a half */
    } input[4096];                /* [probability in 2^-12]: what the mixer gets of it */
    uint8_t next[STATES][2];
    uint16_t reciprocal[1024 + 1]; /* the last one is read, but not used */
    uint16_t decay[DECAYS]; /* what is added to the learning rate of a weight vector at first */
    adaptive_t prior[STATES];
} tables_t;

/* Text that may go on as it did before. */
typedef struct {
    uint32_t position; /* of the byte that is expected */
    uint32_t stream;   /* that wrote it */
    uint32_t length;   /* how many bytes agree */
    uint32_t misses;   /* of the last 8 bytes, the newest lowest */
    uint32_t recent;   /* how many of them were, at most 3 */
    int32_t expected;  /* the byte, -1 without one */
} match_t;

struct cursor {
    uint32_t start, end, at;
    uint32_t document; /* where this one starts */
    uint32_t partial; /* the byte's bits so far, after a one */
    uint32_t bits;    /* how many they are */
    int learning;     /* whether a prediction waits for its bit */
    int found;        /* whether `slot` and `group` are of this nibble */
    trail_t trail;
    x86_t x86; /* of that profile */
    uint32_t line, line_before; /* where this line and the one before it start */
    uint32_t field, fields_before;
    uint32_t fields[2][FIELDS]; /* where this line's fields, and the last one's, start */
    uint32_t hash[HASHED];
    uint8_t *slot[CONTEXTS]; /* of the direct ones: where their bytes start */
    adaptive_t *group[MAPS]; /* the maps' rows of this nibble, if found */
    match_t match;
};

/* Where the sets of a flag's weight vectors start. */
enum { FLAG_MATCH = 0, FLAG_CLASS = FLAG_MATCH + 15, FLAG_BYTE = FLAG_CLASS + 512, FLAG_VECTORS = FLAG_BYTE + 256 };

/* The vectors of the mixer, and what it mixes for the decision that waits for its bit (operations.h). */
typedef struct {
    int16_t inputs[INPUTS]; /* beside a model: its own, its maps', a constant, a zero; then the contexts' as always */
    int32_t outputs[FINAL_ROW];
    int16_t (*weights)[INPUTS];  /* [VECTORS] */
    int32_t (*final)[FINAL_ROW]; /* [FINAL_VECTORS] */
    uint32_t vector[SETS];
    uint32_t final_vector[FINALS];
    int32_t finals[FINALS];
} mixer_t;

/* The same of a flag. */
typedef struct {
    int16_t (*weights)[FLAG_INPUTS]; /* [FLAG_VECTORS] */
    int16_t inputs[FLAG_INPUTS];
    int32_t outputs[FLAG_SETS];
    uint32_t vector[FLAG_SETS];
} flag_mixer_t;

/* The end-of-token decision has a small predictor of its own. */
typedef struct {
    adaptive_t *map; /* [FLAG_CONTEXTS][2^bits] */
    uint32_t bits;
    int16_t weights[FLAG_VECTORS][FLAG_INPUTS];
    uint16_t uses[FLAG_VECTORS];
    /* of the decision that waits for its answer */
    flag_mixer_t mixer;
    lanes_t lanes;
    uint32_t predicted; /* in 2^-24 */
} flag_t;

struct predictor {
    heap_t *heap; /* that all of it comes from */
    const operations_t *operations;
    tables_t tables;
    uint8_t *direct; /* [257][256] without a model: histories by bits so far, after any byte, then after each byte */
    uint8_t *table;  /* slots of 16 bytes in lines of 64 */
    uint32_t line_mask;
    uint32_t *recent; /* where a hash of the last bytes was seen last, plus 1 */
    uint32_t recent_bits;
    uint8_t *text;
    uint32_t size, streams;
    int lm;
    uint32_t profile;
    cursor_t *cursors;
    flag_t *flag;
    uint8_t *ends; /* [size + 1] with a model: whether a token ended before this byte */
    adaptive_t maps[CONTEXTS][STATES];
    adaptive_t match_map[16 * 4];
    adaptive_t *rows; /* of the adaptive probability maps: [maps][2^group_bits][GROUP][KNOTS] */
    uint32_t group_bits;
    uint16_t *follow; /* [65536] without a model: the bytes that came after two bytes, the last two times */
    _Alignas(64) int16_t weights[VECTORS][INPUTS];
    uint16_t uses[VECTORS];
    _Alignas(64) int32_t final[FINAL_VECTORS][FINAL_ROW];
    /* of the decision that waits for its bit */
    _Alignas(64) mixer_t mixer;
    int32_t mixed;
    uint32_t predicted; /* in 2^-24 */
    uint8_t *state[CONTEXTS];
    lanes_t lanes;
    uint32_t inverted; /* lanes that learn the opposite of the bit */
};

/* tables.c */
void zllm_tables_fill(tables_t *t);

/* context.c: a byte has ended; what this will read, once it has. */
void zllm_context_byte(predictor_t *p, cursor_t *c, uint32_t byte);
void zllm_context_expect(const predictor_t *p, const trail_t *t);
void zllm_trail_byte(trail_t *t, uint32_t byte);

/* flag.c. Memory is in bytes; zllm_flag_new gives NULL without it. */
size_t zllm_flag_memory(uint64_t size);
flag_t *zllm_flag_new(heap_t *heap, uint64_t size);
void zllm_flag_free(flag_t *f, heap_t *heap);
/* What a decision will read when the cursor's trail is this one, in the same line. */
void zllm_flag_expect(const flag_t *f, const cursor_t *c, const trail_t *t);

/* The least n from `least` on with 2^n >= x, but at most `most`. */
static inline uint32_t log2_within(uint64_t x, uint32_t least, uint32_t most) {
    uint32_t n = least;
    while (n < most && (uint64_t)1 << n < x) n++;
    return n;
}

/* For functions that do nothing but prefetch: gcc finds that they have no effect, and drops calls from the same file. */
#define INLINED __attribute__((always_inline)) inline

/* It is in lane i; returns what it is. */
static inline adaptive_t lane_see(lanes_t *l, uint32_t i, adaptive_t *a) {
    l->at[i] = a;
    return l->seen[i] = *a;
}

static inline uint32_t hash32(uint64_t v) { return (uint32_t)((v * UINT64_C(0x9e3779b97f4a7c15)) >> 32); }

static inline int32_t clamp_stretch(int64_t x) {
    return x > STRETCH_MAX ? STRETCH_MAX : x < -STRETCH_MAX ? -STRETCH_MAX : (int32_t)x;
}

static inline uint32_t squash(const tables_t *t, int32_t x) { return t->squash[x + STRETCH_MAX]; }

/* p: probability in 2^-12. */
static inline int32_t stretch(const tables_t *t, uint32_t p) { return t->input[p].stretched; }

/* A probability in 2^-24 as far from certainty as all are that are coded. */
static inline uint32_t codable(uint32_t p) { return p < 16 ? 16 : p > (1u << 24) - 16 ? (1u << 24) - 16 : p; }

/* What was predicted well teaches little, and takes as long to learn as anything: where less than KNOWN of 2^24 was
 * given to the other answer, weights stay as they are, and below CERTAIN all but histories does. */
#define KNOWN (1u << 16)
#define CERTAIN (1u << 10)
static inline uint32_t surprise(uint32_t predicted, int bit) { return bit ? (1u << 24) - predicted : predicted; }

/* The error of a probability in 2^-24, in 2^-16. */
static inline int32_t error_of(uint32_t p, int bit) { return (int32_t)((bit ? 1u << 24 : 0) - p) >> 8; }

static inline uint32_t char_class(uint32_t b) {
    if (b >= 128) return 7;
    if (b - '0' < 10) return 1;
    if (b - 'a' < 26) return 2;
    if (b - 'A' < 26) return 3;
    return b == ' ' ? 4 : b == '\n' ? 5 : b < 32 ? 6 : 0;
}

/* The first hashed context that there is. */
static inline uint32_t first_hashed(int lm) { return lm ? MODEL_FIRST - DIRECT : 0; }

/* The hash of a lower nibble, when the upper one, after a one, is known: in one of two neighbouring lines. */
static inline uint32_t lower_hash(uint32_t hash, uint32_t upper) {
    return (hash ^ (1 + (upper & 1))) + upper * 0x9d000000u;
}

/* The table's line of a hash. */
static INLINED void prefetch_line(const predictor_t *p, uint32_t hash) {
    __builtin_prefetch(p->table + (size_t)(hash & p->line_mask) * 64);
}

/* Those where the lower nibble's slots may be. */
static INLINED void prefetch_lower_lines(const predictor_t *p, uint32_t hash) {
    prefetch_line(p, hash ^ 1);
    prefetch_line(p, hash ^ 2);
}

static inline uint32_t maps_of(int lm) { return lm ? MAPS : PLAIN_MAPS; }

/* How many bits there are after a one. */
static inline uint32_t bits_of(uint32_t partial) { return 31 - (uint32_t)__builtin_clz(partial); }

/* The byte's upper nibble, after a one, or 0 while it is not known. */
static inline uint32_t upper_of(uint32_t partial, uint32_t bits) { return bits < 4 ? 0 : partial >> (bits - 4); }

/* Index of a byte's next bit in its nibble's tree, 1 to 15, after the bits so far, `partial`. */
static inline uint32_t node_of(uint32_t partial, uint32_t bits) {
    const uint32_t depth = bits & 3;
    return 1u << depth | (partial & ((1u << depth) - 1));
}

/* The maps' rows of a nibble's tree, when the byte's bits before the nibble are known, after a one. */
static inline void find_groups(const predictor_t *p, const trail_t *t, uint32_t upper, adaptive_t *group[MAPS]) {
    const uint64_t v[MAPS] = {
        t->last & 0xff,
        t->last & 0xffff,
        t->classes & 4095,
        ((uint64_t)t->tokens_before[0] << 8) + t->token_length,
        t->token_hash,
    };
    for (uint32_t k = 0; k < maps_of(p->lm); k++) {
        const uint32_t number = hash32(v[k] << 8 | upper) >> (32 - p->group_bits);
        group[k] = p->rows + (((size_t)k << p->group_bits) + number) * (GROUP * KNOTS);
    }
}

/* The rows of the nibble's next decision, either answer to this one given: without a model, every bit is decided. */
static INLINED void prefetch_next_rows(adaptive_t *const group[MAPS], uint32_t node) {
    for (uint32_t k = 0; k < PLAIN_MAPS; k++) {
        __builtin_prefetch(group[k] + (size_t)node * 2 * KNOTS);
        __builtin_prefetch(group[k] + ((size_t)node * 2 + 1) * KNOTS);
    }
}

/* A row is a line of 64 bytes. */
static INLINED void prefetch_rows(const predictor_t *p, adaptive_t *const group[MAPS], uint32_t node) {
    for (uint32_t k = 0; k < maps_of(p->lm); k++) __builtin_prefetch(group[k] + (size_t)node * KNOTS);
}

#endif
