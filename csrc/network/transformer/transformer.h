/* The exact transformer (docs/arithmetic.md, sections 3 and 4): checked, and packed for one kernel. */
#ifndef ZLLM_TRANSFORMER_H
#define ZLLM_TRANSFORMER_H

#include "network/matrix.h"
#include "network/transformer/schema.h"

typedef struct {
    int16_t *value; /* [head_dim], or NULL */
    int32_t exponent;
} gain_t;

typedef struct {
    matrix_t qkv, o, gate_up, down;
    gain_t q_gain, k_gain;
    uint32_t temperature;
    int32_t temperature_exponent;
    uint32_t v_shift, up_frac, k_frac;
} layer_t;

typedef struct {
    network_t base;
    transformer_config_t config;
    int wide;      /* whether any matrix of a layer is */
    int8_t *embed; /* [inputs][dim] */
    int16_t *embed_scale;
    int32_t embed_exponent;
    int32_t *positions; /* [config.positions][dim] */
    uint32_t *rope_step;
    matrix_t head;
    layer_t *layers;
    arena_t arena; /* all of the above but layers */
} transformer_t;

/* As in network_family. */
extern const schema_t zllm_transformer_schema;
zllm_result zllm_transformer_check_config(const void *config);
zllm_result zllm_transformer_check(const source_t *source);
network_t *zllm_transformer_pack(const source_t *source, const zllm_kernel *kernel, heap_t *heap);
void zllm_transformer_release(network_t *network);

#endif
