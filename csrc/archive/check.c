#include "archive/check.h"

#define XXH_INLINE_ALL
#include <xxhash.h>
#include <zlib.h>

#include "archive/bytes.h"

/* Fuzzers get behind the checksums without knowing them. */
#ifdef FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION
#define ALWAYS 1
#else
#define ALWAYS 0
#endif

uint64_t zllm_xxh3(const void *data, size_t size, uint64_t seed) { return XXH3_64bits_withSeed(data, size, seed); }

int zllm_short_holds(const void *data, size_t size, const uint8_t *check, uint64_t seed) {
    const uint64_t found = zllm_xxh3(data, size, seed);
    return ALWAYS || (check[0] == (found & 0xff) && check[1] == (found >> 8 & 0xff));
}

uint64_t zllm_xxh3_kind(uint8_t kind, const void *data, size_t size) {
    XXH3_state_t state;
    (void)XXH3_64bits_reset(&state);
    (void)XXH3_64bits_update(&state, &kind, 1);
    (void)XXH3_64bits_update(&state, data, size);
    return XXH3_64bits_digest(&state);
}

void zllm_part_check_start(part_check_t *c, uint32_t seed) { c->value = seed; }

void zllm_part_check_add(part_check_t *c, const void *data, size_t size) {
    /* CRC-32 of zlib goes on from any value; it takes 32 bits of length at a time. */
    const uint8_t *from = data;
    while (size > 0) {
        const uInt now = size < (1u << 30) ? (uInt)size : 1u << 30;
        c->value = (uint32_t)crc32(c->value, from, now);
        from += now;
        size -= now;
    }
}

uint32_t zllm_part_check_end(const part_check_t *c) { return c->value; }

int zllm_part_holds(uint32_t seed, const void *front, size_t front_size, const uint8_t *rest, size_t rest_size) {
    part_check_t c;
    if (rest_size < CHECK_SIZE) return 0;
    zllm_part_check_start(&c, seed);
    zllm_part_check_add(&c, front, front_size);
    zllm_part_check_add(&c, rest, rest_size - CHECK_SIZE);
    return ALWAYS || zllm_part_check_end(&c) == little32(rest + rest_size - CHECK_SIZE);
}
