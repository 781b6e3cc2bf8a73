/* Header blocks of members from their columns (docs/zllm-format.md, "Header columns"). */
#ifndef ZLLM_HEADERS_H
#define ZLLM_HEADERS_H

#include "archive/blocks.h"
#include "archive/columns.h"

#define HEADER_COLUMNS 31u

typedef struct headers headers_t;

/* `columns` must stay. All blocks together have `room` bytes at most. Close it in any case that *out is not NULL. */
zllm_result zllm_headers_open(heap_t *heap, const bytes_t *columns, const zllm_limits *limits, uint64_t room,
                              headers_t **out, problem_t *p);
void zllm_headers_close(headers_t *h);
/* Header blocks, their texts and times that the columns claim: what decoding takes time for. */
uint64_t zllm_headers_parts(const bytes_t *columns);
/* The next member's blocks: how many bytes. They are behind the last one's. */
zllm_result zllm_headers_next(headers_t *h, size_t *size, problem_t *p);
/* After the last one: all of the blocks, which the caller frees; nothing may be left of the columns. */
zllm_result zllm_headers_end(headers_t *h, uint8_t **blocks, size_t *size, problem_t *p);
/* The blocks so far, until the next call. */
const uint8_t *zllm_headers_blocks(const headers_t *h);

#endif
