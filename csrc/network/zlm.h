/* The container of a model file and its description (docs/model-format.md), without what is in the tensors. */
#ifndef ZLLM_ZLM_H
#define ZLLM_ZLM_H

#include "network/json.h"
#include "zllm.h"

#define ZLM_FORMAT 1
#define ZLM_MAX_HEADER ((uint64_t)4 << 20)
#define ZLM_MAX_FILE ((uint64_t)4 << 30)
#define ZLM_MAX_NAME 1000u /* characters of the description's name, and of its origin */
#define ZLM_MAX_LAYERS 256u

/* What a description says, of the kinds that it has to be. Free it in any case. */
typedef struct {
    json_t json;
    const json_value_t *config, *layers, *exponents; /* objects but `layers`, an array of them */
    int64_t arithmetic;
} description_t;
zllm_result zllm_description_parse(heap_t *heap, const char *text, size_t size, description_t *out);
void zllm_description_free(description_t *d);

/* As zllm_model_file_open, of a heap that stays the caller's. */
zllm_result zllm_zlm_open(heap_t *heap, const uint8_t *front, size_t size, zllm_model_file **out);

#endif
