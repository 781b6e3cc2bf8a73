#include "archive/check.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "archive/bytes.h"

/* Fuzzers get behind the checksums without knowing them. */
#ifdef FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION
#define ALWAYS 1
#else
#define ALWAYS 0
#endif

_Static_assert(sizeof(XXH3_state_t) <= sizeof(part_check_t), "the state does not fit");

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

void zllm_part_check_start(part_check_t *c, uint32_t seed) {
    memset(c, 0, sizeof *c); /* it is compared with what was there */
    (void)XXH3_64bits_reset_withSeed((XXH3_state_t *)(void *)c->state, seed);
}

void zllm_part_check_add(part_check_t *c, const void *data, size_t size) {
    (void)XXH3_64bits_update((XXH3_state_t *)(void *)c->state, data, size);
}

uint32_t zllm_part_check_end(const part_check_t *c) {
    return (uint32_t)XXH3_64bits_digest((const XXH3_state_t *)(const void *)c->state);
}

int zllm_part_holds(uint32_t seed, const void *front, size_t front_size, const uint8_t *rest, size_t rest_size) {
    part_check_t c;
    if (rest_size < CHECK_SIZE) return 0;
    zllm_part_check_start(&c, seed);
    zllm_part_check_add(&c, front, front_size);
    zllm_part_check_add(&c, rest, rest_size - CHECK_SIZE);
    return ALWAYS || zllm_part_check_end(&c) == little32(rest + rest_size - CHECK_SIZE);
}
