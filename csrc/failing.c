/* An allocator that fails when it is told to. */
#include <stdlib.h>

#include "zllm_testing.h"

/* Before what was given, its size; as much as keeps the alignment of malloc. */
typedef union {
    size_t size;
    max_align_t align;
} front_t;

static void count(zllm_failing *f, size_t size) {
    __atomic_fetch_add(&f->blocks, 1, __ATOMIC_SEQ_CST);
    const uint64_t bytes = __atomic_add_fetch(&f->bytes, size, __ATOMIC_SEQ_CST);
    uint64_t most = __atomic_load_n(&f->most, __ATOMIC_SEQ_CST);
    while (bytes > most &&
           !__atomic_compare_exchange_n(&f->most, &most, bytes, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
        continue;
}

void *zllm_failing_allocate(void *context, size_t size) {
    zllm_failing *f = context;
    const uint64_t call = __atomic_add_fetch(&f->calls, 1, __ATOMIC_SEQ_CST);
    if (f->fail_at > 0 && (f->after ? call >= f->fail_at : call == f->fail_at)) return NULL;
    front_t *p = malloc(sizeof *p + size);
    if (p == NULL) return NULL;
    p->size = size;
    count(f, size);
    return p + 1;
}

void zllm_failing_release(void *context, void *memory, size_t size) {
    zllm_failing *f = context;
    front_t *p = (front_t *)memory - 1;
    if (p->size != size) __atomic_fetch_add(&f->wrong, 1, __ATOMIC_SEQ_CST);
    __atomic_fetch_sub(&f->blocks, 1, __ATOMIC_SEQ_CST);
    __atomic_fetch_sub(&f->bytes, p->size, __ATOMIC_SEQ_CST);
    free(p);
}
