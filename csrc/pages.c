#define _DEFAULT_SOURCE /* madvise */
#include "pages.h"

#include <stdlib.h>

#if defined(__linux__)
#include <sys/mman.h>
#endif

#define LARGE ((size_t)2 << 20)

void *pages_new(size_t size) {
    const size_t unit = size < LARGE ? 64 : LARGE, whole = (size + unit - 1) / unit * unit;
    void *p = aligned_alloc(unit, whole);
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    if (p != NULL && unit == LARGE) (void)madvise(p, whole, MADV_HUGEPAGE); /* a wish: without it all is as before */
#endif
    return p;
}
