/* Every limit of the format (docs/zllm-format.md, "Limits"). */
#ifndef ZLLM_LIMITS_H
#define ZLLM_LIMITS_H

#include "zllm_archive.h"

#define BLOCK 512u
#define WINDOW ((uint64_t)64 << 20)
#define MAX_PAYLOAD (WINDOW + ((uint64_t)1 << 20))
#define MAX_MAP (2 * WINDOW)
#define MAX_RECORDS (WINDOW / 128)
#define MAX_FRAMES ((uint64_t)1 << 17)
#define MAX_COLUMNS 4096u
#define MAX_MIXED ((uint64_t)256 << 10)
#define FREE_MAP ((uint64_t)64 << 10)
#define MAX_MAP_RATIO 2048u
#define FREE_HEADERS 4096u
#define MAX_HEADERS_RATIO 256u
#define FREE_MIXED ((uint64_t)128 << 10)
#define MAX_MIXED_RATIO 512u
#define MAX_DIRECTORY ((uint64_t)64 << 20)
#define FREE_DIRECTORY ((uint64_t)8 << 10)
#define MAX_DIRECTORY_RATIO 64u
#define MAX_MANIFEST ((uint64_t)64 << 10)
#define MAX_SECTION_HEADER 4096u
#define MAX_MODELS 8u
#define MAX_MODEL ((uint64_t)4 << 30)
#define MAX_MODEL_RATIO 16u
#define MAX_EXTENDED ((uint64_t)1 << 20)
#define MAX_UNIT ((uint64_t)8 << 20)
#define FREE_MIXED_TEXT ((uint64_t)64 << 10)
#define MAX_MIXED_TEXT_RATIO ((uint64_t)1 << 16)
#define FREE_MODEL_TEXT ((uint64_t)4 << 10)
#define MAX_MODEL_TEXT_RATIO 4096u
#define MAX_STREAMS 256u
#define FREE_STREAMS 16u
#define STREAM_CODE 512u
#define REPEAT_DATA 256u
#define MAX_OFFSET ((uint64_t)1 << 62)
#define MAX_OCTAL (((uint64_t)1 << 33) - 1) /* of eleven digits */

/* The caller's limits with the format's own where it gave none. ZLLM_E_ARGUMENT if they make no sense. */
zllm_result zllm_limits_read(const zllm_limits *from, zllm_limits *to);

static inline uint64_t lesser(uint64_t a, uint64_t b) { return a < b ? a : b; }

/* Bytes that the columns of a map of `packed` bytes may take; and records, frames, header blocks and texts in it. */
static inline uint64_t limit_of_map(const zllm_limits *l, uint64_t packed) {
    return lesser(l->map_bytes, packed > MAX_MAP ? l->map_bytes : FREE_MAP + l->map_ratio * packed);
}
static inline uint64_t limit_of_parts(const zllm_limits *l, uint64_t packed) {
    return FREE_HEADERS + l->records_ratio * lesser(packed, MAX_MAP);
}

#endif
