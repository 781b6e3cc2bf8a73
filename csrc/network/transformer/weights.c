/* Checking and packing a transformer. Everything that its computing relies on is checked here, once. */
#include <stdlib.h>

#include "network/transformer/transformer.h"
#include "pages.h"

static zllm_result check_config(const zllm_config *c) {
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
    zllm_result rc = matrix_check(&l->qkv, (c->heads + 2 * c->kv_heads) * c->head_dim, c->dim);
    if (rc == ZLLM_OK) rc = matrix_check(&l->o, c->dim, c->heads * c->head_dim);
    if (rc == ZLLM_OK) rc = matrix_check(&l->gate_up, (c->mlp ? 1 : 2) * c->ffn, c->dim);
    if (rc == ZLLM_OK) rc = matrix_check(&l->down, c->dim, c->ffn);
    if (rc == ZLLM_OK) rc = check_gain(&l->q_gain, c);
    if (rc == ZLLM_OK) rc = check_gain(&l->k_gain, c);
    if (rc != ZLLM_OK) return rc;
    CHECK(l->temperature >= 32768u && l->temperature <= 65535u, "a temperature is out of range");
    CHECK(l->temperature_exponent >= -32 && l->temperature_exponent <= 64, "a temperature exponent is out of range");
    CHECK(l->v_shift <= 40 && l->up_frac <= 12 && l->k_frac <= 30, "a layer's shift is out of range");
    CHECK(l->wide <= 15, "a layer's wide inputs are out of range");
    return ZLLM_OK;
}

zllm_result transformer_check(const zllm_model_data *d) {
    zllm_result rc = check_config(&d->config);
    if (rc == ZLLM_OK) rc = matrix_check(&d->head, d->config.vocab, d->config.dim);
    if (rc == ZLLM_OK) rc = check_embedding(d);
    if (rc != ZLLM_OK) return rc;
    CHECK(d->rope_step != NULL && d->layers != NULL, "a tensor is missing");
    for (uint32_t l = 0; l < d->config.layers && rc == ZLLM_OK; l++) rc = check_layer(&d->layers[l], &d->config);
    return rc;
}

static void pack_gain(transformer_t *t, const zllm_gain *g, gain_t *out) {
    out->exponent = g->exponent;
    out->value = g->gain == NULL ? NULL : arena_copy(&t->arena, g->gain, t->config.head_dim * sizeof *g->gain);
}

static void pack_layer(transformer_t *t, const zllm_layer *from, layer_t *to) {
    const zllm_kernel *k = t->base.kernel;
    to->temperature = from->temperature;
    to->temperature_exponent = from->temperature_exponent;
    to->v_shift = from->v_shift;
    to->up_frac = from->up_frac;
    to->k_frac = from->k_frac;
    t->wide |= from->wide != 0;
    matrix_pack(&t->arena, k, &from->qkv, from->wide & 1, &to->qkv);
    matrix_pack(&t->arena, k, &from->o, from->wide >> 1 & 1, &to->o);
    matrix_pack(&t->arena, k, &from->gate_up, from->wide >> 2 & 1, &to->gate_up);
    matrix_pack(&t->arena, k, &from->down, from->wide >> 3 & 1, &to->down);
    pack_gain(t, &from->q_gain, &to->q_gain);
    pack_gain(t, &from->k_gain, &to->k_gain);
}

static void lay_out(transformer_t *t, const zllm_model_data *d) {
    const zllm_config *c = &t->config;
    arena_t *a = &t->arena;
    const size_t inputs = t->base.inputs;
    a->used = 0;
    t->embed = arena_copy(a, c->embed_rows ? d->embed : d->head.q, inputs * c->dim);
    t->embed_scale = arena_copy(a, d->embed_scale, inputs * sizeof *d->embed_scale);
    t->embed_exponent = d->embed_exponent;
    t->positions = c->positions ? arena_copy(a, d->positions, (size_t)c->positions * c->dim * sizeof *d->positions) : NULL;
    t->rope_step = arena_copy(a, d->rope_step, c->head_dim / 2 * sizeof *d->rope_step);
    matrix_pack(a, t->base.kernel, &d->head, c->wide_head, &t->head);
    for (uint32_t l = 0; l < c->layers; l++) pack_layer(t, &d->layers[l], &t->layers[l]);
}

network_t *transformer_pack(const zllm_model_data *d, const zllm_kernel *kernel) {
    transformer_t *t = calloc(1, sizeof *t);
    if (t == NULL) return NULL;
    t->config = d->config;
    t->base = (network_t){.kernel = kernel, .vocab = d->config.vocab,
                          .inputs = d->config.embed_rows ? d->config.embed_rows : d->config.vocab};
    t->layers = calloc(t->config.layers, sizeof *t->layers);
    if (t->layers != NULL) lay_out(t, d);
    t->base.memory = t->arena.used;
    t->arena.base = t->layers != NULL ? pages_new(t->base.memory) : NULL;
    if (t->arena.base == NULL) {
        transformer_release(&t->base);
        return NULL;
    }
    lay_out(t, d);
    return &t->base;
}

void transformer_release(network_t *network) {
    transformer_t *t = (transformer_t *)network;
    pages_free(t->arena.base, t->base.memory);
    free(t->layers);
    free(t);
}
