#include "archive/deletions.h"

#include <stdlib.h>

static zllm_result make_room(deletions_t *x, uint64_t more, problem_t *p) {
    if (more <= x->room - x->n) return ZLLM_OK;
    const size_t room = 2 * x->room + (size_t)more;
    deletion_t *list = zllm_heap_zeroed(x->heap, room, sizeof *list);
    if (list == NULL) return NO_MEMORY(p);
    if (x->n > 0) memcpy(list, x->list, x->n * sizeof *list);
    zllm_heap_free(x->heap, x->list);
    x->list = list;
    x->room = room;
    return ZLLM_OK;
}

zllm_result zllm_deletions_add(deletions_t *x, const directory_t *d, uint64_t base, uint64_t start, uint64_t members,
                               problem_t *p) {
    if (d->n_deleted > members) return DAMAGED(p, "the directory is damaged: it deletes more members than there are");
    if (d->n_deleted == 0) return ZLLM_OK;
    const zllm_result rc = make_room(x, d->n_deleted, p);
    if (rc != ZLLM_OK) return rc;
    struct names *kept = zllm_heap_take(x->heap, sizeof *kept + bytes_left(&d->deleted));
    if (kept == NULL) return NO_MEMORY(p);
    memcpy(kept->bytes, d->deleted.data + d->deleted.at, bytes_left(&d->deleted));
    kept->next = x->names;
    x->names = kept;
    bytes_t names = bytes_of(kept->bytes, bytes_left(&d->deleted));
    for (uint64_t i = 0; i < d->n_deleted; i++) {
        deletion_t *one = &x->list[x->n++];
        *one = (deletion_t){.base = base, .start = start};
        one->name = zllm_directory_name(&names, &one->size);
    }
    x->sorted = 0;
    return ZLLM_OK;
}

static int order(const void *first, const void *second) {
    const deletion_t *a = first, *b = second;
    if (a->base != b->base) return a->base < b->base ? -1 : 1;
    const size_t common = a->size < b->size ? a->size : b->size;
    const int names = common > 0 ? memcmp(a->name, b->name, common) : 0;
    if (names != 0) return names;
    if (a->size != b->size) return a->size < b->size ? -1 : 1;
    return (a->start < b->start) - (a->start > b->start); /* the last one comes first */
}

int zllm_deletions_hide(deletions_t *x, uint64_t base, uint64_t place, const char *name, size_t size) {
    while (size > 0 && name[size - 1] == '/') size--;
    const deletion_t wanted = {.base = base, .start = UINT64_MAX, .name = (const uint8_t *)name, .size = size};
    if (x->n == 0) return 0;
    if (!x->sorted) qsort(x->list, x->n, sizeof *x->list, order);
    x->sorted = 1;
    size_t low = 0, high = x->n;
    while (low < high) { /* the first one that is not before it */
        const size_t middle = low + (high - low) / 2;
        if (order(&x->list[middle], &wanted) < 0) low = middle + 1;
        else high = middle;
    }
    if (low == x->n) return 0;
    const deletion_t *found = &x->list[low];
    return found->base == base && found->size == size && (size == 0 || memcmp(found->name, name, size) == 0) &&
           place < found->start;
}

void zllm_deletions_free(deletions_t *x) {
    while (x->names != NULL) {
        struct names *one = x->names;
        x->names = one->next;
        zllm_heap_free(x->heap, one);
    }
    zllm_heap_free(x->heap, x->list);
    *x = (deletions_t){.heap = x->heap};
}
