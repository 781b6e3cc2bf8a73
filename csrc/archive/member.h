/* Members from their header blocks. */
#ifndef ZLLM_MEMBER_H
#define ZLLM_MEMBER_H

#include "archive/blocks.h"
#include "archive/problem.h"
#include "heap.h"

/* Pax records that hold for all members behind them. */
typedef struct global {
    struct global *next;
    uint64_t place; /* of the member whose headers have them */
    size_t size;
    uint8_t *text;
} global_t;

typedef struct {
    heap_t *heap;
    global_t *globals, *last;
    uint64_t globals_size;
    char *texts; /* of the member that was read last */
} members_t;

void zllm_members_free(members_t *m);
/* The member with these header blocks, of which there are some. Its texts are good until the next call. */
zllm_result zllm_members_read(members_t *m, const uint8_t *headers, size_t size, uint64_t place, zllm_member *out,
                              problem_t *p);

#endif
