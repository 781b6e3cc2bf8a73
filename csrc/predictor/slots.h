/* The hash table's slots: 16 bytes, a check byte and the 15 histories of a nibble's tree. The first history is that of the
 * nibble's first bit, and histories are numbered by their lengths: so it says how often the slot was used. Four slots are
 * a line of 64 bytes.
 *
 * A context's slot is the first one of its line whose check byte is the hash's upper byte; if none is, the first of the
 * least used, which is emptied. The line may have to come from memory and either case is common, so there is no branch,
 * which would wait for it. */
#ifndef ZLLM_PREDICTOR_SLOTS_H
#define ZLLM_PREDICTOR_SLOTS_H

#include <string.h>

#include "state.h"
#include "wide.h"

#ifdef WIDE
/* The least of four words of uses plus one, 0 where the check byte is right, is found with its place by one instruction,
 * which takes eight: the others are the largest number, whatever the check byte. */
AVX2 static inline uint8_t *slot_find_avx2(uint8_t *line, uint32_t check) {
    const __m128i checks = _mm_set1_epi16((int16_t)check);
    __m128i w = _mm_set1_epi16(-1);
    int16_t two[4];
    for (int i = 0; i < 4; i++) memcpy(&two[i], line + 16 * i, 2);
    w = _mm_insert_epi16(w, two[0], 0);
    w = _mm_insert_epi16(w, two[1], 1);
    w = _mm_insert_epi16(w, two[2], 2);
    w = _mm_insert_epi16(w, two[3], 3);
    const __m128i right = _mm_cmpeq_epi16(_mm_and_si128(w, _mm_set1_epi16(255)), checks);
    const __m128i uses = _mm_add_epi16(_mm_srli_epi16(w, 8), _mm_set1_epi16(1));
    const __m128i rank = _mm_or_si128(_mm_andnot_si128(right, uses), _mm_set_epi16(-1, -1, -1, -1, 0, 0, 0, 0));
    const __m128i best = _mm_minpos_epu16(rank);
    __m128i *slot = (__m128i *)(line + ((size_t)(uint32_t)_mm_cvtsi128_si32(best) >> 16) * 16);
    const __m128i keep = _mm_cmpeq_epi16(_mm_broadcastw_epi16(best), _mm_setzero_si128());
    _mm_storeu_si128(slot, _mm_or_si128(_mm_and_si128(_mm_loadu_si128(slot), keep), _mm_cvtsi32_si128((int32_t)check)));
    return (uint8_t *)slot;
}

AVX2 static void slots_find_avx2(predictor_t *p, const uint32_t *h, uint8_t **slot, uint32_t n) {
    for (uint32_t i = 0; i < n; i++)
        slot[i] = slot_find_avx2(p->table + (size_t)(h[i] & p->line_mask) * 64, h[i] >> 24);
}
#endif

static inline uint8_t *slot_find(uint8_t *line, uint8_t check) {
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

/* The slots of n hashes, in turn: two contexts may want the same line. */
static inline void slots_find(predictor_t *p, const uint32_t *h, uint8_t **slot, uint32_t n) {
#ifdef WIDE
    if (p->wide) {
        slots_find_avx2(p, h, slot, n);
        return;
    }
#endif
    for (uint32_t i = 0; i < n; i++)
        slot[i] = slot_find(p->table + (size_t)(h[i] & p->line_mask) * 64, (uint8_t)(h[i] >> 24));
}

#endif
