/* Where all memory comes from: an object of the public interface has a heap, made of the caller's zllm_options, and so has all
 * that belongs to it. A heap counts the bytes it has given out, and gives no more than the limit.
 *
 * Large pieces are mapped on their own, and asked to be made of large pages, where the system has both and the caller has no
 * allocator: tables are read at random places, and pages of 4 KiB would each need an entry in the processor's page table
 * cache. They go back to the system when they are freed. (malloc keeps blocks of up to 32 MiB for each thread, after the first
 * such block was freed: four threads kept more than 100 MB.) */
#ifndef ZLLM_HEAP_H
#define ZLLM_HEAP_H

#include "zllm.h"

typedef struct heap heap_t;

/* options: may be NULL. ZLLM_E_ARGUMENT if they make no sense; *out is NULL on failure. */
zllm_result zllm_heap_open(const zllm_options *options, heap_t **out);
/* Call it when everything allocated from the heap has been freed. Does nothing if the heap is NULL. */
void zllm_heap_close(heap_t *h);

/* Aligned to 64 bytes. NULL when out of memory, or at the limit. */
void *zllm_heap_take(heap_t *h, size_t size);
/* The same, for so many elements of zero bytes. NULL also if the product overflows. */
void *zllm_heap_zeroed(heap_t *h, size_t count, size_t size);
/* Free either; NULL is nothing. */
void zllm_heap_free(heap_t *h, void *p);

/* For large arrays: to be freed by the function below, with the same size. */
void *zllm_heap_pages(heap_t *h, size_t size);
void zllm_heap_free_pages(heap_t *h, void *p, size_t size);

#endif
