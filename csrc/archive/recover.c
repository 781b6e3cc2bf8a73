#include "archive/recover.h"

#define MOST_LOOKED_AT ((uint64_t)32 << 20) /* how far the part that the id is made of is looked for */
#define MOST_PARTS 4

/* If one byte of the header is wrong: the change that makes its checksum hold, and that of the first part's envelope. */
static int correct(const uint8_t *data, size_t size, uint32_t *seed) {
    uint8_t header[HEADER_SIZE];
    envelope_t e;
    problem_t p;
    memcpy(header, data, HEADER_SIZE);
    for (size_t at = 0; at < HEADER_SIZE; at++) {
        for (unsigned change = 1; change < 256; change++) {
            header[at] = data[at] ^ (uint8_t)change;
            if (zllm_header_read(header, HEADER_SIZE, seed, &p) == ZLLM_OK &&
                zllm_envelope_read(data + HEADER_SIZE, size - HEADER_SIZE, seed, &e) && e.number == 0)
                return 1;
        }
        header[at] = data[at];
    }
    return 0;
}

/* From what the id is made of: the body of the keys, else of the first section, else of the directory. Before a section
 * there may be models and notes. */
static zllm_result derive(input_t *s, uint32_t *seed, int *found, problem_t *p) {
    uint64_t at = HEADER_SIZE;
    for (int i = 0; i < MOST_PARTS; i++) {
        const uint8_t *data;
        envelope_t e;
        size_t got;
        zllm_result rc = zllm_input_peek(s, at + MAX_ENVELOPE, &data, &got, p);
        if (rc != ZLLM_OK || got <= at || !zllm_envelope_read(data + at, got - (size_t)at, NULL, &e)) return rc;
        const uint64_t whole = envelope_whole(&e);
        const size_t front = envelope_size(&e);
        if (at + whole > MOST_LOOKED_AT) return ZLLM_OK;
        if (e.kind == KIND_SECTION || e.kind == KIND_DIRECTORY || e.kind == KIND_KEYS) {
            rc = zllm_input_peek(s, at + whole, &data, &got, p);
            if (rc != ZLLM_OK || got < at + whole) return rc;
            *seed = (uint32_t)zllm_xxh3_kind(e.kind, data + at + front, (size_t)e.length);
            *found = zllm_part_holds(*seed, data + at, front, data + at + front, (size_t)e.length + CHECK_SIZE);
            return ZLLM_OK;
        }
        at += whole;
    }
    return ZLLM_OK;
}

zllm_result zllm_header_recover(input_t *s, uint32_t *seed, int *found, problem_t *p) {
    const uint8_t *data;
    envelope_t e;
    size_t got;
    *found = 0;
    zllm_result rc = zllm_input_peek(s, HEADER_SIZE + MAX_ENVELOPE, &data, &got, p);
    if (rc != ZLLM_OK || got <= HEADER_SIZE) return rc;
    if (!zllm_envelope_read(data + HEADER_SIZE, got - HEADER_SIZE, NULL, &e)) return ZLLM_OK;
    *found = correct(data, got, seed);
    return *found ? ZLLM_OK : derive(s, seed, found, p);
}
