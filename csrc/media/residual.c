/* The decisions' nodes: steps 0 to STEPS - 1; the bits below, of the first two by what is known of the number; the sign.
 * A number of STEPS steps or more has the rest in an Elias gamma code. */
#include "residual.h"

#define STEPS 24u
#define BELOW STEPS          /* the first bit below, by steps up to 7 */
#define NEXT (BELOW + 8u)    /* the second one, by steps up to 7 and the first */
#define THIRD (NEXT + 16u)   /* the third one, by steps up to 1 and both */
#define NODES 64u
#define SELECTED 64u
#define LIMIT 1000u
#define PLAIN_LIMIT 1000u

struct residual {
    const tables_t *tables;
    uint32_t contexts;
    counter_t *counters;          /* [contexts][RESIDUAL_RANGE][NODES] */
    counter_t plain[32][32];      /* bits below, by k and place */
    counter_t long_length[2][32]; /* the gamma code's */
    counter_t sign[2][64][4];
    int32_t weights[2][NODES * SELECTED][RESIDUAL_CONTEXTS];
    uint16_t curves[2][NODES * SELECTED][KNOTS];
};

static size_t counters_of(uint32_t contexts) { return (size_t)contexts * RESIDUAL_RANGE * NODES; }

size_t zllm_residual_memory(uint32_t contexts) {
    return sizeof(residual_t) + counters_of(contexts) * sizeof(counter_t);
}

residual_t *zllm_residual_new(heap_t *heap, const tables_t *tables, uint32_t contexts) {
    residual_t *r = zllm_heap_zeroed(heap, 1, sizeof *r);
    if (r == NULL) return NULL;
    r->tables = tables;
    r->contexts = contexts;
    r->counters = zllm_heap_pages(heap, counters_of(contexts) * sizeof(counter_t));
    if (r->counters == NULL) {
        zllm_heap_free(heap, r);
        return NULL;
    }
    for (size_t i = 0; i < counters_of(contexts); i++) r->counters[i] = COUNTER_START;
    counter_t *small = r->plain[0];
    for (size_t i = 0; i < 32 * 32; i++) small[i] = COUNTER_START;
    small = r->long_length[0];
    for (size_t i = 0; i < 2 * 32; i++) small[i] = COUNTER_START;
    small = r->sign[0][0];
    for (size_t i = 0; i < 2 * 64 * 4; i++) small[i] = COUNTER_START;
    for (int m = 0; m < 2; m++) {
        for (size_t v = 0; v < NODES * SELECTED; v++) zllm_media_weights(r->weights[m][v], 1, contexts);
        zllm_media_curves(tables, r->curves[m][0], NODES * SELECTED);
    }
    return r;
}

void zllm_residual_free(heap_t *heap, residual_t *r) {
    if (r) zllm_heap_free_pages(heap, r->counters, counters_of(r->contexts) * sizeof(counter_t));
    zllm_heap_free(heap, r);
}

static int decide(residual_t *r, string_t *s, const known_t *known, uint32_t node, int bit) {
    decision_t d = {.inputs = r->contexts};
    for (uint32_t i = 0; i < r->contexts; i++)
        d.counter[i] = r->counters + ((size_t)i * RESIDUAL_RANGE + known->context[i]) * NODES + node;
    const uint32_t by[2] = {node * SELECTED, node * SELECTED + known->select};
    for (int m = 0; m < 2; m++) {
        d.weights[m] = r->weights[m][by[m]];
        d.curve[m] = r->curves[m][by[m]];
    }
    return zllm_media_decide(r->tables, s, &d, LIMIT, bit);
}

/* A number of 1 or more: its length in bits, one decision a bit, then its bits. */
static uint32_t code_long(residual_t *r, string_t *s, uint32_t value) {
    uint32_t length = 0, got = 1;
    while (length < 31 && decide_alone(r->tables, s, &r->long_length[0][length], PLAIN_LIMIT, value >> length > 1)) length++;
    for (uint32_t i = length; i-- > 0;)
        got = got << 1 | (uint32_t)decide_alone(r->tables, s, &r->long_length[1][i], PLAIN_LIMIT, value >> i & 1);
    return got;
}

static uint32_t code_below(residual_t *r, string_t *s, const known_t *known, uint32_t steps, uint32_t value) {
    const uint32_t step = steps < 7 ? steps : 7;
    uint32_t got = 0;
    for (uint32_t i = known->k; i-- > 0;) {
        const int bit = value >> i & 1;
        const uint32_t depth = known->k - 1 - i;
        uint32_t node = 0;
        if (depth == 0) node = BELOW + step;
        else if (depth == 1) node = NEXT + 2 * step + got;
        else if (depth == 2) node = THIRD + (step < 3 ? step : 3) * 4 + got;
        const int found = node ? decide(r, s, known, node, bit)
                               : decide_alone(r->tables, s, &r->plain[known->k & 31][i], PLAIN_LIMIT, bit);
        got = got << 1 | (uint32_t)found;
    }
    return got;
}

int32_t zllm_residual_code(residual_t *r, string_t *s, const known_t *known, int32_t value) {
    const uint32_t size = value < 0 ? 0u - (uint32_t)value : (uint32_t)value, whole = size >> known->k;
    uint32_t steps = 0;
    while (steps < STEPS && decide(r, s, known, steps, whole > steps)) steps++;
    if (steps == STEPS) steps += code_long(r, s, whole - STEPS + 1) - 1;
    const uint32_t got = steps << known->k | code_below(r, s, known, steps, size);
    if (got == 0) return 0;
    counter_t *sign = &r->sign[known->k == 0][known->sign][got < 4 ? got : 0];
    const int negative = decide_alone(r->tables, s, sign, PLAIN_LIMIT, value < 0);
    return (int32_t)(negative ? 0u - got : got);
}
