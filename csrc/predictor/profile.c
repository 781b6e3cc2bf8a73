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
    size_t equal[PROFILE_RECORDS_MOST + 1] = {0}, most = 0;
    for (uint32_t d = PROFILE_RECORDS; d <= PROFILE_RECORDS_MOST && d < n; d++) {
        equal[d] = count_equal(text, n, d);
        most = equal[d] > most ? equal[d] : most;
    }
    for (uint32_t d = PROFILE_RECORDS; d <= PROFILE_RECORDS_MOST; d++)
        if (equal[d] > 0 && equal[d] >= most - most / 16) return d;
    return 4;
}

/* Whether this may be code of x86: calls whose distance is less than 2^24 are one in 200 of its bytes, and else chance. */
static int is_x86(const uint8_t *code, size_t n) {
    size_t calls = 0;
    for (size_t i = 0; i + 4 < n; i++) calls += code[i] == 0xe8 && (code[i + 4] == 0 || code[i + 4] == 255);
    return calls > n / 1024;
}

/* The same of AArch64, whose instructions have four bytes: one in 100 of them is a call that is not far. */
static int is_arm(const uint8_t *code, size_t n) {
    size_t calls = 0;
    for (size_t i = 3; i < n; i += 4) calls += code[i] == 0x94 || code[i] == 0x97;
    return calls > n / 4 / 64;
}

/* Text of two bytes a character, as UTF-16 of most alphabets: of either the even or the odd bytes nearly all are controls. */
static int is_wide(const uint8_t *text, size_t n) {
    size_t binary[2] = {0};
    for (size_t i = 0; i < n; i++) binary[i & 1] += (size_t)is_binary(text[i]);
    const size_t most = binary[0] > binary[1] ? binary[0] : binary[1], least = binary[0] + binary[1] - most;
    return most > n / 2 - n / 16 && least < n / 16;
}

uint32_t zllm_profile_candidates(const uint8_t *sample, size_t n, uint32_t found[PROFILES]) {
    size_t binary = 0;
    uint32_t candidates = 0;
    for (size_t i = 0; i < n; i++) binary += (size_t)is_binary(sample[i]);
    found[candidates++] = is_wide(sample, n) ? PROFILE_PROSE : PROFILE_TEXT;
    if (binary <= n / 64) {
        found[candidates++] = PROFILE_PROSE;
        return candidates;
    }
    const uint32_t size = record_size(sample, n);
    found[candidates++] = 4; /* machine words */
    if (size != 4) found[candidates++] = size;
    if (is_x86(sample, n)) found[candidates++] = PROFILE_X86;
    else if (is_arm(sample, n)) found[candidates++] = PROFILE_ARM;
    return candidates;
}
