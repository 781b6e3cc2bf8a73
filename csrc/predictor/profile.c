/* Which profiles are worth trying on a text. What is chosen is part of what is coded, how is not. */
#include "predictor.h"

/* Bytes that text does not have: controls, but for white space and escape. */
static int is_binary(uint8_t b) { return b < 7 || (b > 13 && b < 27) || (b > 27 && b < 32) || b == 127; }

static size_t count_equal(const uint8_t *text, size_t n, uint32_t distance) {
    size_t equal = 0;
    for (size_t i = distance; i < n; i++) equal += text[i] == text[i - distance];
    return equal;
}

/* The distance at which bytes are equal most often; of its multiples, which are as good, the shortest. */
static uint32_t record_size(const uint8_t *text, size_t n) {
    size_t equal[PROFILE_MOST + 1] = {0}, most = 0;
    for (uint32_t d = PROFILE_RECORDS; d <= PROFILE_MOST && d < n; d++) {
        equal[d] = count_equal(text, n, d);
        most = equal[d] > most ? equal[d] : most;
    }
    for (uint32_t d = PROFILE_RECORDS; d <= PROFILE_MOST; d++)
        if (equal[d] > 0 && equal[d] >= most - most / 16) return d;
    return 4;
}

uint32_t profile_candidates(const uint8_t *sample, size_t n, uint32_t found[PROFILES]) {
    size_t binary = 0;
    for (size_t i = 0; i < n; i++) binary += (size_t)is_binary(sample[i]);
    found[0] = PROFILE_TEXT;
    if (binary <= n / 64) {
        found[1] = PROFILE_PROSE;
        return 2;
    }
    found[1] = 4; /* machine words: code has no records, but this helps it */
    found[2] = record_size(sample, n);
    return found[2] == 4 ? 2 : 3;
}
