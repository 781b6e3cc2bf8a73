/* The normative operations: portable scalar C. */
#include <string.h>

#include "operations.h"

static uint8_t *slot_find(uint8_t *line, uint8_t check) {
    uint32_t best = UINT32_MAX; /* whether the check byte is another, uses, place */
    for (uint32_t i = 0; i < 4; i++) {
        const uint32_t other = line[16 * i] != check, rank = other << 10 | (other * line[16 * i + 1]) << 2 | i;
        best = rank < best ? rank : best;
    }
    uint8_t *slot = line + 16 * (best & 3);
    const uint64_t keep = (uint64_t)(best >> 10) - 1;
    uint64_t half[2];
    memcpy(half, slot, 16);
    half[0] &= keep;
    half[1] &= keep;
    memcpy(slot, half, 16);
    slot[0] = check;
    return slot;
}

static void generic_find(uint8_t *table, uint32_t line_mask, const uint32_t *hash, uint8_t **slot, uint32_t n) {
    for (uint32_t i = 0; i < n; i++)
        slot[i] = slot_find(table + (size_t)(hash[i] & line_mask) * 64, (uint8_t)(hash[i] >> 24));
}

static int32_t dot(const int16_t *restrict x, const int16_t *restrict w, uint32_t inputs) {
    int32_t s = 0;
    for (uint32_t i = 0; i < inputs; i++) s += x[i] * w[i];
    return s;
}

/* step in 16 bits. */
static void train(const int16_t *restrict x, int16_t *restrict w, int32_t step, uint32_t inputs) {
    for (uint32_t i = 0; i < inputs; i++) {
        const int32_t sum = w[i] + (((x[i] * 16 * step >> 16) + 1) >> 1);
        w[i] = (int16_t)(sum > 32767 ? 32767 : sum < -32768 ? -32768 : sum);
    }
}

static void generic_mix(mixer_t *m) {
    for (uint32_t s = 0; s < SETS; s++)
        m->outputs[s] = clamp_stretch(dot(m->inputs, m->weights[m->vector[s]], INPUTS) >> 14);
    for (uint32_t f = 0; f < FINALS; f++) {
        const int32_t *w = m->final[m->final_vector[f]];
        int64_t sum = 0;
        for (uint32_t s = 0; s < SETS; s++) sum += (int64_t)m->outputs[s] * w[s];
        m->finals[f] = clamp_stretch(sum >> 16);
    }
}

static void generic_train(mixer_t *m, const int32_t steps[SETS], const int32_t wrong[FINALS]) {
    for (uint32_t s = 0; s < SETS; s++) train(m->inputs, m->weights[m->vector[s]], steps[s], INPUTS);
    for (uint32_t f = 0; f < FINALS; f++) {
        int32_t *w = m->final[m->final_vector[f]];
        for (uint32_t s = 0; s < SETS; s++) {
            w[s] += (m->outputs[s] * wrong[f] + (1 << 15)) >> 16;
            w[s] = w[s] > FINAL_MAX ? FINAL_MAX : w[s] < -FINAL_MAX ? -FINAL_MAX : w[s];
        }
    }
}

static void generic_mix_flag(flag_mixer_t *m) {
    for (uint32_t s = 0; s < FLAG_SETS; s++)
        m->outputs[s] = clamp_stretch(dot(m->inputs, m->weights[m->vector[s]], FLAG_INPUTS) >> 14);
}

static void generic_train_flag(flag_mixer_t *m, const int32_t steps[FLAG_SETS]) {
    for (uint32_t s = 0; s < FLAG_SETS; s++) train(m->inputs, m->weights[m->vector[s]], steps[s], FLAG_INPUTS);
}

/* Towards the answer by 1 / (count + 1.5) of the way, at last by 1 / (limit + 1.5). The gap has 23 bits with its sign, its
 * reciprocal 16. */
static adaptive_t adapted(const uint16_t *reciprocal, adaptive_t was, int answer, uint32_t limit) {
    const uint32_t n = was & 1023;
    const int64_t gap = (answer ? (1 << 22) - 1 : 0) - (int32_t)(was >> 10);
    return was + ((uint32_t)((gap * reciprocal[n]) >> 16) << 10) + (n < limit);
}

static void generic_learn(const uint16_t *reciprocal, const lanes_t *l, uint32_t n, uint32_t answers) {
    for (uint32_t i = 0; i < n; i++) *l->at[i] = adapted(reciprocal, l->seen[i], answers >> i & 1, l->limit[i]);
}

const operations_t zllm_operations_generic = {
    "generic", generic_find, generic_mix, generic_train, generic_mix_flag, generic_train_flag, generic_learn,
};
