/* What a model is made of: the numbers and tensors that its family's schema asks for, found in a file, with the types, shapes
 * and ranges that the schema says. What the tensors hold is not checked yet. */
#ifndef ZLLM_SOURCE_H
#define ZLLM_SOURCE_H

#include "network/arena.h"
#include "network/refusal.h"
#include "network/schema.h"
#include "network/zlm.h"

typedef struct {
    heap_t *heap;
    const schema_t *schema;
    uint32_t *config; /* [config_fields], the vocabulary's size first */
    uint32_t layers;
    uint32_t of_model; /* tensors that are not a layer's */
    int32_t *fields;   /* [layers][layer_fields] */
    const zllm_tensor **tensors; /* the model's, then those of each layer; NULL for one that is not there */
    int32_t *exponents;          /* of each */
    const zllm_tensor *token_bytes, *token_offsets;
} source_t;

/* Free it in any case. The description and tensors must stay as long as it is used. */
zllm_result zllm_source_read(heap_t *heap, const description_t *d, const zllm_tensor *tensors, size_t n,
                             const schema_t *schema, zllm_result (*check_config)(const void *config), source_t *out);
void zllm_source_free(source_t *s);

static inline uint32_t source_index(const source_t *s, uint32_t layer, uint32_t tensor) {
    return tensor + (tensor < s->of_model ? 0 : layer * (s->schema->n_tensors - s->of_model));
}

/* A tensor by its number in the schema; `layer` counts for a layer's only. NULL if it is not there. */
static inline const zllm_tensor *source_tensor(const source_t *s, uint32_t layer, uint32_t tensor) {
    return s->tensors[source_index(s, layer, tensor)];
}
static inline int32_t source_exponent(const source_t *s, uint32_t layer, uint32_t tensor) {
    return s->exponents[source_index(s, layer, tensor)];
}
static inline int32_t source_field(const source_t *s, uint32_t layer, uint32_t field) {
    return s->fields[layer * s->schema->layer_fields + field];
}

/* Elements, which are little-endian and lie anywhere. */
static inline uint32_t tensor_u32(const zllm_tensor *t, size_t i) {
    const uint8_t *p = t->data + 4 * i;
    return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}
static inline int32_t tensor_i32(const zllm_tensor *t, size_t i) { return (int32_t)tensor_u32(t, i); }
static inline int32_t tensor_i16(const zllm_tensor *t, size_t i) {
    const uint8_t *p = t->data + 2 * i;
    return (int16_t)(uint16_t)(p[0] | p[1] << 8);
}
static inline const int8_t *tensor_i8(const zllm_tensor *t) { return (const int8_t *)t->data; }

/* Whether each number of a tensor is from low to high; all of a tensor that is not there (NULL) are. */
zllm_result zllm_tensor_check(const zllm_tensor *t, int32_t low, int32_t high);
/* Its numbers, in this machine's order; NULL without the arena's memory, or without the tensor. */
void *zllm_tensor_copy(arena_t *arena, const zllm_tensor *t);

#endif
