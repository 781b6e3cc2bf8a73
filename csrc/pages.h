/* Aligned memory. What is large comes in pages of its own, and in large ones where the system has them: models, caches and
 * tables are read again and again, and large pages take fewer translations of addresses. They go back to the system when
 * they are freed. (malloc keeps blocks of up to 32 MiB for each thread, after the first such block was freed: four threads
 * then held a hundred megabytes.) */
#ifndef ZLLM_PAGES_H
#define ZLLM_PAGES_H

#include <stddef.h>

/* Aligned to 64 bytes, for free(). NULL when out of memory. */
void *aligned_new(size_t size);

/* Aligned to 64 bytes at least. NULL when out of memory. */
void *pages_new(size_t size);
/* `size` is what pages_new was given. */
void pages_free(void *p, size_t size);

#endif
