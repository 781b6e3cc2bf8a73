/* The exact transformer (docs/arithmetic.md, sections 3 and 4): checked, and packed for one kernel. */
#ifndef ZLLM_TRANSFORMER_H
#define ZLLM_TRANSFORMER_H

#include "network/matrix.h"
#include "network/transformer/lookup.h"
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
    uint32_t window; /* of the config, or less */
    int16_t by[3];   /* scales of the residual, of the embedding and of the pair's row before the layer */
    int blends;      /* whether they change anything */
    table_t values;  /* [inputs][kv_heads * head_dim]; q is NULL if there is none */
} layer_t;

/* The second level of a head: its rows are packed class by class, each class padded by itself. */
typedef struct {
    uint32_t *first; /* [classes + 1]: each class's first token, and the vocabulary */
    uint32_t *place; /* [classes]: the packed row that a class starts at */
    matrix_t map;    /* of the classes themselves */
} classes_t;

typedef struct {
    network_t base;
    transformer_config_t config;
    int wide;      /* whether any matrix of a layer is */
    int blends;    /* whether any layer does */
    table_t embed; /* [inputs][dim] */
    table_t pairs; /* [PAIR_PARTS << pair_bits][dim / PAIR_PARTS]; q is NULL if there is none */
    int32_t *positions; /* [config.positions][dim] */
    uint32_t *rope_step;
    matrix_t head;
    classes_t classes; /* with config.classes */
    layer_t *layers;
    arena_t arena; /* all of the above but layers */
} transformer_t;

/* The rows of the head for the tokens of a class, as a matrix. */
matrix_t zllm_class_rows(const transformer_t *t, uint32_t class_);

/* As in network_family. */
extern const schema_t zllm_transformer_schema;
zllm_result zllm_transformer_check_config(const void *config);
zllm_result zllm_transformer_check(const source_t *source);
network_t *zllm_transformer_pack(const source_t *source, const zllm_kernel *kernel, heap_t *heap);
void zllm_transformer_release(network_t *network);

#endif
