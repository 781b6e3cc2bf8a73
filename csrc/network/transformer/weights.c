/* Checking and packing a transformer. Everything that its computing relies on is checked here, once. */

#include "network/transformer/transformer.h"
#define FAMILY_CONFIG TRANSFORMER_CONFIG
#define FAMILY_CONFIG_T transformer_config_t
#define FAMILY_LAYER TRANSFORMER_LAYER
#define FAMILY_TENSORS TRANSFORMER_TENSORS
#define FAMILY_SCHEMA zllm_transformer_schema
#include "network/schema_template.h"

#define UNCHANGED 8192 /* a scale of 1 */

zllm_result zllm_transformer_check_config(const void *config) {
    const transformer_config_t *c = config;
    CHECK(c->dim >= 32 && c->dim <= ZLLM_MAX_COLS && c->dim % 32 == 0, "dim must be a multiple of 32 up to 16384");
    CHECK(c->layers >= 1 && c->layers <= 256, "layers must be 1 to 256");
    CHECK(c->head_dim >= 32 && c->head_dim <= 256 && c->head_dim % 32 == 0, "head_dim must be 32 to 256, by 32");
    CHECK(c->heads >= 1 && c->heads <= 256 && c->kv_heads >= 1, "heads must be 1 to 256");
    CHECK(c->heads % c->kv_heads == 0, "heads must be a multiple of kv_heads");
    CHECK(c->heads * c->head_dim <= ZLLM_MAX_COLS, "heads * head_dim must be up to 16384");
    CHECK(c->ffn >= 32 && c->ffn <= ZLLM_MAX_COLS && c->ffn % 32 == 0, "ffn must be a multiple of 32 up to 16384");
    CHECK(c->window >= 32 && c->window <= MOST_WINDOW && c->window % 32 == 0, "window must be 32 to 4096, by 32");
    CHECK(c->qk <= 2, "qk must be 0, 1 or 2");
    CHECK(c->mlp <= 1 && c->parallel <= 1 && c->wide_head <= 1, "mlp, parallel and wide_head must be 0 or 1");
    CHECK(c->classes == 0 || (c->classes >= 2 && c->classes <= c->vocab && c->classes <= 1u << 16),
          "classes must be 0, or 2 to 65536 and no more than vocab");
    CHECK(c->pair_bits <= 20, "pair_bits must be up to 20");
    CHECK(c->nibbles <= 3, "nibbles must be 0 to 3");
    CHECK(c->positions == 0 || (c->positions >= c->window && c->positions <= 1u << 16 && c->positions % 32 == 0),
          "positions must be 0, or from window to 65536, by 32");
    CHECK(c->embed_rows == 0 || c->embed_rows == c->vocab || c->embed_rows == c->vocab + 1,
          "embed_rows must be 0, vocab or vocab + 1");
    return ZLLM_OK;
}

static const transformer_config_t *config_of(const source_t *s) {
    return (const transformer_config_t *)(const void *)s->config;
}

/* A head has 14 bits and a sign when it meets a gain, so that products stay within 2^29. */
static zllm_result check_layer(const source_t *s, uint32_t l) {
    zllm_result rc = zllm_matrix_check(s, l, T_QKV_Q);
    if (rc == ZLLM_OK) rc = zllm_matrix_check(s, l, T_O_Q);
    if (rc == ZLLM_OK) rc = zllm_matrix_check(s, l, T_GATE_UP_Q);
    if (rc == ZLLM_OK) rc = zllm_matrix_check(s, l, T_DOWN_Q);
    if (rc == ZLLM_OK) rc = zllm_tensor_check(source_tensor(s, l, T_Q_GAIN), -INT16_MAX, INT16_MAX);
    if (rc == ZLLM_OK) rc = zllm_tensor_check(source_tensor(s, l, T_K_GAIN), -INT16_MAX, INT16_MAX);
    if (rc == ZLLM_OK) rc = zllm_table_check(s, l, T_VALUES, config_of(s)->nibbles & 1);
    if (rc != ZLLM_OK) return rc;
    const uint32_t window = (uint32_t)source_field(s, l, L_window);
    CHECK(window == 0 || (window >= 32 && window <= config_of(s)->window && window % 32 == 0),
          "a layer's window must be 0, or 32 to the config's, by 32");
    CHECK((source_tensor(s, l, T_VALUES) == NULL) == (source_tensor(s, l, T_VALUES_SCALE) == NULL),
          "layer %u has rows or scales of values without the other", l);
    CHECK(config_of(s)->pair_bits > 0 || source_field(s, l, L_pair_scale) == 0,
          "layer %u adds pairs, of which there are none", l);
    return ZLLM_OK;
}

/* Each class has a token. */
static zllm_result check_classes(const source_t *s) {
    const zllm_tensor *first = source_tensor(s, 0, T_CLASSES);
    const transformer_config_t *c = config_of(s);
    for (uint32_t i = 0; i < c->classes; i++) {
        const uint32_t token = tensor_u32(first, i);
        CHECK(i == 0 ? token == 0 : token > tensor_u32(first, i - 1) && token < c->vocab,
              "classes must have first tokens that ascend from 0 and are below vocab");
    }
    return c->classes ? zllm_matrix_check(s, 0, T_CLASS_Q) : ZLLM_OK;
}

/* A row of the embedding is below 2^22 * 2^-1 in size, a position at most 2^28: their sum fits. */
zllm_result zllm_transformer_check(const source_t *s) {
    zllm_result rc = zllm_matrix_check(s, 0, T_HEAD_Q);
    if (rc == ZLLM_OK) rc = zllm_tensor_check(source_tensor(s, 0, T_EMBED_SCALE), 1, INT16_MAX);
    if (rc == ZLLM_OK) rc = zllm_tensor_check(source_tensor(s, 0, T_EMBED), -127, 127);
    if (rc == ZLLM_OK) rc = zllm_tensor_check(source_tensor(s, 0, T_POSITIONS), -(1 << 28), 1 << 28);
    if (rc == ZLLM_OK) rc = zllm_table_check(s, 0, T_PAIRS, (config_of(s)->nibbles & 2) != 0);
    if (rc == ZLLM_OK) rc = check_classes(s);
    for (uint32_t l = 0; l < s->layers && rc == ZLLM_OK; l++) rc = check_layer(s, l);
    return rc;
}

static void pack_gain(transformer_t *t, const source_t *s, uint32_t l, uint32_t tensor, gain_t *out) {
    out->exponent = source_exponent(s, l, tensor);
    out->value = zllm_tensor_copy(&t->arena, source_tensor(s, l, tensor));
}

static void pack_extras(transformer_t *t, const source_t *s, uint32_t l, layer_t *to) {
    const uint32_t window = (uint32_t)source_field(s, l, L_window);
    to->window = window ? window : t->config.window;
    to->by[0] = (int16_t)source_field(s, l, L_residual_scale);
    to->by[1] = (int16_t)source_field(s, l, L_embed_scale);
    to->by[2] = (int16_t)source_field(s, l, L_pair_scale);
    to->blends = to->by[0] != UNCHANGED || to->by[1] != 0 || to->by[2] != 0;
    t->blends |= to->blends;
    zllm_table_read(&t->arena, s, l, T_VALUES, t->config.nibbles & 1, &to->values);
}

static void pack_layer(transformer_t *t, const source_t *s, uint32_t l) {
    const zllm_kernel *k = t->base.kernel;
    const uint32_t wide = (uint32_t)source_field(s, l, L_wide);
    layer_t *to = &t->layers[l];
    to->temperature = (uint32_t)source_field(s, l, L_temperature);
    to->temperature_exponent = source_field(s, l, L_temperature_exponent);
    to->v_shift = (uint32_t)source_field(s, l, L_v_shift);
    to->up_frac = (uint32_t)source_field(s, l, L_up_frac);
    to->k_frac = (uint32_t)source_field(s, l, L_k_frac);
    t->wide |= wide != 0;
    zllm_matrix_pack(&t->arena, k, s, l, T_QKV_Q, wide & 1, &to->qkv);
    zllm_matrix_pack(&t->arena, k, s, l, T_O_Q, wide >> 1 & 1, &to->o);
    zllm_matrix_pack(&t->arena, k, s, l, T_GATE_UP_Q, wide >> 2 & 1, &to->gate_up);
    zllm_matrix_pack(&t->arena, k, s, l, T_DOWN_Q, wide >> 3 & 1, &to->down);
    pack_gain(t, s, l, T_Q_GAIN, &to->q_gain);
    pack_gain(t, s, l, T_K_GAIN, &to->k_gain);
    pack_extras(t, s, l, to);
}

/* Class after class, so that each is a packed matrix. */
static void pack_classes(transformer_t *t, const source_t *s) {
    const zllm_kernel *k = t->base.kernel;
    const zllm_tensor *first = source_tensor(s, 0, T_CLASSES);
    const uint32_t n = t->config.classes, cols = t->config.dim;
    classes_t *c = &t->classes;
    uint32_t rows = 0;
    c->first = arena_take(&t->arena, (n + 1) * sizeof *c->first);
    c->place = arena_take(&t->arena, n * sizeof *c->place);
    zllm_matrix_pack(&t->arena, k, s, 0, T_CLASS_Q, t->config.wide_head, &c->map);
    zllm_matrix_read(&t->arena, s, 0, T_HEAD_Q, t->config.wide_head, &t->head);
    t->base.largest_class = 0;
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t from = tensor_u32(first, i), end = i + 1 < n ? tensor_u32(first, i + 1) : t->config.vocab;
        if (c->first != NULL) c->first[i] = from, c->first[i + 1] = end, c->place[i] = rows;
        if (end - from > t->base.largest_class) t->base.largest_class = end - from;
        rows += padded_rows(end - from);
    }
    t->head.packed = arena_take(&t->arena, k->packed_size(rows, cols));
    for (uint32_t i = 0; t->head.packed != NULL && i < n; i++)
        k->pack(tensor_i8(source_tensor(s, 0, T_HEAD_Q)) + (size_t)c->first[i] * cols, c->first[i + 1] - c->first[i], cols,
                t->head.packed + k->packed_size(c->place[i], cols));
}

matrix_t zllm_class_rows(const transformer_t *t, uint32_t class_) {
    const uint32_t from = t->classes.first[class_];
    matrix_t part = t->head;
    part.packed += t->base.kernel->packed_size(t->classes.place[class_], part.cols);
    part.scale += from;
    if (part.bias != NULL) part.bias += from;
    part.rows = t->classes.first[class_ + 1] - from;
    return part;
}

static void lay_out(transformer_t *t, const source_t *s) {
    const transformer_config_t *c = &t->config;
    arena_t *a = &t->arena;
    a->used = 0;
    t->embed = (table_t){.q = zllm_tensor_copy(a, source_tensor(s, 0, c->embed_rows ? T_EMBED : T_HEAD_Q)),
                         .scale = zllm_tensor_copy(a, source_tensor(s, 0, T_EMBED_SCALE)), .cols = c->dim,
                         .shift = (uint32_t)(source_exponent(s, 0, T_EMBED_SCALE) - 12)};
    zllm_table_read(a, s, 0, T_PAIRS, (c->nibbles & 2) != 0, &t->pairs);
    t->positions = zllm_tensor_copy(a, source_tensor(s, 0, T_POSITIONS));
    t->rope_step = zllm_tensor_copy(a, source_tensor(s, 0, T_ROPE_STEP));
    if (c->classes) pack_classes(t, s);
    else zllm_matrix_pack(a, t->base.kernel, s, 0, T_HEAD_Q, c->wide_head, &t->head);
    for (uint32_t l = 0; l < c->layers; l++) pack_layer(t, s, l);
}

network_t *zllm_transformer_pack(const source_t *s, const zllm_kernel *kernel, heap_t *heap) {
    transformer_t *t = zllm_heap_zeroed(heap, 1, sizeof *t);
    if (t == NULL) return NULL;
    t->config = *(const transformer_config_t *)(const void *)s->config;
    t->base = (network_t){.kernel = kernel, .heap = heap,
                          .inputs = t->config.embed_rows ? t->config.embed_rows : t->config.vocab};
    t->layers = zllm_heap_zeroed(heap, t->config.layers, sizeof *t->layers);
    if (t->layers != NULL) lay_out(t, s);
    t->base.memory = t->arena.used;
    t->arena.base = t->layers != NULL ? zllm_heap_pages(heap, t->base.memory) : NULL;
    if (t->arena.base == NULL) {
        zllm_transformer_release(&t->base);
        return NULL;
    }
    lay_out(t, s);
    t->base.classes = t->config.classes;
    t->base.class_first = t->classes.first;
    return &t->base;
}

void zllm_transformer_release(network_t *network) {
    transformer_t *t = (transformer_t *)network;
    heap_t *heap = t->base.heap;
    zllm_heap_free_pages(heap, t->arena.base, t->base.memory);
    zllm_heap_free(heap, t->layers);
    zllm_heap_free(heap, t);
}
