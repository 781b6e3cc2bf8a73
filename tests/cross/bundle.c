#include "bundle.h"

#include <stdlib.h>

/* The block's own head is 16 bytes, so that what follows is aligned as calloc aligns. */
#define HEAD 16u

void *bundle_room(bundle_t *b, uint64_t count, size_t size) {
    block_t *block = NULL;
    if (!b->bad && count <= (SIZE_MAX - HEAD - 1) / size) block = calloc(1, HEAD + (size_t)count * size + 1);
    if (block == NULL) {
        b->bad = 1;
        return NULL;
    }
    block->next = b->blocks;
    b->blocks = block;
    return (uint8_t *)block + HEAD;
}

void bundle_release(bundle_t *b) {
    while (b->blocks != NULL) {
        block_t *next = b->blocks->next;
        free(b->blocks);
        b->blocks = next;
    }
}

const uint8_t *bundle_bytes(bundle_t *b, uint64_t size) {
    const uint8_t *bytes = b->at;
    if (b->bad || size > (uint64_t)(b->end - b->at)) {
        b->bad = 1;
        return NULL;
    }
    b->at += size;
    return bytes;
}

uint64_t bundle_get(bundle_t *b, int size) {
    const uint8_t *bytes = bundle_bytes(b, (uint64_t)size);
    uint64_t value = 0;
    for (int i = 0; bytes != NULL && i < size; i++) value |= (uint64_t)bytes[i] << 8 * i;
    return value;
}

uint32_t bundle_u32(bundle_t *b) { return (uint32_t)bundle_get(b, 4); }

int32_t bundle_signed(uint32_t x) { return x < 0x80000000u ? (int32_t)x : (int32_t)(x - 0x80000000u) - INT32_MAX - 1; }
int32_t bundle_i32(bundle_t *b) { return bundle_signed(bundle_u32(b)); }

/* Whether `count` integers of `size` bytes are there: nothing is allocated for a count that is not true. */
static int has(bundle_t *b, uint64_t count, uint64_t size) {
    if (count > (uint64_t)(b->end - b->at) / size) b->bad = 1;
    return !b->bad;
}

int16_t *bundle_i16s(bundle_t *b, uint64_t count) {
    int16_t *out = has(b, count, 2) ? bundle_room(b, count, sizeof *out) : NULL;
    for (uint64_t i = 0; out != NULL && i < count; i++) {
        const int32_t value = (int32_t)bundle_get(b, 2);
        out[i] = (int16_t)(value < 32768 ? value : value - 65536);
    }
    return out;
}

int32_t *bundle_i32s(bundle_t *b, uint64_t count) {
    int32_t *out = has(b, count, 4) ? bundle_room(b, count, sizeof *out) : NULL;
    for (uint64_t i = 0; out != NULL && i < count; i++) out[i] = bundle_i32(b);
    return out;
}

uint32_t *bundle_u32s(bundle_t *b, uint64_t count) {
    uint32_t *out = has(b, count, 4) ? bundle_room(b, count, sizeof *out) : NULL;
    for (uint64_t i = 0; out != NULL && i < count; i++) out[i] = bundle_u32(b);
    return out;
}

uint64_t *bundle_u64s(bundle_t *b, uint64_t count) {
    uint64_t *out = has(b, count, 8) ? bundle_room(b, count, sizeof *out) : NULL;
    for (uint64_t i = 0; out != NULL && i < count; i++) out[i] = bundle_get(b, 8);
    return out;
}
