#define _DEFAULT_SOURCE /* MAP_ANONYMOUS, madvise */
#include "heap.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#if defined(__GLIBC__)
#include <malloc.h>
#endif
#if defined(__unix__) || defined(__APPLE__)
#include <sys/mman.h>
#if defined(MAP_ANONYMOUS)
#define MAPPED 1
#endif
#endif

#define LARGE ((size_t)2 << 20)
#define UNIT 64u

struct heap {
    zllm_options options;
    size_t limit;
    _Atomic size_t used;
};

/* Stands before what was given. */
typedef struct {
    void *start;
    size_t size; /* from there on */
} piece_t;

#define AROUND (sizeof(piece_t) + UNIT - 1) /* what a piece may take more than was asked for */

static size_t round_to(size_t size, size_t unit) { return (size + unit - 1) / unit * unit; }

/* A caller that was compiled with a newer header may have fields more; they have to ask for nothing. */
static zllm_result read_options(const zllm_options *from, zllm_options *to) {
    const unsigned char *bytes = (const unsigned char *)from;
    *to = (zllm_options){.size = sizeof *to};
    if (from == NULL) return ZLLM_OK;
    if (from->size < sizeof *to || (from->allocate == NULL) != (from->release == NULL)) return ZLLM_E_ARGUMENT;
    for (size_t i = sizeof *to; i < from->size; i++)
        if (bytes[i] != 0) return ZLLM_E_ARGUMENT;
    *to = *from;
    return ZLLM_OK;
}

static void *acquire(const zllm_options *o, size_t size, int zero) {
    if (o->allocate == NULL) return zero ? calloc(1, size) : malloc(size);
    void *p = o->allocate(o->context, size);
    if (p != NULL && zero) memset(p, 0, size);
    return p;
}

static void release(const zllm_options *o, void *p, size_t size) {
    if (o->release == NULL) free(p);
    else o->release(o->context, p, size);
}

zllm_result zllm_heap_open(const zllm_options *options, heap_t **out) {
    zllm_options o;
    *out = NULL;
    const zllm_result rc = read_options(options, &o);
    if (rc != ZLLM_OK) return rc;
    const size_t limit = o.memory_limit ? o.memory_limit : SIZE_MAX;
    heap_t *h = limit < sizeof *h ? NULL : acquire(&o, sizeof *h, 1);
    if (h == NULL) return ZLLM_E_MEMORY;
    h->options = o;
    h->limit = limit;
    atomic_init(&h->used, sizeof *h);
    *out = h;
    return ZLLM_OK;
}

void zllm_heap_close(heap_t *h) {
    if (h == NULL) return;
    const zllm_options o = h->options;
    release(&o, h, sizeof *h);
}

/* Count so many bytes more, if the limit allows it. */
static int charge(heap_t *h, size_t size) {
    size_t used = atomic_load(&h->used);
    do {
        if (size > h->limit - used) return 0;
    } while (!atomic_compare_exchange_weak(&h->used, &used, used + size));
    return 1;
}

static void discharge(heap_t *h, size_t size) { atomic_fetch_sub(&h->used, size); }

static void *take(heap_t *h, size_t size, int zero) {
    if (size > SIZE_MAX / 2 || !charge(h, size + AROUND)) return NULL;
    char *start = acquire(&h->options, size + AROUND, zero);
    if (start == NULL) {
        discharge(h, size + AROUND);
        return NULL;
    }
    const size_t place = (size_t)(uintptr_t)start + sizeof(piece_t);
    void *p = start + sizeof(piece_t) + (UNIT - place % UNIT) % UNIT;
    ((piece_t *)p)[-1] = (piece_t){.start = start, .size = size + AROUND};
    return p;
}

void *zllm_heap_take(heap_t *h, size_t size) { return size > SIZE_MAX / 2 ? NULL : take(h, round_to(size, UNIT), 0); }

void *zllm_heap_zeroed(heap_t *h, size_t count, size_t size) {
    return size > 0 && count > SIZE_MAX / size ? NULL : take(h, count * size, 1);
}

void zllm_heap_free(heap_t *h, void *p) {
    if (p == NULL) return;
    const piece_t piece = ((piece_t *)p)[-1];
    release(&h->options, piece.start, piece.size);
    discharge(h, piece.size);
}

#ifdef MAPPED
/* A large page starts at a multiple of its size, so as much more is asked for, and what is around given back. */
static void *map(size_t whole) {
    char *p = mmap(NULL, whole + LARGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) return NULL;
    const size_t before = (LARGE - (size_t)p % LARGE) % LARGE;
    if (before > 0) (void)munmap(p, before);
    (void)munmap(p + before + whole, LARGE - before);
#ifdef MADV_HUGEPAGE
    (void)madvise(p + before, whole, MADV_HUGEPAGE); /* a wish: without it all is as before */
#endif
    return p + before;
}

static int mapped(const heap_t *h, size_t size) { return size >= LARGE && h->options.allocate == NULL; }
#endif

void *zllm_heap_pages(heap_t *h, size_t size) {
#ifdef MAPPED
    if (size > SIZE_MAX / 2) return NULL;
    if (mapped(h, size)) {
        const size_t whole = round_to(size, LARGE);
        if (!charge(h, whole)) return NULL;
        void *p = map(whole);
        if (p == NULL) discharge(h, whole);
        return p;
    }
#endif
    return zllm_heap_take(h, size);
}

void zllm_heap_free_pages(heap_t *h, void *p, size_t size) {
#ifdef MAPPED
    if (p != NULL && mapped(h, size)) {
        const size_t whole = round_to(size, LARGE);
        (void)munmap(p, whole);
        discharge(h, whole);
        return;
    }
#endif
    (void)size;
    zllm_heap_free(h, p);
}

void zllm_memory_trim(void) {
#if defined(__GLIBC__)
    (void)malloc_trim(0);
#endif
}
