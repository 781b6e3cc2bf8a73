/* One piece of memory for all that a model has, each part 64-byte aligned, for packed matrices are read by whole vectors.
 * What fills it runs twice: first without the piece, when only sizes are added up. */
#ifndef ZLLM_ARENA_H
#define ZLLM_ARENA_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct {
    uint8_t *base; /* or NULL */
    size_t used;
} arena_t;

/* NULL without the piece. Sizes were checked: they do not overflow. */
static inline void *arena_take(arena_t *a, size_t size) {
    uint8_t *p = a->base == NULL ? NULL : a->base + a->used;
    a->used += (size + 63) / 64 * 64;
    return p;
}

static inline void *arena_copy(arena_t *a, const void *from, size_t size) {
    void *p = arena_take(a, size);
    if (p != NULL) memcpy(p, from, size);
    return p;
}

#endif
