/* The exact transformer (docs/arithmetic.md, sections 3 and 4): checked, and packed for one kernel. */
#ifndef ZLLM_TRANSFORMER_H
#define ZLLM_TRANSFORMER_H

#include "network/matrix.h"

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
    zllm_config config;
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
zllm_result transformer_check(const zllm_model_data *data);
network_t *transformer_pack(const zllm_model_data *data, const zllm_kernel *kernel);
void transformer_release(network_t *network);

#endif
