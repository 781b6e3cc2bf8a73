/* Memory that is read again and again: in large pages where the system has them, for with small ones a model of 16 MB
 * spends a third of its time on address translation. */
#ifndef ZLLM_PAGES_H
#define ZLLM_PAGES_H

#include <stddef.h>

/* Aligned to 64 bytes at least; for free(). NULL when out of memory. */
void *pages_new(size_t size);

#endif
