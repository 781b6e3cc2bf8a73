/* What a family's model files have: fields of the config and of each layer, and tensors. One table of each is all that says
 * so: reading (source.h), the Python package and the tables of docs/model-format.md come from it (zllm_schema). */
#ifndef ZLLM_SCHEMA_H
#define ZLLM_SCHEMA_H

#include "zllm.h"

#define NEEDED INT32_MIN /* in the place of what a field is if the file does not say */

typedef struct {
    const char *name;
    int32_t fallback;
    int32_t low, high; /* of a layer's field */
    const char *meaning;
} schema_field_t;

typedef struct {
    const char *name; /* "layers.N.": of each layer, which come behind the others */
    zllm_type type;
    const char *rows, *columns, *when;
    const char *exponent; /* its name in the description's exponents; NULL if it has none */
    int32_t low, high, fallback; /* of the exponent */
    const char *meaning;
} schema_tensor_t;

/* Whether a tensor has to be there. */
enum { never = 0, always = 1, optional = 2 };

enum { no_columns = 0 }; /* in the place of a tensor's columns: it has one dimension */

/* For the config's struct: struct { FAMILY_CONFIG(SCHEMA_FIELD) }. */
#define SCHEMA_FIELD(name, fallback, meaning) uint32_t name;

typedef struct {
    const schema_field_t *config; /* the config as the family sees it is a struct of as many uint32_t, in this order */
    uint32_t config_fields;
    const schema_field_t *layer;
    uint32_t layer_fields;
    const schema_tensor_t *tensors;
    uint32_t n_tensors;
    /* Rows and columns of a tensor in a model of a config that the family has checked, and whether it has to be there. */
    int (*shape)(const void *config, uint32_t tensor, uint64_t shape[2]);
} schema_t;

/* Rows of the tables. FAMILY_CONFIG(F): F(name, fallback, meaning). FAMILY_LAYER(F): F(name, low, high, fallback, meaning).
 * FAMILY_TENSORS(T): T(id, name, type, rows, columns, when, exponent, low, high, fallback, meaning); rows, columns and `when`
 * are expressions of the config's fields. Three tensors of a matrix, in this order: */
#define MATRIX_TENSORS(T, id, name, rows, columns, meaning)                                                            \
    T(id##_Q, name ".q", I8, rows, columns, always, name, -64, 64, NEEDED, meaning)                                    \
    T(id##_SCALE, name ".scale", I16, rows, no_columns, always, NULL, 0, 0, 0, "scales of the rows, at least 1")       \
    T(id##_BIAS, name ".bias", I32, rows, no_columns, optional, NULL, 0, 0, 0, "added to the result, below 2^30 in size")

/* The same of a matrix that is there on a condition. */
#define MATRIX_TENSORS_IF(T, id, name, rows, columns, when, meaning)                                                   \
    T(id##_Q, name ".q", I8, rows, columns, when, name, -64, 64, NEEDED, meaning)                                      \
    T(id##_SCALE, name ".scale", I16, rows, no_columns, when, NULL, 0, 0, 0, "scales of the rows, at least 1")         \
    T(id##_BIAS, name ".bias", I32, rows, no_columns, (when) ? optional : never, NULL, 0, 0, 0,                        \
      "added to the result, below 2^30 in size")

/* The i-th row of all tables: config, layers, tensors; 0 past the last. */
int zllm_schema_entry(const schema_t *s, size_t i, zllm_schema_row *out);

#endif
