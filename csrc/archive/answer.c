/* What a model answers to a fixed text, on every machine: its known answer (docs/model-format.md). */
#include "archive/models.h"
#include "model.h"
#include "zllm_testing.h"

#define ANSWER_TEXT "zllm: known answer"
#define ANSWER_TOKENS (sizeof ANSWER_TEXT) /* its bytes, and the start token */

static uint32_t token_of_byte(const zllm_model *model, uint8_t byte) {
    for (uint32_t i = 0; i < model->vocab; i++)
        if (model->token_offsets[i + 1] - model->token_offsets[i] == 1 &&
            model->token_bytes[model->token_offsets[i]] == byte)
            return i;
    return 0; /* every byte is a token */
}

zllm_result zllm_model_answer(const zllm_model *model, uint8_t out[SHA256_SIZE], const zllm_options *options) {
    uint32_t tokens[ANSWER_TOKENS] = {zllm_model_start(model)};
    const size_t n = ((size_t)model->vocab + 1) * ANSWER_TOKENS;
    sha256_t hash;
    heap_t *heap;
    zllm_result rc = zllm_heap_open(options, &heap);
    if (rc != ZLLM_OK) return rc;
    uint64_t *sums = zllm_heap_take(heap, n * sizeof *sums);
    for (size_t i = 1; i < ANSWER_TOKENS; i++) tokens[i] = token_of_byte(model, (uint8_t)ANSWER_TEXT[i - 1]);
    rc = sums == NULL ? ZLLM_E_MEMORY : zllm_evaluate(model, tokens, ANSWER_TOKENS, 1, NULL, sums);
    zllm_sha256_start(&hash);
    for (size_t i = 0; i < n && rc == ZLLM_OK; i++) {
        uint8_t bytes[8];
        for (int k = 0; k < 8; k++) bytes[k] = (uint8_t)(sums[i] >> 8 * k);
        zllm_sha256_add(&hash, bytes, sizeof bytes);
    }
    zllm_sha256_end(&hash, out);
    zllm_heap_free(heap, sums);
    zllm_heap_close(heap);
    return rc;
}
