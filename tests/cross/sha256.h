/* SHA-256 (FIPS 180-4), so that hashes can be compared with those of hashlib. */
#ifndef CROSS_SHA256_H
#define CROSS_SHA256_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    uint32_t state[8];
    uint8_t block[64];
    uint64_t length;
} sha256_t;

void sha256_start(sha256_t *s);
void sha256_add(sha256_t *s, const void *data, size_t size);
void sha256_finish(sha256_t *s, char hex[65]);

/* The low `size` bytes of a value, lowest first: integers are hashed as little-endian whatever the machine. */
void sha256_add_little(sha256_t *s, uint64_t value, int size);

#endif
