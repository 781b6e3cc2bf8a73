/* A text to a coded buffer. */
#include "archive/buffer.h"
#include "archive/models.h"
#include "model.h"

size_t zllm_bound(size_t size) { return size + BUFFER_FRONT + TEXT_CHECK_SIZE; }

#ifndef ZLLM_DECODE_ONLY

/* Tokens ascend by their bytes. Of those in [low, high), which have the same first `depth` bytes, the first one whose next
 * byte is at least `byte`; those that end here come first. */
static uint32_t first_from(const zllm_model *m, uint32_t low, uint32_t high, uint32_t depth, uint32_t byte) {
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2, at = m->token_offsets[middle] + depth;
        if (at >= m->token_offsets[middle + 1] || m->token_bytes[at] < byte) low = middle + 1;
        else high = middle;
    }
    return low;
}

/* The longest token that a text begins with. */
static uint32_t longest(const zllm_model *m, const uint8_t *text, size_t size, size_t *length) {
    uint32_t low = 0, high = m->vocab, best = 0;
    for (uint32_t depth = 0; depth < size && low < high; depth++) {
        low = first_from(m, low, high, depth, text[depth]);
        high = first_from(m, low, high, depth, text[depth] + 1u);
        if (low < high && m->token_offsets[low + 1] - m->token_offsets[low] == depth + 1) {
            best = low;
            *length = depth + 1;
        }
    }
    return best;
}

static size_t tokenise(const zllm_model *m, const uint8_t *text, size_t size, uint32_t *tokens) {
    size_t n = 0, length = 1;
    for (size_t at = 0; at < size; at += length) tokens[n++] = longest(m, text + at, size - at, &length);
    return n;
}

static zllm_result encode_tokens(const zllm_model *m, const uint32_t *tokens, size_t n, size_t size, uint8_t *out,
                                 size_t *out_size, const zllm_options *options) {
    const zllm_run run = {.lanes = 64};
    zllm_stream stream = {.tokens = tokens, .n_tokens = n, .size = size};
    zllm_frame frame = {.streams = &stream, .n_streams = 1, .size = size, .coded = out, .coded_size = *out_size};
    zllm_job *job;
    zllm_result rc = zllm_job_new(m, &frame, zllm_model_start(m), 1, 0, options, &job);
    if (rc == ZLLM_OK) rc = zllm_job_work(&job, 1, 0, &run);
    zllm_job_free(job);
    *out_size = frame.coded_size;
    return rc;
}

/* Zeros at the end of a code string change nothing: decoders refuse one that is too short for its text. */
static zllm_result lengthen(uint8_t *code, size_t *size, size_t room, size_t least) {
    if (least > room) return ZLLM_E_SPACE;
    for (; *size < least; ++*size) code[*size] = 0;
    return ZLLM_OK;
}

static size_t least_code(size_t size, uint64_t free_bytes, uint64_t ratio) {
    return size <= free_bytes ? 0 : (size_t)((size - free_bytes + ratio - 1) / ratio);
}

static zllm_result encode_llm(const zllm_model *m, const uint8_t *text, size_t size, uint8_t *out, size_t *out_size,
                              const zllm_options *options) {
    const size_t room = *out_size;
    heap_t *heap;
    if (room < 2) return ZLLM_E_SPACE;
    zllm_result rc = zllm_heap_open(options, &heap);
    if (rc != ZLLM_OK) return rc;
    uint32_t *tokens = zllm_heap_take(heap, size * sizeof *tokens);
    size_t coded = room - 2;
    out[0] = out[1] = 0; /* no repeats, one stream */
    rc = tokens == NULL ? ZLLM_E_MEMORY
                        : encode_tokens(m, tokens, tokenise(m, text, size, tokens), size, out + 2, &coded, options);
    if (rc == ZLLM_OK) rc = lengthen(out + 2, &coded, room - 2, least_code(size, FREE_MODEL_TEXT, MAX_MODEL_TEXT_RATIO));
    zllm_heap_free(heap, tokens);
    zllm_heap_close(heap);
    *out_size = 2 + coded;
    return rc;
}

static zllm_result encode_cm(const uint8_t *text, size_t size, uint8_t *out, size_t *out_size, const zllm_options *options) {
    const size_t room = *out_size;
    if (room < 1) return ZLLM_E_SPACE;
    size_t coded = room - 1;
    out[0] = ZLLM_ARITHMETIC_VERSION;
    zllm_result rc = zllm_cm_encode(text, size, NULL, 0, out + 1, &coded, NULL, NULL, NULL, options);
    if (rc == ZLLM_OK) rc = lengthen(out + 1, &coded, room - 1, least_code(size, FREE_MIXED_TEXT, MAX_MIXED_TEXT_RATIO));
    *out_size = 1 + coded;
    return rc;
}

static size_t put_front(uint8_t *out, uint8_t codec, size_t size, const uint8_t *answer) {
    size_t at = 3;
    out[0] = BUFFER_MARK_0;
    out[1] = BUFFER_MARK_1;
    out[2] = codec;
    at += varint_put(out + at, size);
    if (codec != CODEC_LLM) return at;
    out[at++] = ZLLM_ARITHMETIC_VERSION;
    memcpy(out + at, answer, ANSWER_SIZE);
    return at + ANSWER_SIZE;
}

zllm_result zllm_compress(const zllm_model *model, const void *text, size_t size, void *coded, size_t *coded_size,
                          const zllm_options *options) {
    uint8_t answer[SHA256_SIZE] = {0}, front[BUFFER_FRONT], *out = coded;
    const uint8_t codec = model != NULL ? CODEC_LLM : CODEC_CM;
    zllm_result rc = ZLLM_E_SPACE;
    size_t at, payload = size; /* what is longer than the text is stored */
    if (size > ZLLM_MOST_TEXT) return ZLLM_E_ARGUMENT;
    if (model != NULL && size > 0 && (rc = zllm_model_answer(model, answer, options)) != ZLLM_OK) return rc;
    at = put_front(front, codec, size, answer);
    rc = ZLLM_E_SPACE;
    if (size > 0 && *coded_size > at + TEXT_CHECK_SIZE) {
        const size_t room = *coded_size - at - TEXT_CHECK_SIZE;
        payload = room < size ? room : size;
        rc = model != NULL ? encode_llm(model, text, size, out + at, &payload, options)
                           : encode_cm(text, size, out + at, &payload, options);
    }
    if (rc == ZLLM_E_SPACE) {
        at = put_front(front, CODEC_STORE, size, answer);
        if (*coded_size < at + TEXT_CHECK_SIZE + size) return ZLLM_E_SPACE;
        if (size > 0) memcpy(out + at, text, size);
        payload = size;
    } else if (rc != ZLLM_OK) return rc;
    memcpy(out, front, at);
    const uint32_t check = (uint32_t)zllm_xxh3(text, size, 0);
    for (int i = 0; i < 4; i++) out[at + payload + (size_t)i] = (uint8_t)(check >> 8 * i);
    *coded_size = at + payload + TEXT_CHECK_SIZE;
    return ZLLM_OK;
}

#else

zllm_result zllm_compress(const zllm_model *model, const void *text, size_t size, void *coded, size_t *coded_size,
                          const zllm_options *options) {
    (void)model, (void)text, (void)size, (void)coded, (void)coded_size, (void)options;
    return ZLLM_E_VERSION;
}

#endif
