/* Text by the adaptive predictor alone (docs/arithmetic.md, section 9). */
#include <stdlib.h>
#include <string.h>

#include "zllm.h"

#include "cancel.h"
#include "predictor/predictor.h"
#include "rangecoder.h"

#define POLL 4096u /* bytes between two looks at the cancel flag */

/* The profile is coded first, a bit at a time from the highest, each with this probability of a one: text pays nothing. */
#define PROFILE_BITS 8
#define PROFILE_BIT (1u << 16)

/* Two pieces of a text are coded with each profile that it may want, to see which: for a sixteenth of it at most, in bytes. */
#define SAMPLE_LEAST (8u << 10)
#define SAMPLE_MOST (64u << 10)
#define SAMPLE_SHARE 16u

/* A text on its way: its predictor, and the next of the documents that start in it. */
typedef struct {
    predictor_t *p;
    cursor_t *c;
    const uint64_t *cuts;
    size_t n, n_cuts, cut;
    const volatile int32_t *cancel;
    volatile uint64_t *progress;
} text_t;

static zllm_result text_start(text_t *t, uint32_t profile) {
    t->p = predictor_new(t->n, 1, 0);
    if (!t->p) return ZLLM_E_MEMORY;
    predictor_profile(t->p, profile);
    cursor_start(t->p, 0, 0, t->n);
    t->c = predictor_cursor(t->p, 0);
    return ZLLM_OK;
}

static zllm_result text_check(const text_t *t) {
    if (t->n >= UINT32_MAX) return ZLLM_E_ARGUMENT;
    for (size_t i = 0; i < t->n_cuts; i++)
        if (t->cuts[i] <= (i ? t->cuts[i - 1] : 0) || t->cuts[i] >= t->n) return ZLLM_E_ARGUMENT;
    return cancelled(t->cancel) ? ZLLM_E_CANCELLED : ZLLM_OK;
}

/* Before byte `at`. */
static zllm_result text_go_on(text_t *t, size_t at) {
    if (t->cut < t->n_cuts && t->cuts[t->cut] == at) {
        cursor_cut(t->p, t->c);
        t->cut++;
    }
    if (at % POLL || at == 0) return ZLLM_OK;
    if (t->progress) *t->progress += POLL;
    return cancelled(t->cancel) ? ZLLM_E_CANCELLED : ZLLM_OK;
}

static void text_end(text_t *t, zllm_result rc) {
    if (rc == ZLLM_OK && t->progress && t->n) *t->progress += (t->n - 1) % POLL + 1;
    predictor_free(t->p);
}

static zllm_result encode(text_t *t, uint32_t profile, const uint8_t *text, uint8_t *out, size_t *out_size) {
    encoder_t e;
    zllm_result rc = text_start(t, profile);
    if (rc != ZLLM_OK) return rc;
    encoder_start(&e, out, *out_size);
    for (int k = PROFILE_BITS - 1; k >= 0 && t->n > 0; k--) encoder_put(&e, PROFILE_BIT, profile >> k & 1);
    for (size_t i = 0; i < t->n && rc == ZLLM_OK; i++) {
        rc = text_go_on(t, i);
        for (int k = 7; k >= 0 && rc == ZLLM_OK; k--) {
            const int bit = text[i] >> k & 1;
            encoder_put(&e, predictor_bit(t->p, t->c, 0), bit);
            predictor_update(t->p, t->c, bit);
        }
        if (rc == ZLLM_OK && e.full) rc = ZLLM_E_SPACE;
    }
    if (rc == ZLLM_OK && t->n > 0) encoder_finish(&e);
    if (rc == ZLLM_OK && e.full) rc = ZLLM_E_SPACE;
    *out_size = e.at;
    text_end(t, rc);
    return rc;
}

/* Sets the profile that codes the sample best; `out` has room for n. */
static zllm_result try_profiles(const uint8_t *sample, size_t n, const volatile int32_t *cancel, uint8_t *out,
                                uint32_t *profile) {
    uint32_t found[PROFILES];
    const uint32_t candidates = profile_candidates(sample, n, found);
    size_t least = n;
    *profile = PROFILE_TEXT;
    for (uint32_t i = 0; i < candidates; i++) {
        text_t t = {.n = n, .cancel = cancel};
        size_t size = n;
        const zllm_result rc = encode(&t, found[i], sample, out, &size);
        if (rc == ZLLM_E_SPACE) continue;
        if (rc != ZLLM_OK) return rc;
        if (size < least) *profile = found[i];
        if (size < least) least = size;
    }
    return ZLLM_OK;
}

static zllm_result choose_profile(const uint8_t *text, size_t n, const volatile int32_t *cancel, uint32_t *profile) {
    const size_t share = n / SAMPLE_SHARE, half = (share < SAMPLE_MOST ? share : SAMPLE_MOST) / 2;
    *profile = PROFILE_TEXT;
    if (n < SAMPLE_LEAST) return ZLLM_OK;
    uint8_t *sample = malloc(4 * half);
    if (sample == NULL) return ZLLM_E_MEMORY;
    memcpy(sample, text + n / 4, half);
    memcpy(sample + half, text + n / 4 * 3 - half, half);
    const zllm_result rc = try_profiles(sample, 2 * half, cancel, sample + 2 * half, profile);
    free(sample);
    return rc;
}

zllm_result zllm_cm_encode(const uint8_t *text, size_t n, const uint64_t *cuts, size_t n_cuts, uint8_t *out,
                           size_t *out_size, const volatile int32_t *cancel, volatile uint64_t *progress) {
    text_t t = {.cuts = cuts, .n = n, .n_cuts = n_cuts, .cancel = cancel, .progress = progress};
    uint32_t profile;
    zllm_result rc = text_check(&t);
    if (rc == ZLLM_OK) rc = choose_profile(text, n, cancel, &profile);
    return rc == ZLLM_OK ? encode(&t, profile, text, out, out_size) : rc;
}

zllm_result zllm_cm_decode(const uint8_t *coded, size_t coded_size, uint8_t *text, size_t n, const uint64_t *cuts,
                           size_t n_cuts, const volatile int32_t *cancel, volatile uint64_t *progress) {
    text_t t = {.cuts = cuts, .n = n, .n_cuts = n_cuts, .cancel = cancel, .progress = progress};
    decoder_t d;
    uint32_t profile = 0;
    zllm_result rc = text_check(&t);
    if (rc != ZLLM_OK) return rc;
    decoder_start(&d, coded, coded_size);
    for (int k = 0; k < PROFILE_BITS && n > 0; k++) profile = profile << 1 | (uint32_t)decoder_get(&d, PROFILE_BIT);
    rc = text_start(&t, profile);
    if (rc != ZLLM_OK) return rc;
    for (size_t i = 0; i < n && rc == ZLLM_OK; i++) {
        uint32_t byte = 0;
        rc = text_go_on(&t, i);
        for (int k = 0; k < 8 && rc == ZLLM_OK; k++) {
            const int bit = decoder_get(&d, predictor_bit(t.p, t.c, 0));
            predictor_update(t.p, t.c, bit);
            byte = byte << 1 | (uint32_t)bit;
        }
        text[i] = (uint8_t)byte;
    }
    text_end(&t, rc);
    return rc;
}
