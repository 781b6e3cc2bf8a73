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
    CHECK(c->qk <= 2, "qk must be 0, 1 or 2");
    CHECK(c->mlp <= 1 && c->parallel <= 1 && c->wide_head <= 1, "mlp, parallel and wide_head must be 0 or 1");
    CHECK(c->positions == 0 || (c->positions >= c->window && c->positions <= 1u << 16 && c->positions % 32 == 0),
          "positions must be 0, or from window to 65536, by 32");
    CHECK(c->embed_rows == 0 || c->embed_rows == c->vocab || c->embed_rows == c->vocab + 1,
          "embed_rows must be 0, vocab or vocab + 1");
    return ZLLM_OK;
}

static zllm_result check_weights(const zllm_weights *w, uint32_t rows, uint32_t cols) {
    CHECK(w->q != NULL && w->scale != NULL, "a weight tensor is missing");
    CHECK(w->rows == rows && w->cols == cols, "a weight tensor does not have the shape that the config says");
    CHECK(w->exponent >= -64 && w->exponent <= 64, "a weight exponent is out of range");
    for (size_t i = 0; i < (size_t)rows * cols; i++) CHECK(w->q[i] != -128, "a weight is -128");
    for (uint32_t j = 0; j < rows; j++) CHECK(w->scale[j] >= 1, "a weight scale is not positive");
    /* What it is added to is at most 2^30 in size: the sum stays in 32 bits, and is clamped then. */
    for (uint32_t j = 0; w->bias != NULL && j < rows; j++)
        CHECK(w->bias[j] > -(1 << 30) && w->bias[j] < 1 << 30, "a bias is 2^30 or more in size");
    return ZLLM_OK;
}

/* A head has 14 bits and a sign when it meets a gain, so that products stay within 2^29. */
static zllm_result check_gain(const zllm_gain *g, const zllm_config *c) {
    CHECK((g->gain != NULL) == (c->qk == 2), "gains of heads are missing, or there without qk = 2");
    if (g->gain == NULL) return ZLLM_OK;
    CHECK(g->exponent >= 0 && g->exponent <= 15, "the exponent of a gain is out of range");
    for (uint32_t i = 0; i < c->head_dim; i++) CHECK(g->gain[i] != INT16_MIN, "a gain is -32768");
    return ZLLM_OK;
}

/* A row of the embedding is below 2^22 * 2^-1 in size, a position at most 2^28: their sum fits. */
static zllm_result check_embedding(const zllm_model_data *d) {
    const zllm_config *c = &d->config;
    const uint32_t rows = c->embed_rows ? c->embed_rows : c->vocab;
    CHECK(d->embed_scale != NULL, "a tensor is missing");
    CHECK((d->embed != NULL) == (c->embed_rows > 0), "embed.q is missing, or there without embed_rows");
    CHECK((d->positions != NULL) == (c->positions > 0), "the positions are missing, or there without their number");
    CHECK(d->embed_exponent >= 13 && d->embed_exponent <= 40, "the embedding's exponent is out of range");
    for (uint32_t i = 0; i < rows; i++) CHECK(d->embed_scale[i] >= 1, "an embedding scale is not positive");
    for (size_t i = 0; i < (size_t)c->embed_rows * c->dim; i++) CHECK(d->embed[i] != -128, "a weight is -128");
    for (size_t i = 0; i < (size_t)c->positions * c->dim; i++)
        CHECK(d->positions[i] >= -(1 << 28) && d->positions[i] <= 1 << 28, "a position is above 2^28 in size");
    return ZLLM_OK;
}

static zllm_result check_layer(const zllm_layer *l, const zllm_config *c) {
    zllm_result rc = check_weights(&l->qkv, (c->heads + 2 * c->kv_heads) * c->head_dim, c->dim);
    if (rc == ZLLM_OK) rc = check_weights(&l->o, c->dim, c->heads * c->head_dim);
    if (rc == ZLLM_OK) rc = check_weights(&l->gate_up, (c->mlp ? 1 : 2) * c->ffn, c->dim);
    if (rc == ZLLM_OK) rc = check_weights(&l->down, c->dim, c->ffn);
    if (rc == ZLLM_OK) rc = check_gain(&l->q_gain, c);
    if (rc == ZLLM_OK) rc = check_gain(&l->k_gain, c);
    if (rc != ZLLM_OK) return rc;
    CHECK(l->temperature >= 32768u && l->temperature <= 65535u, "a temperature is out of range");
    CHECK(l->temperature_exponent >= -32 && l->temperature_exponent <= 64, "a temperature exponent is out of range");
    CHECK(l->v_shift <= 40 && l->up_frac <= 12 && l->k_frac <= 30, "a layer's shift is out of range");
    CHECK(l->wide <= 15, "a layer's wide inputs are out of range");
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
    if (rc == ZLLM_OK) rc = check_embedding(d);
    if (rc != ZLLM_OK) return rc;
    CHECK(d->rope_step != NULL && d->layers != NULL, "a tensor is missing");
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

static void pack(zllm_model *m, const zllm_weights *w, uint32_t wide, matrix_t *out) {
    out->rows = w->rows;
    out->cols = w->cols;
    out->exponent = w->exponent;
    out->wide = wide;
    out->scale = copy(m, w->scale, w->rows * sizeof *w->scale);
    out->bias = w->bias == NULL ? NULL : copy(m, w->bias, w->rows * sizeof *w->bias);
    out->packed = take(m, m->kernel->packed_size(w->rows, w->cols));
    if (out->packed != NULL) m->kernel->pack(w->q, w->rows, w->cols, out->packed);
}

static void pack_gain(zllm_model *m, const zllm_gain *g, gain_t *out) {
    out->exponent = g->exponent;
    out->value = g->gain == NULL ? NULL : copy(m, g->gain, m->config.head_dim * sizeof *g->gain);
}

static void pack_layer(zllm_model *m, const zllm_layer *from, layer_t *to) {
    to->temperature = from->temperature;
    to->temperature_exponent = from->temperature_exponent;
    to->v_shift = from->v_shift;
    to->up_frac = from->up_frac;
    to->k_frac = from->k_frac;
    m->wide |= from->wide != 0;
    pack(m, &from->qkv, from->wide & 1, &to->qkv);
    pack(m, &from->o, from->wide >> 1 & 1, &to->o);
    pack(m, &from->gate_up, from->wide >> 2 & 1, &to->gate_up);
    pack(m, &from->down, from->wide >> 3 & 1, &to->down);
    pack_gain(m, &from->q_gain, &to->q_gain);
    pack_gain(m, &from->k_gain, &to->k_gain);
}

static void lay_out(zllm_model *m, const zllm_model_data *d) {
    const zllm_config *c = &m->config;
    m->memory = 0;
    m->inputs = c->embed_rows ? c->embed_rows : c->vocab;
    m->embed = copy(m, c->embed_rows ? d->embed : d->head.q, (size_t)m->inputs * c->dim);
    m->embed_scale = copy(m, d->embed_scale, m->inputs * sizeof *d->embed_scale);
    m->embed_exponent = d->embed_exponent;
    m->positions = c->positions ? copy(m, d->positions, (size_t)c->positions * c->dim * sizeof *d->positions) : NULL;
    m->rope_step = copy(m, d->rope_step, c->head_dim / 2 * sizeof *d->rope_step);
    m->token_bytes = copy(m, d->token_bytes, d->token_bytes_size);
    m->token_offsets = copy(m, d->token_offsets, (c->vocab + 1) * sizeof *d->token_offsets);
    m->decisions = take(m, (c->vocab - 1) * sizeof *m->decisions);
    pack(m, &d->head, c->wide_head, &m->head);
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
    pages_free(m->arena, m->memory);
    free(m);
}

const char *zllm_model_kernel(const zllm_model *m) { return m->kernel->name; }

size_t zllm_model_memory(const zllm_model *m) { return m->memory; }
