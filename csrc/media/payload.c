/* Work of the media codecs. */
#include "payload.h"

zllm_result zllm_work_start(work_t *w, heap_t *heap) {
    w->heap = heap;
    if (cancelled(w->cancel)) return ZLLM_E_CANCELLED;
    w->tables = zllm_heap_take(heap, sizeof *w->tables);
    if (w->tables == NULL) return ZLLM_E_MEMORY;
    zllm_media_tables(w->tables);
    return ZLLM_OK;
}

zllm_result zllm_work_bytes(work_t *w, uint64_t count) {
    zllm_result rc = ZLLM_OK;
    if (count == 0) return rc;
    if (w->bytes == NULL) w->bytes = zllm_bytes_new(w->heap, w->tables);
    if (w->bytes == NULL) return ZLLM_E_MEMORY;
    zllm_bytes_run(w->bytes);
    for (; count && rc == ZLLM_OK; count--, w->at++) {
        const uint8_t byte = zllm_bytes_code(w->bytes, &w->string, w->string.decoding ? 0 : *w->at);
        if (w->string.decoding) *w->at = byte;
        rc = work_done(w, 1);
    }
    return rc;
}

zllm_result zllm_work_end(work_t *w, zllm_result rc) {
    if (rc == ZLLM_OK && w->progress) *w->progress += w->untold;
    if (w->tables) zllm_bytes_free(w->heap, w->bytes);
    zllm_heap_free(w->heap, w->tables);
    return rc;
}
