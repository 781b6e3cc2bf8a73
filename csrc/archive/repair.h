/* Single wrong bits and bytes of parts, and what they were: behind a body the checksum tells which (a CRC is linear: what
 * one changed byte does to it depends on the change and on how far from the end it is), and of an envelope all changes are
 * tried. With more than one wrong byte a checksum tells nonsense where it tells anything: what is read by it needs another
 * proof. */
#ifndef ZLLM_REPAIR_H
#define ZLLM_REPAIR_H

#include "archive/part.h"

/* What may be hashed in searches for one archive, in bytes, however many of its parts are damaged. */
typedef struct {
    uint64_t left;
} budget_t;
#define BUDGET ((uint64_t)16 << 30)

/* Whether there is enough left for so many tries of `size` bytes each; then it is taken. */
int zllm_budget_spend(budget_t *b, uint64_t tries, uint64_t size);

#define MOST_FIXES 4u
/* What may have been wrong. */
typedef struct {
    size_t at;      /* in the part, behind what is known to stand before it; SIZE_MAX: the checksum itself is wrong */
    uint8_t change; /* to be exclusive-ored */
} fix_t;

/* Changes of one bit, or of one byte of a part of up to 16 KiB, that make its checksum hold, the likeliest first; how many.
 * `front` is known to stand before the rest, whose last bytes are the checksum. */
size_t zllm_repair_body(uint32_t seed, const void *front, size_t front_size, const uint8_t *rest, size_t rest_size,
                        budget_t *budget, fix_t out[MOST_FIXES]);
static inline void fix_apply(const fix_t *fix, uint8_t *rest) {
    if (fix->at != SIZE_MAX) rest[fix->at] ^= fix->change;
}

/* Asked whether a part with this envelope is there: 1 or 0; -1: nothing can go on. */
typedef int (*envelope_proof_t)(void *context, const envelope_t *e);
/* The envelope of part number `number` that bytes begin with but for one byte: 1, 0 if there is none, -1 as the proof. */
int zllm_repair_envelope(const uint8_t *data, size_t size, uint32_t seed, uint64_t number, envelope_proof_t proved,
                         void *context, budget_t *budget, envelope_t *out);

#endif
