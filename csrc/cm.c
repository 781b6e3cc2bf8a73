/* Text by the adaptive predictor alone (docs/arithmetic.md, section 9). */
#include <string.h>

#include "zllm.h"

#include "cancel.h"
#include "kernels.h"
#include "predictor/code.h"
#include "predictor/predictor.h"
#include "rangecoder.h"

#define POLL 4096u /* bytes between two looks at the cancel flag */

/* The profile is coded first, a bit at a time from the highest, each with this probability of a one: text pays nothing. */
#define PROFILE_BITS 8
#define PROFILE_BIT (1u << 16)

/* Pieces of a text are coded with each profile that it may want, to see which: a sixteenth of it at most, in bytes. Programs
 * have code, tables and text one behind the other, so that pieces are many. */
#define PIECES_MOST 8u
#define PIECES_LEAST 2u
#define PIECE_LEAST (2u << 10) /* bytes, where there are more than the least */
#define SAMPLE_LEAST (8u << 10)
#define SAMPLE_MOST (64u << 10)
#define SAMPLE_SHARE 16u

/* A text on its way: its predictor, and the next of the documents that start in it. */
typedef struct {
    heap_t *heap;
    const operations_t *operations;
    predictor_t *p;
    cursor_t *c;
    const uint64_t *cuts;
    size_t n, n_cuts, cut;
    const volatile int32_t *cancel;
    volatile uint64_t *progress;
} text_t;

static zllm_result text_open(text_t *t, const char *kernel, const zllm_options *options) {
    const zllm_kernel *k;
    if (t->n >= UINT32_MAX) return ZLLM_E_ARGUMENT;
    for (size_t i = 0; i < t->n_cuts; i++)
        if (t->cuts[i] <= (i ? t->cuts[i - 1] : 0) || t->cuts[i] >= t->n) return ZLLM_E_ARGUMENT;
    if (cancelled(t->cancel)) return ZLLM_E_CANCELLED;
    zllm_result rc = zllm_kernel_find(kernel, &k);
    if (rc == ZLLM_OK) rc = zllm_operations_trusted(k->predictor);
    if (rc == ZLLM_OK) rc = zllm_heap_open(options, &t->heap);
    if (rc == ZLLM_OK) t->operations = k->predictor;
    return rc;
}

static zllm_result text_start(text_t *t, uint32_t profile) {
    t->p = zllm_predictor_new(t->heap, t->operations, t->n, 1, 0);
    if (!t->p) return ZLLM_E_MEMORY;
    zllm_predictor_profile(t->p, profile);
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
}

/* Addresses of one document, or of each that starts at a cut, made absolute for the profiles of machine code, or relative again. */
static void change_addresses(uint8_t *text, const text_t *t, uint32_t profile, int absolute) {
    for (size_t i = 0, start = 0; i <= t->n_cuts && profile >= PROFILE_X86; i++) {
        const size_t end = i < t->n_cuts ? (size_t)t->cuts[i] : t->n;
        if (profile == PROFILE_X86) (absolute ? zllm_x86_absolute : zllm_x86_relative)(text + start, end - start);
        else (absolute ? zllm_arm_absolute : zllm_arm_relative)(text + start, end - start);
        start = end;
    }
}

static zllm_result encode(text_t *t, uint32_t profile, const uint8_t *text, uint8_t *out, size_t *out_size) {
    encoder_t e;
    zllm_result rc = text_start(t, profile);
    if (rc != ZLLM_OK) return rc;
    if (profile >= PROFILE_X86) { /* what is coded goes where the predictor will keep it: there is room for it */
        uint8_t *changed = zllm_predictor_text(t->p);
        memcpy(changed, text, t->n);
        change_addresses(changed, t, profile, 1);
        text = changed;
    }
    encoder_start(&e, out, *out_size);
    for (int k = PROFILE_BITS - 1; k >= 0 && t->n > 0; k--) encoder_put(&e, PROFILE_BIT, profile >> k & 1);
    for (size_t i = 0; i < t->n && rc == ZLLM_OK; i++) {
        rc = text_go_on(t, i);
        for (int k = 7; k >= 0 && rc == ZLLM_OK; k--) {
            const int bit = text[i] >> k & 1;
            encoder_put(&e, zllm_predictor_bit(t->p, t->c, 0), bit);
            zllm_predictor_update(t->p, t->c, bit);
        }
        if (rc == ZLLM_OK && e.full) rc = ZLLM_E_SPACE;
    }
    if (rc == ZLLM_OK && t->n > 0) encoder_finish(&e);
    if (rc == ZLLM_OK && e.full) rc = ZLLM_E_SPACE;
    *out_size = e.at;
    text_end(t, rc);
    return rc;
}

/* Bytes of a sample's code string, as they tell of a whole text: what records gain does not grow with it. */
static size_t judged(size_t size, uint32_t profile) {
    return profile >= PROFILE_RECORDS && profile <= PROFILE_RECORDS_MOST ? size + size / 128 : size;
}

/* Sets the profile that codes the sample best; `out` has room for n. */
static zllm_result try_profiles(const text_t *of, const uint8_t *sample, size_t n, uint8_t *out, uint32_t *profile) {
    uint32_t found[PROFILES];
    const uint32_t candidates = zllm_profile_candidates(sample, n, found);
    size_t least = n;
    *profile = PROFILE_TEXT;
    for (uint32_t i = 0; i < candidates; i++) {
        text_t t = {.heap = of->heap, .operations = of->operations, .n = n, .cancel = of->cancel};
        size_t size = n;
        const zllm_result rc = encode(&t, found[i], sample, out, &size);
        if (rc == ZLLM_E_SPACE) continue;
        if (rc != ZLLM_OK) return rc;
        size = judged(size, found[i]);
        if (size < least) *profile = found[i];
        if (size < least) least = size;
    }
    return ZLLM_OK;
}

static zllm_result choose_profile(const text_t *t, const uint8_t *text, uint32_t *profile) {
    const size_t share = t->n / SAMPLE_SHARE < SAMPLE_MOST ? t->n / SAMPLE_SHARE : SAMPLE_MOST, many = share / PIECE_LEAST;
    const size_t pieces = many < PIECES_LEAST ? PIECES_LEAST : many < PIECES_MOST ? many : PIECES_MOST;
    const size_t piece = share / pieces / 4 * 4, n = pieces * piece;
    *profile = PROFILE_TEXT;
    if (t->n < SAMPLE_LEAST) return ZLLM_OK;
    uint8_t *sample = zllm_heap_take(t->heap, 2 * n);
    if (sample == NULL) return ZLLM_E_MEMORY;
    for (size_t i = 0; i < pieces; i++)
        memcpy(sample + i * piece, text + (t->n / pieces * i + (t->n / pieces - piece) / 2) / 4 * 4, piece);
    const zllm_result rc = try_profiles(t, sample, n, sample + n, profile);
    zllm_heap_free(t->heap, sample);
    return rc;
}

zllm_result zllm_cm_encode(const uint8_t *text, size_t n, const uint64_t *cuts, size_t n_cuts, uint8_t *out,
                           size_t *out_size, const volatile int32_t *cancel, volatile uint64_t *progress,
                           const char *kernel, const zllm_options *options) {
    text_t t = {.cuts = cuts, .n = n, .n_cuts = n_cuts, .cancel = cancel, .progress = progress};
    uint32_t profile;
    zllm_result rc = text_open(&t, kernel, options);
    if (rc != ZLLM_OK) return rc;
    rc = choose_profile(&t, text, &profile);
    if (rc == ZLLM_OK) rc = encode(&t, profile, text, out, out_size);
    zllm_heap_close(t.heap);
    return rc;
}

static zllm_result decode(text_t *t, const uint8_t *coded, size_t coded_size, uint8_t *text) {
    decoder_t d;
    uint32_t profile = 0;
    decoder_start(&d, coded, coded_size);
    for (int k = 0; k < PROFILE_BITS && t->n > 0; k++) profile = profile << 1 | (uint32_t)decoder_get(&d, PROFILE_BIT);
    zllm_result rc = text_start(t, profile);
    if (rc != ZLLM_OK) return rc;
    for (size_t i = 0; i < t->n && rc == ZLLM_OK; i++) {
        uint32_t byte = 0;
        rc = text_go_on(t, i);
        for (int k = 0; k < 8 && rc == ZLLM_OK; k++) {
            const int bit = decoder_get(&d, zllm_predictor_bit(t->p, t->c, 0));
            zllm_predictor_update(t->p, t->c, bit);
            byte = byte << 1 | (uint32_t)bit;
        }
        text[i] = (uint8_t)byte;
    }
    text_end(t, rc);
    if (rc == ZLLM_OK) change_addresses(text, t, profile, 0);
    return rc;
}

zllm_result zllm_cm_decode(const uint8_t *coded, size_t coded_size, uint8_t *text, size_t n, const uint64_t *cuts,
                           size_t n_cuts, const volatile int32_t *cancel, volatile uint64_t *progress,
                           const char *kernel, const zllm_options *options) {
    text_t t = {.cuts = cuts, .n = n, .n_cuts = n_cuts, .cancel = cancel, .progress = progress};
    zllm_result rc = text_open(&t, kernel, options);
    if (rc != ZLLM_OK) return rc;
    rc = decode(&t, coded, coded_size, text);
    zllm_heap_close(t.heap);
    return rc;
}
