#include "archive/recover.h"

#define MOST_LOOKED_AT ((uint64_t)32 << 20) /* bytes of a part that the id is made of */

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

/* From what the id is made of: the body of the first part, if that is keys, a section or a directory. */
static int derive(const uint8_t *part, const envelope_t *e, uint32_t *seed) {
    const size_t front = envelope_size(e);
    *seed = (uint32_t)zllm_xxh3_kind(e->kind, part + front, (size_t)e->length);
    return zllm_part_holds(*seed, part, front, part + front, (size_t)e->length + CHECK_SIZE);
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
    const uint64_t whole = envelope_whole(&e);
    const int is_source = e.kind == KIND_SECTION || e.kind == KIND_DIRECTORY || e.kind == KIND_KEYS;
    if (*found || !is_source || whole > MOST_LOOKED_AT) return ZLLM_OK;
    rc = zllm_input_peek(s, HEADER_SIZE + whole, &data, &got, p);
    if (rc == ZLLM_OK && got == HEADER_SIZE + whole) *found = derive(data + HEADER_SIZE, &e, seed);
    return rc;
}
