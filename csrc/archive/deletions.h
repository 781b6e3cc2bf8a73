/* Names that later generations delete: they hide the members of earlier ones. */
#ifndef ZLLM_DELETIONS_H
#define ZLLM_DELETIONS_H

#include "archive/directory.h"

/* A name, and where in the stream the generation begins that deletes it; `base` is where its archive begins. */
typedef struct {
    uint64_t base, start;
    const uint8_t *name;
    size_t size;
} deletion_t;

typedef struct {
    heap_t *heap;
    deletion_t *list;
    size_t n, room;
    int sorted;
    struct names { /* of each directory */
        struct names *next;
        uint8_t bytes[];
    } *names;
} deletions_t;

/* Add those of a directory. `members`: how many there are in earlier generations of its archive; ZLLM_E_DAMAGED: it deletes
 * more, and none is added. */
zllm_result zllm_deletions_add(deletions_t *x, const directory_t *d, uint64_t base, uint64_t start, uint64_t members,
                               problem_t *p);
/* Whether a member of an archive that begins at `place` is hidden. */
int zllm_deletions_hide(deletions_t *x, uint64_t base, uint64_t place, const char *name, size_t size);
void zllm_deletions_free(deletions_t *x);

#endif
