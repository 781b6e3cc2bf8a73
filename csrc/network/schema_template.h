/* A family's schema, from its FAMILY_CONFIG, FAMILY_LAYER and FAMILY_TENSORS (schema.h): included once, by the file that
 * checks the family's models. FAMILY_CONFIG_T is the config's struct. It defines the numbers of tensors (T_...) and of layer
 * fields (L_...), and the schema, as FAMILY_SCHEMA. */
#include "network/schema.h"
#include "network/source.h"

#define T(id, ...) T_##id,
enum { FAMILY_TENSORS(T) T_COUNT };
#undef T

#define F(name, ...) L_##name,
enum { FAMILY_LAYER(F) L_COUNT };
#undef F

#define F(name, fallback, meaning) {#name, fallback, 0, 0, meaning},
static const schema_field_t schema_config[] = {FAMILY_CONFIG(F)};
#undef F

#define F(name, low, high, fallback, meaning) {#name, fallback, low, high, meaning},
static const schema_field_t schema_layer[] = {FAMILY_LAYER(F) {NULL, 0, 0, 0, NULL}};
#undef F

#define T(id, name, type, rows, columns, when, exponent, low, high, fallback, meaning) \
    {name, ZLLM_##type, #rows, #columns, #when, exponent, low, high, fallback, meaning},
static const schema_tensor_t schema_tensors[] = {FAMILY_TENSORS(T)};
#undef T

static int schema_shape(const void *of, uint32_t tensor, uint64_t shape[2]) {
    const FAMILY_CONFIG_T *config = of;
#define F(name, ...) const uint64_t name = config->name;
    FAMILY_CONFIG(F)
#undef F
#define F(name, ...) (void)name;
    FAMILY_CONFIG(F)
#undef F
    switch (tensor) {
#define T(id, name, type, rows, columns, when, ...) \
    case T_##id:                                    \
        shape[0] = rows;                            \
        shape[1] = columns;                         \
        return when;
        FAMILY_TENSORS(T)
#undef T
    default: return never;
    }
}

const schema_t FAMILY_SCHEMA = {
    .config = schema_config,
    .config_fields = sizeof schema_config / sizeof *schema_config,
    .layer = schema_layer,
    .layer_fields = L_COUNT,
    .tensors = schema_tensors,
    .n_tensors = T_COUNT,
    .shape = schema_shape,
};
