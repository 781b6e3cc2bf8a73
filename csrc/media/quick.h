/* Residuals as in residual.h, for speed: a decision has one counter, and the lowest bits are as they are.
 */
#ifndef ZLLM_MEDIA_QUICK_H
#define ZLLM_MEDIA_QUICK_H

#include "decide.h"

#define QUICK_CONTEXTS 64u

typedef struct quick quick_t;

quick_t *zllm_quick_new(heap_t *heap, const tables_t *tables);
void zllm_quick_free(heap_t *heap, quick_t *q);
size_t zllm_quick_memory(void);
/* k: 0 to 30; context: below QUICK_CONTEXTS. The value is returned when decoding. */
int32_t zllm_quick_code(quick_t *q, string_t *s, uint32_t k, uint32_t context, int32_t value);

#endif
