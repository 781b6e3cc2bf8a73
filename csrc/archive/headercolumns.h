/* Header columns while they are read: taking from them, and the blocks that are made of them. */
#ifndef ZLLM_HEADER_COLUMNS_H
#define ZLLM_HEADER_COLUMNS_H

#include "archive/headers.h"

#define WHAT "the section map"
#define MAX_UNITS (WINDOW / BLOCK)
#define BASE 5u
#define MAX_DIGITS 9u

/* Columns, from the first of them on. */
enum {
    PARTS = 0, RAW_SIZES, RAW, PROFILES, EXTENDED_PROFILE, MAIN_PROFILE, EXTENDED_FORM, MAIN_FORM, SHORT_FORM,
    EXTENDED_NAMES, NAMES, LINKS, RESTS, LITERALS, KEYS, KEY_NUMBERS, VALUES, DIGITS, SECONDS, FRACTIONS = 22,
    SIZES = 26, SIZE_TOPS = 28, TAIL_SIZES, TAILS
};
enum { PART_RAW, PART_MAIN, PART_PAX, PART_LONG, PART_TAIL };
enum { LITERAL, NUL_END, SPACE_END, FOLLOWS, ROUNDED };
/* Keywords whose times are differences from the last of the same. */
enum { TIME_MAIN, TIME_EXTENDED, TIME_MTIME, TIME_ATIME, TIME_CTIME, TIME_CREATION, TIMES };

/* Keywords of an extended header: each and `=`. */
typedef struct {
    text_t keys;
} pattern_t;

/* What extended headers say that the main block repeats. */
typedef struct {
    text_t name, link;
    int timed;
    uint64_t floor, rounded;
} heard_t;

/* An extended header's block, whose name is known when the main block is. */
typedef struct {
    size_t at;
    text_t name;
    int beside, summed; /* the name is a folder in the member's; the checksum is not a literal */
} pending_t;

struct headers {
    heap_t *heap;
    bytes_t column[HEADER_COLUMNS];
    uint8_t *shown[HEADER_COLUMNS]; /* own copies of columns of texts with escapes */
    uint64_t longest, room;
    pattern_t *patterns;
    size_t n_patterns;
    pending_t *pending;
    size_t n_pending, pending_room;
    uint32_t last[TIMES];
    size_t plane[HEADER_COLUMNS]; /* numbers taken of planes, at their first columns */
    uint8_t *out;
    size_t used, out_room;
    int bad; /* a column ended too early */
};

/* Taking from columns. What is not there reads as nothing, and h->bad stays. */
uint32_t zllm_header_byte(headers_t *h, int column);
uint64_t zllm_header_number(headers_t *h, int column);
const uint8_t *zllm_header_bytes(headers_t *h, int column, uint64_t size);
uint32_t zllm_header_plane(headers_t *h, int column, uint32_t planes);
/* A text of `most` bytes at most. */
text_t zllm_header_text(headers_t *h, int column, uint64_t most);
/* Behind the blocks so far: room for bytes; bytes; zeros. */
zllm_result zllm_header_reserve(headers_t *h, uint64_t size, problem_t *p);
zllm_result zllm_header_put(headers_t *h, const void *data, size_t size, problem_t *p);
zllm_result zllm_header_zeros(headers_t *h, size_t size, problem_t *p);
/* Which keyword of times a key is, or -1. */
int zllm_header_time_key(text_t key);
/* Whether a text is a time: whole seconds of up to ten digits, perhaps a point and up to nine more; cut and rounded. */
int zllm_header_read_time(text_t text, uint64_t *floor, uint64_t *rounded);
/* Decimal digits, at least so many; how many there are. */
size_t zllm_header_decimal(char *out, uint64_t value, size_t least);
/* The value of a record with a time; `room` has what is made for it. */
text_t zllm_header_time(headers_t *h, int key, char room[32], problem_t *p);
/* A time field. Of form FOLLOWS or ROUNDED it is the first or second of `known`, of which bits of are_known tell. */
zllm_result zllm_header_mtime(headers_t *h, uint32_t form, int key, int are_known, const uint64_t known[2],
                              uint8_t out[NUMBER_SIZE], problem_t *p);

static inline zllm_result malformed_headers(problem_t *p) {
    return DAMAGED(p, "%s is damaged: its headers make no sense", WHAT);
}

#endif
