/* Bytes around samples and pixels: headers, trailers, tables. Such a run of bytes is often like the run before it.
 */
#ifndef ZLLM_MEDIA_BYTES_H
#define ZLLM_MEDIA_BYTES_H

#include "decide.h"

typedef struct bytes bytes_t;

/* NULL when out of memory. */
bytes_t *zllm_bytes_new(heap_t *heap, const tables_t *tables);
void zllm_bytes_free(heap_t *heap, bytes_t *b);
size_t zllm_bytes_memory(void);
/* A run of bytes starts. */
void zllm_bytes_run(bytes_t *b);
/* The byte is returned when decoding. */
uint8_t zllm_bytes_code(bytes_t *b, string_t *s, uint8_t byte);

#endif
