/* Reads the bundle of tests/cross/bundle.py: little-endian on every machine, never past its end.
 *
 * A read past the end, or out of memory, sets `bad` and gives zeros, so that callers check once, at the end of a record.
 * Lists are copied; they belong to the bundle and are freed with bundle_release. */
#ifndef CROSS_BUNDLE_H
#define CROSS_BUNDLE_H

#include <stddef.h>
#include <stdint.h>

typedef struct block {
    struct block *next;
} block_t;

typedef struct {
    const uint8_t *at, *end;
    int bad;
    block_t *blocks; /* everything that was allocated since the last bundle_release */
} bundle_t;

/* size * count zero bytes, aligned for any type; never NULL unless `bad` is set. */
void *bundle_room(bundle_t *b, uint64_t count, size_t size);
void bundle_release(bundle_t *b);

/* An unsigned integer of 1 to 8 bytes. */
uint64_t bundle_get(bundle_t *b, int size);
uint32_t bundle_u32(bundle_t *b);
int32_t bundle_i32(bundle_t *b);
/* The number of that pattern in two's complement. */
int32_t bundle_signed(uint32_t x);
const uint8_t *bundle_bytes(bundle_t *b, uint64_t size);
int16_t *bundle_i16s(bundle_t *b, uint64_t count);
int32_t *bundle_i32s(bundle_t *b, uint64_t count);
uint32_t *bundle_u32s(bundle_t *b, uint64_t count);
uint64_t *bundle_u64s(bundle_t *b, uint64_t count);

#endif
