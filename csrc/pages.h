/* Aligned memory; from 2 MiB on in large pages, where the system has them: models and caches are read again and again,
 * and large pages take fewer translations of addresses. */
#ifndef ZLLM_PAGES_H
#define ZLLM_PAGES_H

#include <stddef.h>

/* Aligned to 64 bytes at least; for free(). NULL when out of memory. */
void *pages_new(size_t size);

#endif
