/* Text by the adaptive predictor alone (docs/arithmetic.md, section 9). */
#include "zllm.h"

#include "cancel.h"
#include "predictor/predictor.h"
#include "rangecoder.h"

#define POLL 4096u /* bytes between two looks at the cancel flag */

static int sound(size_t n, const uint64_t *cuts, size_t n_cuts) {
    if (n >= UINT32_MAX) return 0;
    for (size_t i = 0; i < n_cuts; i++)
        if (cuts[i] <= (i ? cuts[i - 1] : 0) || cuts[i] >= n) return 0;
    return 1;
}

static int stop(size_t at, const volatile int32_t *cancel, volatile uint64_t *progress) {
    if (at % POLL || at == 0) return 0;
    if (progress) *progress += POLL;
    return cancelled(cancel);
}

static predictor_t *start(size_t n) {
    predictor_t *p = predictor_new(n, 1, 0);
    if (p) cursor_start(p, 0, 0, n);
    return p;
}

zllm_result zllm_cm_encode(const uint8_t *text, size_t n, const uint64_t *cuts, size_t n_cuts, uint8_t *out,
                           size_t *out_size, const volatile int32_t *cancel, volatile uint64_t *progress) {
    encoder_t e;
    size_t cut = 0;
    if (!sound(n, cuts, n_cuts)) return ZLLM_E_ARGUMENT;
    if (cancelled(cancel)) return ZLLM_E_CANCELLED;
    predictor_t *p = start(n);
    if (!p) return ZLLM_E_MEMORY;
    cursor_t *c = predictor_cursor(p, 0);
    zllm_result rc = ZLLM_OK;
    encoder_start(&e, out, *out_size);
    for (size_t i = 0; i < n && rc == ZLLM_OK; i++) {
        if (cut < n_cuts && cuts[cut] == i) {
            cursor_cut(p, c);
            cut++;
        }
        for (int k = 7; k >= 0; k--) {
            const int bit = text[i] >> k & 1;
            encoder_put(&e, predictor_bit(p, c, 0), bit);
            predictor_update(p, c, bit);
        }
        if (e.full) rc = ZLLM_E_SPACE;
        else if (stop(i, cancel, progress)) rc = ZLLM_E_CANCELLED;
    }
    if (rc == ZLLM_OK && n > 0) encoder_finish(&e);
    if (rc == ZLLM_OK && e.full) rc = ZLLM_E_SPACE;
    if (rc == ZLLM_OK && progress) *progress += n ? (n - 1) % POLL + 1 : 0;
    *out_size = e.at;
    predictor_free(p);
    return rc;
}

zllm_result zllm_cm_decode(const uint8_t *coded, size_t coded_size, uint8_t *text, size_t n, const uint64_t *cuts,
                           size_t n_cuts, const volatile int32_t *cancel, volatile uint64_t *progress) {
    decoder_t d;
    size_t cut = 0;
    if (!sound(n, cuts, n_cuts)) return ZLLM_E_ARGUMENT;
    if (cancelled(cancel)) return ZLLM_E_CANCELLED;
    predictor_t *p = start(n);
    if (!p) return ZLLM_E_MEMORY;
    cursor_t *c = predictor_cursor(p, 0);
    zllm_result rc = ZLLM_OK;
    decoder_start(&d, coded, coded_size);
    for (size_t i = 0; i < n && rc == ZLLM_OK; i++) {
        uint32_t byte = 0;
        if (cut < n_cuts && cuts[cut] == i) {
            cursor_cut(p, c);
            cut++;
        }
        for (int k = 0; k < 8; k++) {
            const int bit = decoder_get(&d, predictor_bit(p, c, 0));
            predictor_update(p, c, bit);
            byte = byte << 1 | (uint32_t)bit;
        }
        text[i] = (uint8_t)byte;
        if (stop(i, cancel, progress)) rc = ZLLM_E_CANCELLED;
    }
    if (rc == ZLLM_OK && progress) *progress += n ? (n - 1) % POLL + 1 : 0;
    predictor_free(p);
    return rc;
}
