#include "network/source.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_ROOM 64u /* bytes of a schema's name with a layer's number */
#define ABSENT "missing or out of range"

/* Of every family: the token table. */
enum { TOKEN_BYTES, TOKEN_OFFSETS, TOKENIZER, SHARED };

static const schema_tensor_t shared[SHARED] = {
    {"tokens.bytes", ZLLM_U8, "any", NULL, "always", NULL, 0, 0, 0,
     "the tokens' bytes, one after the other; tokens ascend by their bytes"},
    {"tokens.offsets", ZLLM_U32, "vocab + 1", NULL, "always", NULL, 0, 0, 0, "where each token starts in it"},
    {"tokenizer.json", ZLLM_U8, "any", NULL, "always", NULL, 0, 0, 0,
     "how the encoder makes tokens (below); a decoder ignores it"},
};

typedef struct {
    heap_t *heap;
    const description_t *d;
    const zllm_tensor **sorted;
    size_t n, used;          /* tensors of the file; those that the schema asked for */
    uint32_t exponents_used;
    source_t *out;
} reader_t;

/* As json.c sorts names. */
static int by_name(const void *left, const void *right) {
    const zllm_tensor *a = *(const zllm_tensor *const *)left, *b = *(const zllm_tensor *const *)right;
    if (a->name_size != b->name_size) return a->name_size < b->name_size ? -1 : 1;
    return memcmp(a->name, b->name, a->name_size);
}

static zllm_result sort_tensors(reader_t *r, const zllm_tensor *tensors) {
    r->sorted = zllm_heap_zeroed(r->heap, r->n + 1, sizeof *r->sorted);
    if (r->sorted == NULL) return ZLLM_E_MEMORY;
    for (size_t i = 0; i < r->n; i++) r->sorted[i] = &tensors[i];
    qsort(r->sorted, r->n, sizeof *r->sorted, by_name);
    for (size_t i = 1; i < r->n; i++)
        CHECK(by_name(&r->sorted[i - 1], &r->sorted[i]) != 0, "a tensor is there twice");
    return ZLLM_OK;
}

/* "layers.N.o.q" of layer 12: "layers.12.o.q". */
static void layer_name(const char *name, uint32_t layer, char out[NAME_ROOM]) {
    if (strncmp(name, "layers.N.", 9) == 0) (void)snprintf(out, NAME_ROOM, "layers.%u.%s", layer, name + 9);
    else (void)snprintf(out, NAME_ROOM, "%s", name);
}

static const zllm_tensor *find_tensor(const reader_t *r, const char *name) {
    const zllm_tensor wanted = {.name = name, .name_size = strlen(name)}, *key = &wanted;
    const zllm_tensor **found = bsearch(&key, r->sorted, r->n, sizeof key, by_name);
    return found == NULL ? NULL : *found;
}

/* A tensor of that type; columns 0: of one dimension; rows UINT64_MAX: of any length. */
static zllm_result take_tensor(reader_t *r, const char *name, zllm_type type, const uint64_t shape[2],
                               const zllm_tensor **out) {
    const zllm_tensor *t = *out = find_tensor(r, name);
    if (t == NULL) return ZLLM_OK;
    uint64_t elements = 1;
    const uint32_t dimensions = shape[1] == no_columns ? 1 : 2;
    int fits = t->type == type && t->dimensions == dimensions && t->data != NULL;
    for (uint32_t i = 0; fits && i < dimensions; i++) {
        fits = t->shape[i] <= ZLM_MAX_FILE && (shape[i] == UINT64_MAX || t->shape[i] == shape[i]);
        elements *= t->shape[i];
    }
    CHECK(fits && elements <= ZLM_MAX_FILE && t->size == elements * zllm_type_size(type),
          "tensor %s does not have the type and shape that the config says", name);
    r->used++;
    return ZLLM_OK;
}

/* An integer of an object, or what it is if it is not there. */
static zllm_result take_integer(const json_value_t *object, const char *name, int64_t low, int64_t high, int32_t fallback,
                                uint32_t *used, int64_t *out) {
    const json_value_t *v = zllm_json_member(object, name, strlen(name));
    *out = fallback;
    if (v == NULL && fallback != NEEDED) return ZLLM_OK;
    CHECK(v != NULL && v->kind == JSON_INTEGER && v->as.integer >= low && v->as.integer <= high, "%s is " ABSENT, name);
    *out = v->as.integer;
    ++*used;
    return ZLLM_OK;
}

/* The config's numbers, and nothing else but its family's name and what is for people. */
static zllm_result read_config(reader_t *r) {
    const schema_t *schema = r->out->schema;
    const json_value_t *config = r->d->config;
    uint32_t used = 0, layers = 0;
    r->out->config = zllm_heap_zeroed(r->heap, schema->config_fields, sizeof *r->out->config);
    if (r->out->config == NULL) return ZLLM_E_MEMORY;
    for (uint32_t i = 0; i < schema->config_fields; i++) {
        const schema_field_t *field = &schema->config[i];
        int64_t value;
        const zllm_result rc = take_integer(config, field->name, 0, UINT32_MAX, field->fallback, &used, &value);
        if (rc != ZLLM_OK) return rc;
        r->out->config[i] = (uint32_t)value;
        if (strcmp(field->name, "layers") == 0) layers = (uint32_t)value;
    }
    used += zllm_json_member(config, "family", 6) != NULL;
    const json_value_t *theta = zllm_json_member(config, "rope_theta", 10);
    CHECK(theta == NULL || theta->kind == JSON_NUMBER || theta->kind == JSON_INTEGER, "rope_theta is " ABSENT);
    used += theta != NULL;
    CHECK(used == config->size, "the config asks for something that this program does not know");
    CHECK(layers == r->d->layers->size, "the number of layers is not the one that the config says");
    r->out->layers = layers;
    const uint32_t vocab = r->out->config[0];
    CHECK(vocab >= 256 && vocab <= 1u << 18, "vocab must be 256 to 262144");
    return ZLLM_OK;
}

static zllm_result read_layers(reader_t *r) {
    const schema_t *schema = r->out->schema;
    r->out->fields = zllm_heap_zeroed(r->heap, (size_t)r->out->layers * schema->layer_fields + 1,
                                      sizeof *r->out->fields);
    if (r->out->fields == NULL) return ZLLM_E_MEMORY;
    for (uint32_t l = 0; l < r->out->layers; l++) {
        const json_value_t *layer = &r->d->layers->as.values[l];
        uint32_t used = 0;
        for (uint32_t i = 0; i < schema->layer_fields; i++) {
            const schema_field_t *field = &schema->layer[i];
            int64_t value;
            const zllm_result rc = take_integer(layer, field->name, field->low, field->high, field->fallback, &used, &value);
            if (rc != ZLLM_OK) return rc;
            r->out->fields[l * schema->layer_fields + i] = (int32_t)value;
        }
        CHECK(used == layer->size, "layer %u asks for something that this program does not know", l);
    }
    return ZLLM_OK;
}

/* A tensor of the schema, and its exponent. */
static zllm_result read_tensor(reader_t *r, uint32_t layer, uint32_t number) {
    source_t *s = r->out;
    const schema_tensor_t *row = &s->schema->tensors[number];
    const uint32_t index = source_index(s, layer, number);
    char name[NAME_ROOM];
    uint64_t shape[2];
    int64_t exponent;
    const int when = s->schema->shape(s->config, number, shape);
    layer_name(row->name, layer, name);
    zllm_result rc = take_tensor(r, name, row->type, shape, &s->tensors[index]);
    if (rc != ZLLM_OK) return rc;
    CHECK(when != always || s->tensors[index] != NULL, "tensor %s is missing", name);
    CHECK(when != never || s->tensors[index] == NULL, "tensor %s is there, but the config does not ask for it", name);
    if (row->exponent == NULL || s->tensors[index] == NULL) return ZLLM_OK;
    layer_name(row->exponent, layer, name);
    rc = take_integer(r->d->exponents, name, row->low, row->high, row->fallback, &r->exponents_used, &exponent);
    if (rc == ZLLM_E_MODEL) return zllm_refuse("the exponent of %s is " ABSENT, name);
    s->exponents[index] = (int32_t)exponent;
    return rc;
}

static zllm_result read_tokens(reader_t *r) {
    const zllm_tensor *found[SHARED];
    for (uint32_t i = 0; i < SHARED; i++) {
        const uint64_t shape[2] = {i == TOKEN_OFFSETS ? (uint64_t)r->out->config[0] + 1 : UINT64_MAX, no_columns};
        const zllm_result rc = take_tensor(r, shared[i].name, shared[i].type, shape, &found[i]);
        if (rc != ZLLM_OK) return rc;
        CHECK(found[i] != NULL, "tensor %s is missing", shared[i].name);
    }
    r->out->token_bytes = found[TOKEN_BYTES];
    r->out->token_offsets = found[TOKEN_OFFSETS];
    return ZLLM_OK;
}

static zllm_result read_tensors(reader_t *r) {
    source_t *s = r->out;
    const uint32_t n = s->schema->n_tensors;
    while (s->of_model < n && strncmp(s->schema->tensors[s->of_model].name, "layers.N.", 9) != 0) s->of_model++;
    const size_t count = s->of_model + (size_t)s->layers * (n - s->of_model);
    s->tensors = zllm_heap_zeroed(r->heap, count + 1, sizeof *s->tensors);
    s->exponents = zllm_heap_zeroed(r->heap, count + 1, sizeof *s->exponents);
    if (s->tensors == NULL || s->exponents == NULL) return ZLLM_E_MEMORY;
    zllm_result rc = read_tokens(r);
    for (uint32_t i = 0; rc == ZLLM_OK && i < s->of_model; i++) rc = read_tensor(r, 0, i);
    for (uint32_t l = 0; l < s->layers; l++)
        for (uint32_t i = s->of_model; rc == ZLLM_OK && i < n; i++) rc = read_tensor(r, l, i);
    if (rc != ZLLM_OK) return rc;
    CHECK(r->used == r->n, "there is a tensor that the config does not ask for");
    CHECK(r->exponents_used == r->d->exponents->size, "there is an exponent of something that is not there");
    return ZLLM_OK;
}

zllm_result zllm_source_read(heap_t *heap, const description_t *d, const zllm_tensor *tensors, size_t n,
                             const schema_t *schema, zllm_result (*check_config)(const void *config), source_t *out) {
    reader_t r = {.heap = heap, .d = d, .n = n, .out = out};
    *out = (source_t){.heap = heap, .schema = schema};
    CHECK(d->arithmetic == ZLLM_ARITHMETIC_VERSION, "it is for arithmetic version %lld, this program computes version %d",
          (long long)d->arithmetic, ZLLM_ARITHMETIC_VERSION);
    zllm_result rc = sort_tensors(&r, tensors);
    if (rc == ZLLM_OK) rc = read_config(&r);
    if (rc == ZLLM_OK) rc = check_config(out->config);
    if (rc == ZLLM_OK) rc = read_layers(&r);
    if (rc == ZLLM_OK) rc = read_tensors(&r);
    zllm_heap_free(heap, r.sorted);
    return rc;
}

void zllm_source_free(source_t *s) {
    zllm_heap_free(s->heap, s->config);
    zllm_heap_free(s->heap, s->fields);
    zllm_heap_free(s->heap, s->tensors);
    zllm_heap_free(s->heap, s->exponents);
}

static uint64_t elements_of(const zllm_tensor *t) { return t->size / zllm_type_size(t->type); }

zllm_result zllm_tensor_check(const zllm_tensor *t, int32_t low, int32_t high) {
    const size_t n = t == NULL ? 0 : (size_t)elements_of(t);
    int32_t least = INT32_MAX, most = INT32_MIN;
    for (size_t i = 0; i < n; i++) {
        const int32_t v = t->type == ZLLM_I8 ? tensor_i8(t)[i] : t->type == ZLLM_I16 ? tensor_i16(t, i) : tensor_i32(t, i);
        least = v < least ? v : least;
        most = v > most ? v : most;
    }
    CHECK(n == 0 || (least >= low && most <= high), "tensor %s has a number that is not from %d to %d",
          zllm_quoted(t->name, t->name_size).text, low, high);
    return ZLLM_OK;
}

void *zllm_tensor_copy(arena_t *arena, const zllm_tensor *t) {
    if (t == NULL) return NULL;
    const size_t size = (size_t)t->size, n = (size_t)elements_of(t);
    void *to = arena_take(arena, size);
    if (to == NULL) return NULL;
    if (size == n) memcpy(to, t->data, size);
    else if (size == 2 * n)
        for (size_t i = 0; i < n; i++) ((int16_t *)to)[i] = (int16_t)tensor_i16(t, i);
    else
        for (size_t i = 0; i < n; i++) ((uint32_t *)to)[i] = tensor_u32(t, i);
    return to;
}

static void fill(zllm_schema_row *out, const char *part, const schema_field_t *f) {
    *out = (zllm_schema_row){.part = part, .name = f->name, .meaning = f->meaning, .low = f->low, .high = f->high,
                             .needed = f->fallback == NEEDED, .fallback = f->fallback == NEEDED ? 0 : f->fallback};
}

static void fill_tensor(zllm_schema_row *out, const schema_tensor_t *t) {
    const int ranged = t->exponent != NULL, flat = t->columns == NULL || strcmp(t->columns, "no_columns") == 0;
    *out = (zllm_schema_row){.part = "tensors", .name = t->name, .meaning = t->meaning, .type = zllm_type_name(t->type),
                             .rows = t->rows, .columns = flat ? NULL : t->columns, .when = t->when,
                             .exponent = t->exponent, .low = t->low, .high = t->high,
                             .needed = ranged && t->fallback == NEEDED,
                             .fallback = ranged && t->fallback != NEEDED ? t->fallback : 0};
}

int zllm_schema_entry(const schema_t *s, size_t i, zllm_schema_row *out) {
    if (i < s->config_fields) return fill(out, "config", &s->config[i]), 1;
    i -= s->config_fields;
    if (i < s->layer_fields) return fill(out, "layers", &s->layer[i]), 1;
    i -= s->layer_fields;
    if (i < SHARED) return fill_tensor(out, &shared[i]), 1;
    i -= SHARED;
    if (i < s->n_tensors) return fill_tensor(out, &s->tensors[i]), 1;
    return 0;
}
