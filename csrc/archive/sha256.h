/* SHA-256 (FIPS 180-4). */
#ifndef ZLLM_SHA256_H
#define ZLLM_SHA256_H

#include <stddef.h>
#include <stdint.h>

#define SHA256_SIZE 32u

typedef struct {
    uint32_t state[8];
    uint8_t block[64];
    uint64_t length;
} sha256_t;

void zllm_sha256_start(sha256_t *s);
void zllm_sha256_add(sha256_t *s, const void *data, size_t size);
void zllm_sha256_end(sha256_t *s, uint8_t out[SHA256_SIZE]);
void zllm_sha256(const void *data, size_t size, uint8_t out[SHA256_SIZE]);

#endif
