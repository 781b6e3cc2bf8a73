/* Parts that are remembered or passed over. */
#include "archive/walk.h"

zllm_result zllm_walk_model(walk_t *w, const envelope_t *e, problem_t *p) {
    const uint64_t whole = envelope_whole(e);
    embedded_t one = {.envelope = *e, .place = w->input->position, .seed = w->seed};
    const size_t front = envelope_size(e), body = e->length < MODEL_FRONT ? (size_t)e->length : MODEL_FRONT;
    const uint8_t *data;
    size_t got;
    zllm_result rc = zllm_input_peek(w->input, front + body, &data, &got, p);
    if (rc != ZLLM_OK) return rc;
    if (got < front + body) return zllm_input_skip(w->input, whole, NULL, p);
    rc = zllm_model_part_read(data + front, body, e->length, w->decoder->limits, &one.said, p);
    if (rc == ZLLM_OK && w->input->input.sequential) {
        rc = zllm_input_peek(w->input, whole, &data, &got, p);
        if (rc != ZLLM_OK || got < whole) return rc == ZLLM_OK ? zllm_input_skip(w->input, whole, NULL, p) : rc;
        one.copy = zllm_heap_take(w->heap, got);
        if (one.copy == NULL) return NO_MEMORY(p);
        memcpy(one.copy, data, got);
    }
    if (rc == ZLLM_OK) rc = zllm_models_embedded(w->decoder->models, &one, p);
    if (rc != ZLLM_OK) zllm_heap_free(w->heap, one.copy);
    rc = zllm_walk_noted(w, rc, p);
    return rc == ZLLM_OK ? zllm_input_skip(w->input, whole, NULL, p) : rc;
}

zllm_result zllm_walk_pass(walk_t *w, const envelope_t *e, problem_t *p) {
    uint64_t left = envelope_whole(e);
    part_check_t check;
    if (w->other != NULL && e->kind != KIND_FRAME) {
        const zllm_result rc = w->other(w->context, w->input->position, e, p);
        if (rc != ZLLM_OK) return rc;
    }
    if (!w->verify || e->kind == KIND_FRAME) return zllm_input_skip(w->input, left, NULL, p);
    zllm_part_check_start(&check, w->seed);
    while (left > 0) {
        const uint8_t *data;
        size_t got;
        const uint64_t step = lesser(left > CHECK_SIZE ? left - CHECK_SIZE : left, (uint64_t)1 << 16);
        zllm_result rc = zllm_input_peek(w->input, step, &data, &got, p);
        if (rc != ZLLM_OK || got < step) return rc == ZLLM_OK ? zllm_input_skip(w->input, left, NULL, p) : rc;
        if (left > CHECK_SIZE) zllm_part_check_add(&check, data, got);
        else if (zllm_part_check_end(&check) != little32(data))
            zllm_walk_note(w, ZLLM_E_DAMAGED,
                           "a part that this program does not use is damaged: its checksum does not match");
        rc = zllm_input_skip(w->input, got, NULL, p);
        if (rc != ZLLM_OK) return rc;
        left -= got;
    }
    return ZLLM_OK;
}
