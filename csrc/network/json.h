/* The subset of JSON that model files use (docs/model-format.md), read strictly: UTF-8, no name twice in an object, nothing
 * behind the value, bounded depth, length and number of values. Integers are the only numbers that anybody asks for. */
#ifndef ZLLM_JSON_H
#define ZLLM_JSON_H

#include "heap.h"

#define JSON_DEPTH 16u
#define JSON_VALUES (1u << 18)
#define JSON_NUMBER_BYTES 4300u /* as many digits as Python takes */

typedef enum {
    JSON_OTHER = 0, /* null, true, false */
    JSON_NUMBER,    /* one that is not an integer, or not of 64 bits */
    JSON_INTEGER,
    JSON_STRING,
    JSON_ARRAY,
    JSON_OBJECT
} json_kind_t;

typedef struct json_value {
    json_kind_t kind;
    uint32_t key_size, size; /* bytes of the string; values in the array or object */
    const char *key;         /* the name of an object's value; NULL in arrays. Strings end with a zero byte, and may have others */
    union {
        int64_t integer;
        const char *string;
        const struct json_value *values; /* an object's ascend by their names' bytes, shorter ones first */
    } as;
} json_value_t;

typedef struct {
    heap_t *heap;
    json_value_t root;
    json_value_t *values;
    char *strings;
} json_t;

typedef enum { JSON_OK, JSON_BAD, JSON_TOO_LARGE, JSON_NO_MEMORY } json_result_t;

/* size: up to 2^32 - 2. Free the result in any case. */
json_result_t zllm_json_parse(json_t *json, heap_t *heap, const char *text, size_t size);
void zllm_json_free(json_t *json);

/* An object's value by its name; NULL if there is none, or it is not of that kind. */
const json_value_t *zllm_json_member(const json_value_t *object, const char *name, size_t size);
const json_value_t *zllm_json_member_of_kind(const json_value_t *object, const char *name, json_kind_t kind);

#endif
