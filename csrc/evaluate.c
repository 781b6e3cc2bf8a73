/* The model and the parts of the coder on their own: for tests, known answers and measurements. */
#include "distribution.h"
#include "fixed.h"
#include "zllm_testing.h"

/* Logits, and prefix sums of their weights, which go on from those of the logits before. */
static void put(const zllm_model *m, distribution_buffer_t *d, const int32_t *row, uint32_t n, int32_t *logits,
                uint64_t *sums) {
    for (uint32_t v = 0; logits != NULL && v < n; v++) logits[v] = row[v];
    if (sums == NULL) return;
    zllm_distribution_resize(d, n);
    zllm_distribution_set(d, m->kernel, row);
    const distribution_t next = distribution_view(d);
    for (uint32_t v = 1; v <= n; v++) sums[v] = sums[0] + sum_below(&next, v);
}

/* Of all tokens; or of classes and, behind them, of the tokens of each. */
static void evaluate_row(const zllm_model *m, workspace_t *w, distribution_buffer_t *d, uint32_t row, uint32_t in_block,
                         int32_t *logits, uint64_t *sums) {
    const network_t *network = m->network;
    uint32_t at = model_choices(m);
    if (sums != NULL) sums[0] = 0;
    put(m, d, w->family->logits(w, in_block), at, logits, sums);
    for (uint32_t k = 0; k < network->classes; k++) {
        const uint32_t n = network->class_first[k + 1] - network->class_first[k];
        put(m, d, w->family->within(w, row, k), n, logits == NULL ? NULL : logits + at, sums == NULL ? NULL : sums + at);
        at += n;
    }
}

/* A step of n tokens, whose rows of logits and sums begin here. */
static void evaluate_step(const zllm_model *m, workspace_t *w, distribution_buffer_t *d, const uint32_t *tokens, uint32_t n,
                          int32_t *logits, uint64_t *sums) {
    static const uint32_t lanes[ZLLM_BULK];
    const size_t outputs = model_outputs(m);
    w->family->step(w, lanes, tokens, n);
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t in_block = i % w->head_rows, left = n - i;
        if (in_block == 0) w->family->head(w, i, left < w->head_rows ? left : w->head_rows);
        evaluate_row(m, w, d, i, in_block, logits == NULL ? NULL : logits + i * outputs,
                     sums == NULL ? NULL : sums + i * (outputs + 1));
    }
}

zllm_result zllm_evaluate(const zllm_model *m, const uint32_t *tokens, size_t n, uint32_t bulk, int32_t *logits,
                          uint64_t *sums) {
    const size_t outputs = model_outputs(m);
    distribution_buffer_t d;
    if (bulk < 1 || bulk > ZLLM_BULK) return ZLLM_E_ARGUMENT;
    for (size_t i = 0; i < n; i++)
        if (tokens[i] >= m->network->inputs) return ZLLM_E_ARGUMENT;
    workspace_t *w = model_workspace(m, m->heap, 1, bulk, NULL, NULL);
    const int whole = zllm_distribution_new(&d, m->heap, (uint32_t)outputs) && w != NULL;
    if (whole) w->family->restart(w, 0);
    for (size_t i = 0; i < n && whole; i += bulk)
        evaluate_step(m, w, &d, tokens + i, n - i < bulk ? (uint32_t)(n - i) : bulk,
                      logits == NULL ? NULL : logits + i * outputs, sums == NULL ? NULL : sums + i * (outputs + 1));
    zllm_distribution_free(&d);
    workspace_free(w);
    return whole ? ZLLM_OK : ZLLM_E_MEMORY;
}

zllm_result zllm_coder_encode(const uint8_t *bits, const uint32_t *probabilities, size_t n, uint8_t *out,
                              size_t *size) {
    encoder_t e;
    for (size_t i = 0; i < n; i++)
        if (probabilities[i] < 1 || probabilities[i] >> PROBABILITY_BITS) return ZLLM_E_ARGUMENT;
    encoder_start(&e, out, *size);
    for (size_t i = 0; i < n; i++) encoder_put(&e, probabilities[i], bits[i] != 0);
    encoder_finish(&e);
    *size = e.at;
    return e.full ? ZLLM_E_SPACE : ZLLM_OK;
}

void zllm_coder_decode(const uint8_t *coded, size_t size, const uint32_t *probabilities, size_t n, uint8_t *bits) {
    decoder_t d;
    decoder_start(&d, coded, size);
    for (size_t i = 0; i < n; i++) bits[i] = (uint8_t)decoder_get(&d, probabilities[i]);
}

void zllm_quantise(const int32_t *x, uint32_t n, int normalise, int8_t *q, uint32_t *mantissa, int32_t *exponent) {
    const zllm_kernel *k = &zllm_kernel_generic;
    quantised_t found;
    k->quantise(x, n, 1, n, q, n, &found);
    const scale_t s = quantised_scale(&found, n, normalise, 0);
    *mantissa = s.mantissa;
    *exponent = s.exponent;
}
