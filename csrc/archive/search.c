#include "archive/search.h"

#define STEP ((size_t)1 << 16)

static int is_part(const uint8_t *data, size_t left, uint32_t seed, uint64_t least, uint32_t *tries) {
    envelope_t e;
    if (left < 3 || data[0] != SYNC_0 || data[1] != SYNC_1 || data[2] == 0 || data[2] > LAST_KIND || *tries == 0) return 0;
    --*tries;
    return zllm_envelope_read(data, left < MAX_ENVELOPE ? left : MAX_ENVELOPE, &seed, &e) && e.number >= least;
}

static int is_archive(const uint8_t *data, size_t left, uint32_t *tries) {
    problem_t p;
    uint32_t seed;
    if (left < HEADER_SIZE || data[0] != zllm_file_magic[0] || *tries == 0) return 0;
    if (memcmp(data, zllm_file_magic, FILE_MAGIC_SIZE) != 0) return 0;
    --*tries;
    const zllm_result rc = zllm_header_read(data, left, &seed, &p);
    return rc == ZLLM_OK || rc == ZLLM_E_VERSION;
}

/* Where what is looked for is in the next bytes; `size` if it is not there. */
static size_t find(const uint8_t *data, size_t size, size_t all, uint32_t seed, uint64_t least, int archives,
                   uint32_t *tries) {
    for (size_t i = 0; i < size; i++) {
        if (is_part(data + i, all - i, seed, least, tries)) return i;
        if (archives && is_archive(data + i, all - i, tries)) return i;
    }
    return size;
}

static zllm_result search(input_t *s, uint32_t seed, uint64_t least, int archives, uint32_t *tries, uint64_t *passed,
                          problem_t *p) {
    for (;;) {
        const uint8_t *data;
        size_t got;
        zllm_result rc = zllm_input_peek(s, STEP, &data, &got, p);
        if (rc != ZLLM_OK || got == 0) return rc == ZLLM_OK ? ZLLM_END : rc;
        const int last = got < STEP;
        const size_t size = last ? got : got - MAX_ENVELOPE; /* an envelope may go on behind these bytes */
        const size_t at = find(data, size, got, seed, least, archives, tries);
        rc = zllm_input_skip(s, at, NULL, p);
        *passed += at;
        if (rc != ZLLM_OK || at < size) return rc;
    }
}

zllm_result zllm_search_part(input_t *s, uint32_t seed, uint64_t least, uint32_t *tries, problem_t *p) {
    uint64_t passed = 0;
    zllm_result rc = zllm_input_skip(s, 1, NULL, p);
    if (rc == ZLLM_OK) rc = search(s, seed, least, 0, tries, &passed, p);
    return rc == ZLLM_END ? ZLLM_OK : rc;
}

zllm_result zllm_search_archive(input_t *s, uint32_t seed, uint64_t least, uint32_t *tries, uint64_t *passed, problem_t *p) {
    *passed = 0;
    return search(s, seed, least, 1, tries, passed, p);
}
