/* Header blocks of tar (POSIX.1-2017, pax, "ustar Interchange Format"): made of fields, and read. */
#ifndef ZLLM_BLOCKS_H
#define ZLLM_BLOCKS_H

#include <stddef.h>
#include <stdint.h>

#include "archive/limits.h"

#define NAME_SIZE 100u
#define REST_SIZE 167u
#define NUMBER_SIZE 12u
#define SUM_SIZE 8u
#define PROFILE_SIZE 113u

/* Bytes that somebody else holds; there are none if data is NULL. */
typedef struct {
    const uint8_t *data;
    size_t size;
} text_t;

/* A block's fields but for name and checksum. name and link have 100 bytes at most, rest 167; mtime and size 12 each. */
void zllm_block_write(uint8_t *block, const uint8_t *profile, text_t link, text_t rest, const uint8_t *size,
                      const uint8_t *mtime);
/* The checksum of all other fields. */
void zllm_block_sum(uint8_t *block);
/* Eleven octal digits of what has no more, and a byte behind them. */
void zllm_octal(uint8_t out[NUMBER_SIZE], uint64_t value, uint8_t end);

/* Bytes of a pax record, by those of its keyword and value; its length counts itself. */
size_t zllm_pax_size(size_t key, size_t value);
/* The name of the extended header of `name` in a made-up folder; at most 100 bytes of it, and how many it has. */
size_t zllm_name_beside(text_t name, text_t folder, uint8_t out[NAME_SIZE]);
/* What writers put into the 100 bytes of a name: its beginning, of text that is not ASCII with ? in the place of characters.
 * Gives the bytes without NULs at the end. */
size_t zllm_name_cut(text_t name, int ascii, uint8_t out[NAME_SIZE]);

/* A numeric field: octal text, or base 256. -1: neither, below 0, or 2^63 and more. */
int64_t zllm_field(const uint8_t *field, size_t size);
/* A pax record at *at of a text, which moves behind it. 0: at the end; -1: what is there is none. */
int zllm_pax_next(text_t text, size_t *at, text_t *key, text_t *value);
/* Whether all of a text is records. */
int zllm_pax_valid(text_t text);

static inline uint64_t padded(uint64_t size) { return (size + BLOCK - 1) / BLOCK * BLOCK; }

static inline int is_extended(uint8_t type) {
    return type == 'x' || type == 'g' || type == 'L' || type == 'K' || type == 'X';
}

/* The next extended header of a member, at *at of its header blocks, which moves behind it. 0: there is no more. */
int zllm_extended_next(const uint8_t *headers, size_t size, size_t *at, uint8_t *type, text_t *text);
/* Bytes of data that a member with these header blocks has. 0 if its size field makes no sense. */
uint64_t zllm_data_size(const uint8_t *headers, size_t size);

#endif
