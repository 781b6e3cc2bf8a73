/* A binary range coder with a 64-bit range (docs/arithmetic.md, section 6).
 *
 * Encoder state: the code string so far is a number in [low, low + range), low counted from the byte `at` on; carries
 * out of low are added to the bytes already written. Between decisions range is in [2^56, 2^64), so that a decision
 * splits it at (range >> 24) * p: both parts are at least 2^32 for p in [1, 2^24 - 1], and the rounding of the split
 * costs less than 2^-30 bit.
 * Decoder state: code is the code string's number minus low, cut to 64 bits, and always below range.
 *
 * Source: Martin 1979 (range encoding), with binary decisions as in Schindler 1998 and carries as in Witten et al. 1987.
 */
#ifndef ZLLM_RANGECODER_H
#define ZLLM_RANGECODER_H

#include <stddef.h>
#include <stdint.h>

#define PROBABILITY_BITS 24

typedef struct {
    uint64_t low, range;
    uint8_t *out;
    size_t at, room;
    int full;
} encoder_t;

static inline void encoder_start(encoder_t *e, uint8_t *out, size_t room) {
    e->low = 0;
    e->range = UINT64_MAX;
    e->out = out;
    e->at = 0;
    e->room = room;
    e->full = 0;
}

/* The number written so far is below 1, so a carry always meets a byte that is not 0xff before it runs out of them. */
static inline void encoder_carry(encoder_t *e) {
    size_t i = e->at;
    while (i > 0 && ++e->out[--i] == 0) {
    }
}

static inline void encoder_byte(encoder_t *e, uint8_t byte) {
    if (e->at < e->room) e->out[e->at++] = byte;
    else e->full = 1;
}

/* p: probability of a one. Ones take the lower part. */
static inline void encoder_put(encoder_t *e, uint32_t p, int bit) {
    const uint64_t bound = (e->range >> PROBABILITY_BITS) * p;
    if (bit) {
        e->range = bound;
    } else {
        const uint64_t low = e->low + bound;
        if (low < e->low) encoder_carry(e);
        e->low = low;
        e->range -= bound;
    }
    while (e->range < (uint64_t)1 << 56) {
        encoder_byte(e, (uint8_t)(e->low >> 56));
        e->low <<= 8;
        e->range <<= 8;
    }
}

/* The shortest string all of whose continuations lie in the range; the decoder reads zeros past the end. */
static inline void encoder_finish(encoder_t *e) {
    const uint64_t up = e->low + (((uint64_t)1 << 56) - 1);
    if (up < e->low) encoder_carry(e);
    encoder_byte(e, (uint8_t)(up >> 56));
    while (e->at > 0 && e->out[e->at - 1] == 0) e->at--;
}

typedef struct {
    uint64_t code, range;
    const uint8_t *in;
    size_t at, size;
} decoder_t;

static inline uint8_t decoder_byte(decoder_t *d) { return d->at < d->size ? d->in[d->at++] : 0; }

static inline void decoder_start(decoder_t *d, const uint8_t *in, size_t size) {
    d->code = 0;
    d->range = UINT64_MAX;
    d->in = in;
    d->at = 0;
    d->size = size;
    for (int i = 0; i < 8; i++) d->code = d->code << 8 | decoder_byte(d);
}

static inline int decoder_get(decoder_t *d, uint32_t p) {
    const uint64_t bound = (d->range >> PROBABILITY_BITS) * p;
    const int bit = d->code < bound;
    if (bit) {
        d->range = bound;
    } else {
        d->code -= bound;
        d->range -= bound;
    }
    while (d->range < (uint64_t)1 << 56) {
        d->code = d->code << 8 | decoder_byte(d);
        d->range <<= 8;
    }
    return bit;
}

#endif
