/* What the predictor computes for many numbers at once, and which a processor may have instructions for. Variants of it have
 * names, and a kernel says which one goes with it (kernels.h): all give the same integers, and predictor/selfcheck.c compares
 * each with the generic one before anything is coded with it.
 *
 * Of the mixer's sums none overflows 32 bits: INPUTS products, half of at most 2047 * 2^15 and half of at most 512 * 2^15, are
 * below 2^31 in size, and so is every part of the sum. The order of summation therefore changes nothing. Inputs are in
 * [-2047, 2047], weights have 16 bits (1 is 2^14).
 *
 * The hash table's slots have 16 bytes, a check byte and the 15 histories of a nibble's tree. The first history is that of the
 * nibble's first bit, and histories are numbered by their lengths: so it says how often the slot was used. Four slots are a
 * line of 64 bytes. A context's slot is the first one of its line whose check byte is the hash's upper byte; if none is, the
 * first of the least used, which is emptied. The line may have to come from memory and either case is common, so there is no
 * branch, which would wait for it. */
#ifndef ZLLM_PREDICTOR_OPERATIONS_H
#define ZLLM_PREDICTOR_OPERATIONS_H

#include "state.h"

#define FINAL_MAX (1 << 20) /* 1 is 2^16 */

struct operations {
    const char *name;
    /* The slots of n hashes, in turn: two contexts may want the same line. The table has line_mask + 1 lines. */
    void (*find)(uint8_t *table, uint32_t line_mask, const uint32_t *hash, uint8_t **slot, uint32_t n);
    /* The sets' outputs, and what the final vectors make of them. */
    void (*mix)(mixer_t *m);
    /* steps: of the sets' weights, in 16 bits. wrong: errors of the finals in 2^-16; times an output they are below 2^28. */
    void (*train)(mixer_t *m, const int32_t steps[SETS], const int32_t wrong[FINALS]);
    /* The same for a flag's sets, which no final vector mixes. */
    void (*mix_flag)(flag_mixer_t *m);
    void (*train_flag)(flag_mixer_t *m, const int32_t steps[FLAG_SETS]);
    /* The first n lanes learn: lane i bit i of the answers. reciprocal: of tables_t, with the one that is not used. */
    void (*learn)(const uint16_t *reciprocal, const lanes_t *l, uint32_t n, uint32_t answers);
};

#endif
