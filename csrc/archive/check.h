/* Checksums of the container. What stands behind a body is computed here and nowhere else. */
#ifndef ZLLM_CHECK_H
#define ZLLM_CHECK_H

#include <stddef.h>
#include <stdint.h>

#define ENVELOPE_CHECK_SIZE 2u
#define CHECK_SIZE 4u

/* XXH3-64. */
uint64_t zllm_xxh3(const void *data, size_t size, uint64_t seed);

/* Whether two bytes are the checksum of those before them: of headers and envelopes. */
int zllm_short_holds(const void *data, size_t size, const uint8_t *check, uint64_t seed);

/* XXH3-64 of one byte, and bytes behind it: the id of an archive is made of a kind and a body. */
uint64_t zllm_xxh3_kind(uint8_t kind, const void *data, size_t size);

/* The checksum of a part: CRC-32, which goes on from the archive's seed, of envelope and body, in pieces. */
typedef struct part_check part_check_t;
struct part_check {
    uint32_t value;
};
void zllm_part_check_start(part_check_t *c, uint32_t seed);
void zllm_part_check_add(part_check_t *c, const void *data, size_t size);
uint32_t zllm_part_check_end(const part_check_t *c);

/* Whether it holds of `front`, which is known, and `rest`, whose last CHECK_SIZE bytes are the checksum. */
int zllm_part_holds(uint32_t seed, const void *front, size_t front_size, const uint8_t *rest, size_t rest_size);

#endif
