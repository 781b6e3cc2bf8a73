/* Checking and packing a model. Everything that the coding path relies on is checked here, once. */
#include "model.h"

#include <stdlib.h>
#include <string.h>

#include "fixed.h"
#include "pages.h"

#define MAX_TOKEN_BYTES 1024u /* bounds the trie's depth */

static _Thread_local const char *last_error = "";

const char *zllm_model_error(void) { return last_error; }

static zllm_result refuse(const char *why) {
    last_error = why;
    return ZLLM_E_MODEL;
}

#define CHECK(condition, why)                   \
    do {                                        \
        if (!(condition)) return refuse(why);   \
    } while (0)

static zllm_result check_config(const zllm_config *c) {
    CHECK(c->vocab >= 256 && c->vocab <= 1u << 18, "vocab must be 256 to 262144");
    CHECK(c->dim >= 32 && c->dim <= ZLLM_MAX_COLS && c->dim % 32 == 0, "dim must be a multiple of 32 up to 16384");
    CHECK(c->layers >= 1 && c->layers <= 256, "layers must be 1 to 256");
    CHECK(c->head_dim >= 32 && c->head_dim <= 256 && c->head_dim % 32 == 0, "head_dim must be 32 to 256, by 32");
    CHECK(c->heads >= 1 && c->heads <= 256 && c->kv_heads >= 1, "heads must be 1 to 256");
    CHECK(c->heads % c->kv_heads == 0, "heads must be a multiple of kv_heads");
    CHECK(c->heads * c->head_dim <= ZLLM_MAX_COLS, "heads * head_dim must be up to 16384");
    CHECK(c->ffn >= 32 && c->ffn <= ZLLM_MAX_COLS && c->ffn % 32 == 0, "ffn must be a multiple of 32 up to 16384");
    /* A sum of `window` products of a weight (2^15) and a value (127) stays below 2^31. */
    CHECK(c->window >= 32 && c->window <= 512 && c->window % 32 == 0, "window must be 32 to 512, by 32");
    return ZLLM_OK;
}

static zllm_result check_weights(const zllm_weights *w, uint32_t rows, uint32_t cols) {
    CHECK(w->q != NULL && w->scale != NULL, "a weight tensor is missing");
    CHECK(w->rows == rows && w->cols == cols, "a weight tensor does not have the shape that the config says");
    CHECK(w->exponent >= -64 && w->exponent <= 64, "a weight exponent is out of range");
    for (size_t i = 0; i < (size_t)rows * cols; i++) CHECK(w->q[i] != -128, "a weight is -128");
    for (uint32_t j = 0; j < rows; j++) CHECK(w->scale[j] >= 1, "a weight scale is not positive");
    return ZLLM_OK;
}

static zllm_result check_layer(const zllm_layer *l, const zllm_config *c) {
    zllm_result rc = check_weights(&l->qkv, (c->heads + 2 * c->kv_heads) * c->head_dim, c->dim);
    if (rc == ZLLM_OK) rc = check_weights(&l->o, c->dim, c->heads * c->head_dim);
    if (rc == ZLLM_OK) rc = check_weights(&l->gate_up, 2 * c->ffn, c->dim);
    if (rc == ZLLM_OK) rc = check_weights(&l->down, c->dim, c->ffn);
    if (rc != ZLLM_OK) return rc;
    CHECK(l->temperature >= 32768u && l->temperature <= 65535u, "a temperature is out of range");
    CHECK(l->temperature_exponent >= -32 && l->temperature_exponent <= 64, "a temperature exponent is out of range");
    CHECK(l->v_shift <= 40 && l->up_frac <= 12, "a layer's shift is out of range");
    return ZLLM_OK;
}

static zllm_result check_tokens(const zllm_model_data *d) {
    const uint32_t *o = d->token_offsets;
    uint8_t single[256] = {0};
    CHECK(d->token_bytes != NULL && o != NULL, "the token table is missing");
    CHECK(o[0] == 0 && o[d->config.vocab] == d->token_bytes_size, "the token table has the wrong size");
    for (uint32_t i = 0; i < d->config.vocab; i++) {
        CHECK(o[i + 1] > o[i] && o[i + 1] <= d->token_bytes_size, "a token is empty or out of bounds");
        const uint32_t length = o[i + 1] - o[i];
        CHECK(length <= MAX_TOKEN_BYTES, "a token is longer than 1024 bytes");
        if (length == 1) single[d->token_bytes[o[i]]] = 1;
        if (i == 0) continue;
        const uint32_t before = o[i] - o[i - 1], common = before < length ? before : length;
        const int order = memcmp(d->token_bytes + o[i - 1], d->token_bytes + o[i], common);
        CHECK(order < 0 || (order == 0 && before < length), "tokens are not sorted by their bytes");
    }
    for (int b = 0; b < 256; b++) CHECK(single[b], "not every single byte is a token");
    return ZLLM_OK;
}

static zllm_result check(const zllm_model_data *d) {
    zllm_result rc = check_config(&d->config);
    if (rc == ZLLM_OK) rc = check_tokens(d);
    if (rc == ZLLM_OK) rc = check_weights(&d->head, d->config.vocab, d->config.dim);
    if (rc != ZLLM_OK) return rc;
    CHECK(d->embed_scale != NULL && d->rope_step != NULL && d->layers != NULL, "a tensor is missing");
    for (uint32_t i = 0; i < d->config.vocab; i++) CHECK(d->embed_scale[i] >= 1, "an embedding scale is not positive");
    for (uint32_t l = 0; l < d->config.layers && rc == ZLLM_OK; l++) rc = check_layer(&d->layers[l], &d->config);
    return rc;
}

/* Sizes were checked: none of these products overflows. Everything lies in one piece of memory, each part 64-byte
 * aligned, for packed matrices are read by whole vectors; without that piece, only sizes are added up. */
static void *take(zllm_model *m, size_t size) {
    uint8_t *p = m->arena == NULL ? NULL : m->arena + m->memory;
    m->memory += (size + 63) / 64 * 64;
    return p;
}

static void *copy(zllm_model *m, const void *from, size_t size) {
    void *p = take(m, size);
    if (p != NULL) memcpy(p, from, size);
    return p;
}

static void pack(zllm_model *m, const zllm_weights *w, matrix_t *out) {
    out->rows = w->rows;
    out->cols = w->cols;
    out->exponent = w->exponent;
    out->scale = copy(m, w->scale, w->rows * sizeof *w->scale);
    out->packed = take(m, (size_t)round_up(w->rows, ZLLM_ROW_ALIGN) * w->cols);
    if (out->packed != NULL) m->kernel->pack(w->q, w->rows, w->cols, out->packed);
}

static void pack_layer(zllm_model *m, const zllm_layer *from, layer_t *to) {
    to->temperature = from->temperature;
    to->temperature_exponent = from->temperature_exponent;
    to->v_shift = from->v_shift;
    to->up_frac = from->up_frac;
    pack(m, &from->qkv, &to->qkv);
    pack(m, &from->o, &to->o);
    pack(m, &from->gate_up, &to->gate_up);
    pack(m, &from->down, &to->down);
}

static void lay_out(zllm_model *m, const zllm_model_data *d) {
    const zllm_config *c = &m->config;
    m->memory = 0;
    m->embed = copy(m, d->head.q, (size_t)c->vocab * c->dim);
    m->embed_scale = copy(m, d->embed_scale, c->vocab * sizeof *d->embed_scale);
    m->rope_step = copy(m, d->rope_step, c->head_dim / 2 * sizeof *d->rope_step);
    m->token_bytes = copy(m, d->token_bytes, d->token_bytes_size);
    m->token_offsets = copy(m, d->token_offsets, (c->vocab + 1) * sizeof *d->token_offsets);
    m->decisions = take(m, (c->vocab - 1) * sizeof *m->decisions);
    pack(m, &d->head, &m->head);
    for (uint32_t l = 0; l < c->layers; l++) pack_layer(m, &d->layers[l], &m->layers[l]);
}

static int build(zllm_model *m, const zllm_model_data *d) {
    m->layers = calloc(m->config.layers, sizeof *m->layers);
    if (m->layers == NULL) return 0;
    lay_out(m, d);
    m->arena = pages_new(m->memory);
    if (m->arena == NULL) return 0;
    lay_out(m, d);
    m->deepest = trie_build(m->token_bytes, m->token_offsets, m->config.vocab, m->decisions);
    return 1;
}

zllm_result zllm_model_new(const zllm_model_data *data, const char *kernel, zllm_model **out) {
    const zllm_kernel *k;
    *out = NULL;
    zllm_result rc = zllm_kernel_find(kernel, &k);
    if (rc == ZLLM_OK) rc = kernel_trusted(k);
    if (rc == ZLLM_OK) rc = check(data);
    if (rc != ZLLM_OK) return rc;
    zllm_model *m = calloc(1, sizeof *m);
    if (m == NULL) return ZLLM_E_MEMORY;
    m->config = data->config;
    m->kernel = k;
    if (!build(m, data)) {
        zllm_model_free(m);
        return ZLLM_E_MEMORY;
    }
    *out = m;
    return ZLLM_OK;
}

void zllm_model_free(zllm_model *m) {
    if (m == NULL) return;
    free(m->layers);
    free(m->arena);
    free(m);
}

const char *zllm_model_kernel(const zllm_model *m) { return m->kernel->name; }

size_t zllm_model_memory(const zllm_model *m) { return m->memory; }
