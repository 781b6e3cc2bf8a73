/* A text from a coded buffer. */
#include "archive/buffer.h"
#include "archive/models.h"
#include "archive/text.h"

typedef struct {
    uint8_t codec;
    size_t size, payload_size;
    const uint8_t *answer, *payload, *check;
    uint8_t arithmetic;
} buffer_t;

static zllm_result read_buffer(const void *coded, size_t coded_size, buffer_t *out) {
    bytes_t b = bytes_of(coded, coded_size);
    const uint8_t *mark = bytes_take(&b, 2);
    if (mark == NULL || mark[0] != BUFFER_MARK_0 || mark[1] != BUFFER_MARK_1) return ZLLM_E_FORMAT;
    *out = (buffer_t){.codec = bytes_u8(&b)};
    out->size = (size_t)bytes_varint(&b, ZLLM_MOST_TEXT);
    if (out->codec != CODEC_STORE && out->codec != CODEC_LLM && out->codec != CODEC_CM) return ZLLM_E_FORMAT;
    if (out->codec == CODEC_LLM) {
        out->arithmetic = bytes_u8(&b);
        out->answer = bytes_take(&b, ANSWER_SIZE);
    }
    if (b.bad || bytes_left(&b) < TEXT_CHECK_SIZE) return ZLLM_E_FORMAT;
    out->payload_size = bytes_left(&b) - TEXT_CHECK_SIZE;
    out->payload = bytes_take(&b, out->payload_size);
    out->check = bytes_take(&b, TEXT_CHECK_SIZE);
    return ZLLM_OK;
}

zllm_result zllm_text_size(const void *coded, size_t coded_size, size_t *size, int *needs_model) {
    buffer_t b;
    const zllm_result rc = read_buffer(coded, coded_size, &b);
    if (rc != ZLLM_OK) return rc;
    *size = b.size;
    *needs_model = b.codec == CODEC_LLM;
    return ZLLM_OK;
}

static zllm_result decode_llm(const zllm_model *model, const buffer_t *b, uint8_t *text, const zllm_options *options) {
    const zllm_run run = {.lanes = 32};
    heap_t *heap;
    problem_t p;
    text_frame_t frame;
    zllm_job *job = NULL;
    if (model == NULL) return ZLLM_E_MISSING;
    if (b->arithmetic != ZLLM_ARITHMETIC_VERSION) return ZLLM_E_VERSION;
    zllm_result rc = zllm_heap_open(options, &heap);
    if (rc != ZLLM_OK) return rc;
    rc = zllm_text_open(heap, b->payload, b->payload_size, text, b->size, NULL, 0, &frame, &p);
    if (rc == ZLLM_OK) rc = zllm_job_new(model, &frame.frame, zllm_model_start(model), 1, 1, options, &job);
    if (rc == ZLLM_OK) rc = zllm_job_work(&job, 1, 0, &run);
    if (rc == ZLLM_OK) zllm_text_finish(&frame);
    zllm_job_free(job);
    zllm_text_free(&frame);
    zllm_heap_close(heap);
    return rc == ZLLM_E_DATA || rc == ZLLM_E_ARGUMENT ? ZLLM_E_DAMAGED : rc;
}

/* Whether the buffer was made with this model: looked at only when something is wrong, for it takes time. */
static zllm_result another_model(const zllm_model *model, const buffer_t *b, const zllm_options *options) {
    uint8_t answer[SHA256_SIZE];
    const zllm_result rc = zllm_model_answer(model, answer, options);
    if (rc != ZLLM_OK) return rc;
    return memcmp(answer, b->answer, ANSWER_SIZE) == 0 ? ZLLM_E_DAMAGED : ZLLM_E_MISSING;
}

zllm_result zllm_decompress(const zllm_model *model, const void *coded, size_t coded_size, void *text, size_t *size,
                            const zllm_options *options) {
    const decoding_t decoding = {.options = options};
    buffer_t b;
    problem_t p;
    zllm_result rc = read_buffer(coded, coded_size, &b);
    if (rc != ZLLM_OK) return rc;
    if (*size < b.size) return ZLLM_E_SPACE;
    *size = b.size;
    if (b.codec == CODEC_STORE) {
        if (b.payload_size != b.size) return ZLLM_E_DAMAGED;
        if (b.size > 0) memcpy(text, b.payload, b.size);
    } else if (b.size == 0) return ZLLM_E_DAMAGED;
    else if (b.codec == CODEC_CM)
        rc = zllm_unpack_cm(&decoding, b.payload, b.payload_size, text, b.size, NULL, 0, 1, "the text", &p);
    else rc = decode_llm(model, &b, text, options);
    if (rc == ZLLM_OK && little32(b.check) != (uint32_t)zllm_xxh3(text, b.size, 0)) rc = ZLLM_E_DAMAGED;
    return rc == ZLLM_E_DAMAGED && b.codec == CODEC_LLM ? another_model(model, &b, options) : rc;
}
