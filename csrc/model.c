/* Models: which network computes them, and the byte trie of their vocabulary. */
#include "model.h"

#include <stdlib.h>
#include <string.h>

#include "pages.h"

#define MAX_TOKEN_BYTES 1024u /* bounds the trie's depth */

static _Thread_local const char *last_error = "";

const char *zllm_model_error(void) { return last_error; }

zllm_result refuse(const char *why) {
    last_error = why;
    return ZLLM_E_MODEL;
}

static zllm_result check_tokens(const zllm_model_data *d) {
    const uint32_t *o = d->token_offsets;
    uint8_t single[256] = {0};
    CHECK(d->config.vocab >= 256 && d->config.vocab <= 1u << 18, "vocab must be 256 to 262144");
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

static void lay_out(zllm_model *m, const zllm_model_data *d) {
    m->arena.used = 0;
    m->token_bytes = arena_copy(&m->arena, d->token_bytes, d->token_bytes_size);
    m->token_offsets = arena_copy(&m->arena, d->token_offsets, (m->vocab + 1) * sizeof *d->token_offsets);
    m->decisions = arena_take(&m->arena, (m->vocab - 1) * sizeof *m->decisions);
}

static int build(zllm_model *m, const zllm_model_data *d, const network_family_t *family) {
    lay_out(m, d);
    m->memory = m->arena.used;
    m->arena.base = pages_new(m->memory);
    if (m->arena.base == NULL) return 0;
    lay_out(m, d);
    m->deepest = trie_build(m->token_bytes, m->token_offsets, m->vocab, m->decisions);
    m->network = family->pack(d, m->kernel);
    if (m->network == NULL) return 0;
    m->network->family = family;
    return 1;
}

zllm_result zllm_model_new(const zllm_model_data *data, const char *kernel, zllm_model **out) {
    const network_family_t *family = network_families[0];
    const zllm_kernel *k;
    *out = NULL;
    zllm_result rc = zllm_kernel_find(kernel, &k);
    if (rc == ZLLM_OK) rc = kernel_trusted(k);
    if (rc == ZLLM_OK) rc = check_tokens(data);
    if (rc == ZLLM_OK) rc = family->check(data);
    if (rc != ZLLM_OK) return rc;
    zllm_model *m = calloc(1, sizeof *m);
    if (m == NULL) return ZLLM_E_MEMORY;
    m->vocab = data->config.vocab;
    m->kernel = k;
    if (!build(m, data, family)) {
        zllm_model_free(m);
        return ZLLM_E_MEMORY;
    }
    *out = m;
    return ZLLM_OK;
}

void zllm_model_free(zllm_model *m) {
    if (m == NULL) return;
    if (m->network != NULL) m->network->family->release(m->network);
    pages_free(m->arena.base, m->memory);
    free(m);
}

const char *zllm_model_kernel(const zllm_model *m) { return m->kernel->name; }

size_t zllm_model_memory(const zllm_model *m) { return m->memory + m->network->memory; }

size_t zllm_stream_memory(const zllm_model *m) { return m->network->family->lane_memory(m->network); }
