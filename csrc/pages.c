#define _DEFAULT_SOURCE /* MAP_ANONYMOUS, madvise */
#include "pages.h"

#include <stdlib.h>

#include "zllm.h"

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

static size_t round_to(size_t size, size_t unit) { return (size + unit - 1) / unit * unit; }

void *aligned_new(size_t size) { return aligned_alloc(64, round_to(size, 64)); }

#ifdef MAPPED
/* A large page starts at a multiple of its size, so as much more is asked for, and what is around given back. */
static void *map(size_t size) {
    const size_t whole = round_to(size, LARGE);
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
#endif

void *pages_new(size_t size) {
#ifdef MAPPED
    if (size >= LARGE) return map(size);
#endif
    return aligned_new(size);
}

void pages_free(void *p, size_t size) {
#ifdef MAPPED
    if (p != NULL && size >= LARGE) {
        (void)munmap(p, round_to(size, LARGE));
        return;
    }
#endif
    (void)size;
    free(p);
}

void zllm_memory_trim(void) {
#if defined(__GLIBC__)
    (void)malloc_trim(0);
#endif
}
