/* Text by the adaptive predictor alone (docs/arithmetic.md, section 9). */
#include "zllm.h"

#include "cancel.h"
#include "kernels.h"
#include "predictor/predictor.h"
#include "rangecoder.h"

#define POLL 4096u /* bytes between two looks at the cancel flag */

/* A text on its way: its predictor, and the next of the documents that start in it. */
typedef struct {
    heap_t *heap;
    predictor_t *p;
    cursor_t *c;
    const uint64_t *cuts;
    size_t n, n_cuts, cut;
    const volatile int32_t *cancel;
    volatile uint64_t *progress;
} text_t;

static zllm_result text_start(text_t *t, const char *kernel, const zllm_options *options) {
    const zllm_kernel *k;
    if (t->n >= UINT32_MAX) return ZLLM_E_ARGUMENT;
    for (size_t i = 0; i < t->n_cuts; i++)
        if (t->cuts[i] <= (i ? t->cuts[i - 1] : 0) || t->cuts[i] >= t->n) return ZLLM_E_ARGUMENT;
    if (cancelled(t->cancel)) return ZLLM_E_CANCELLED;
    zllm_result rc = zllm_kernel_find(kernel, &k);
    if (rc == ZLLM_OK) rc = zllm_operations_trusted(k->predictor);
    if (rc == ZLLM_OK) rc = zllm_heap_open(options, &t->heap);
    if (rc != ZLLM_OK) return rc;
    t->p = zllm_predictor_new(t->heap, k->predictor, t->n, 1, 0);
    if (!t->p) {
        zllm_heap_close(t->heap);
        return ZLLM_E_MEMORY;
    }
    zllm_cursor_start(t->p, 0, 0, t->n);
    t->c = zllm_predictor_cursor(t->p, 0);
    return ZLLM_OK;
}

/* Before byte `at`. */
static zllm_result text_go_on(text_t *t, size_t at) {
    if (t->cut < t->n_cuts && t->cuts[t->cut] == at) {
        zllm_cursor_cut(t->p, t->c);
        t->cut++;
    }
    if (at % POLL || at == 0) return ZLLM_OK;
    if (t->progress) *t->progress += POLL;
    return cancelled(t->cancel) ? ZLLM_E_CANCELLED : ZLLM_OK;
}

static void text_end(text_t *t, zllm_result rc) {
    if (rc == ZLLM_OK && t->progress && t->n) *t->progress += (t->n - 1) % POLL + 1;
    zllm_predictor_free(t->p);
    zllm_heap_close(t->heap);
}

zllm_result zllm_cm_encode(const uint8_t *text, size_t n, const uint64_t *cuts, size_t n_cuts, uint8_t *out,
                           size_t *out_size, const volatile int32_t *cancel, volatile uint64_t *progress,
                           const char *kernel, const zllm_options *options) {
    text_t t = {.cuts = cuts, .n = n, .n_cuts = n_cuts, .cancel = cancel, .progress = progress};
    encoder_t e;
    zllm_result rc = text_start(&t, kernel, options);
    if (rc != ZLLM_OK) return rc;
    encoder_start(&e, out, *out_size);
    for (size_t i = 0; i < n && rc == ZLLM_OK; i++) {
        rc = text_go_on(&t, i);
        for (int k = 7; k >= 0 && rc == ZLLM_OK; k--) {
            const int bit = text[i] >> k & 1;
            encoder_put(&e, zllm_predictor_bit(t.p, t.c, 0), bit);
            zllm_predictor_update(t.p, t.c, bit);
        }
        if (rc == ZLLM_OK && e.full) rc = ZLLM_E_SPACE;
    }
    if (rc == ZLLM_OK && n > 0) encoder_finish(&e);
    if (rc == ZLLM_OK && e.full) rc = ZLLM_E_SPACE;
    *out_size = e.at;
    text_end(&t, rc);
    return rc;
}

zllm_result zllm_cm_decode(const uint8_t *coded, size_t coded_size, uint8_t *text, size_t n, const uint64_t *cuts,
                           size_t n_cuts, const volatile int32_t *cancel, volatile uint64_t *progress,
                           const char *kernel, const zllm_options *options) {
    text_t t = {.cuts = cuts, .n = n, .n_cuts = n_cuts, .cancel = cancel, .progress = progress};
    decoder_t d;
    zllm_result rc = text_start(&t, kernel, options);
    if (rc != ZLLM_OK) return rc;
    decoder_start(&d, coded, coded_size);
    for (size_t i = 0; i < n && rc == ZLLM_OK; i++) {
        uint32_t byte = 0;
        rc = text_go_on(&t, i);
        for (int k = 0; k < 8 && rc == ZLLM_OK; k++) {
            const int bit = decoder_get(&d, zllm_predictor_bit(t.p, t.c, 0));
            zllm_predictor_update(t.p, t.c, bit);
            byte = byte << 1 | (uint32_t)bit;
        }
        text[i] = (uint8_t)byte;
    }
    text_end(&t, rc);
    return rc;
}
