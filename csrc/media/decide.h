/* Binary decisions of the media codecs: adaptive counters, mixed in the logistic domain, refined, and coded. One code path
 * encodes and decodes. All numbers are integers (docs/media.md).
 *
 * The logistic domain ("stretched") counts in 3/512 nat, from -STRETCHED to STRETCHED.
 */
#ifndef ZLLM_MEDIA_DECIDE_H
#define ZLLM_MEDIA_DECIDE_H

#include "../heap.h"
#include "../rangecoder.h"

#define STRETCHED 2047
#define COUNTER_START ((counter_t)1 << 31)
#define MOST_INPUTS 12

/* A probability of a one in 2^-22, above 10 bits that count what it has seen. */
typedef uint32_t counter_t;

typedef struct {
    uint32_t squash[2 * STRETCHED + 1]; /* in 2^-24 */
    int16_t stretch[4096];              /* of a probability in 2^-12 */
    uint16_t reciprocal[1024];          /* 2^16 / (n + 1.5) */
} tables_t;

/* The code string, which is either written or read. */
typedef struct {
    encoder_t to;
    decoder_t from;
    int decoding;
} string_t;

void zllm_media_tables(tables_t *t);

static inline int string_bit(string_t *s, uint32_t p, int bit) {
    if (s->decoding) return decoder_get(&s->from, p);
    encoder_put(&s->to, p, bit);
    return bit;
}

/* The lowest `count` bits of a number, up to 32, of which nothing is known. What no encoder makes is clamped. */
static inline uint32_t string_bits(string_t *s, uint32_t count, uint32_t value) {
    if (count > 16) {
        const uint32_t high = string_bits(s, count - 16, value >> 16);
        return high << 16 | string_bits(s, 16, value & 0xffff);
    }
    if (count == 0) return 0;
    if (s->decoding) {
        decoder_t *d = &s->from;
        const uint64_t part = d->range >> count, most = (1u << count) - 1;
        uint64_t found = d->code / part;
        if (found > most) found = most;
        d->code -= found * part;
        d->range = part;
        for (; d->range < (uint64_t)1 << 56; d->range <<= 8) d->code = d->code << 8 | decoder_byte(d);
        return (uint32_t)found;
    }
    encoder_t *e = &s->to;
    const uint64_t part = e->range >> count, low = e->low + part * value;
    if (low < e->low) encoder_carry(e);
    e->low = low;
    e->range = part;
    for (; e->range < (uint64_t)1 << 56; e->range <<= 8) {
        encoder_byte(e, (uint8_t)(e->low >> 56));
        e->low <<= 8;
    }
    return value;
}

static inline int32_t within(int64_t x, int32_t most) { return x > most ? most : x < -most ? -most : (int32_t)x; }

/* As far from certainty as all that are coded are. */
static inline uint32_t codable(uint32_t p) { return p < 32 ? 32 : p > (1u << 24) - 32 ? (1u << 24) - 32 : p; }

/* Towards the answer by 1 / (count + 1.5) of the way, at last by 1 / (limit + 1.5). */
static inline void counter_learn(const tables_t *t, counter_t *c, int bit, uint32_t limit) {
    const uint32_t n = *c & 1023;
    const int64_t gap = (bit ? (1 << 22) - 1 : 0) - (int32_t)(*c >> 10);
    *c += ((uint32_t)((gap * t->reciprocal[n]) >> 16) << 10) + (n < limit);
}

/* A decision by one counter alone. */
static inline int decide_alone(const tables_t *t, string_t *s, counter_t *c, uint32_t limit, int bit) {
    bit = string_bit(s, codable(*c >> 8), bit);
    counter_learn(t, c, bit, limit);
    return bit;
}

/* Counters whose stretched probabilities are weighed by two vectors; the mean of both is refined by a curve. */
#define KNOTS 33
typedef struct {
    uint32_t inputs;
    counter_t *counter[MOST_INPUTS];
    int32_t *weights[2]; /* of `inputs` numbers in 2^-16 */
    uint16_t *curve[2];  /* of KNOTS probabilities in 2^-16 */
} decision_t;

/* What weights and curves are at the start. */
void zllm_media_weights(int32_t *weights, size_t vectors, uint32_t inputs);
void zllm_media_curves(const tables_t *t, uint16_t *curves, size_t count);

int zllm_media_decide(const tables_t *t, string_t *s, const decision_t *d, uint32_t limit, int bit);

#endif
