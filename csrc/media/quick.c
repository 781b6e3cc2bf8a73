/* Steps of 2^k, one decision each; from STEPS on an Elias gamma code; the first bit below by the steps; the sign as it is. */
#include "quick.h"

#define STEPS 16u
#define LIMIT 127u

struct quick {
    const tables_t *tables;
    counter_t steps[QUICK_CONTEXTS][STEPS];
    counter_t below[32][4]; /* by k, and steps up to 3 */
    counter_t length[32];
};

size_t zllm_quick_memory(void) { return sizeof(quick_t); }

quick_t *zllm_quick_new(heap_t *heap, const tables_t *tables) {
    quick_t *q = zllm_heap_zeroed(heap, 1, sizeof *q);
    if (q == NULL) return NULL;
    q->tables = tables;
    for (uint32_t c = 0; c < QUICK_CONTEXTS; c++)
        for (uint32_t i = 0; i < STEPS; i++) q->steps[c][i] = COUNTER_START;
    for (uint32_t k = 0; k < 32; k++) {
        q->length[k] = COUNTER_START;
        for (uint32_t i = 0; i < 4; i++) q->below[k][i] = COUNTER_START;
    }
    return q;
}

void zllm_quick_free(heap_t *heap, quick_t *q) { zllm_heap_free(heap, q); }

static uint32_t code_long(quick_t *q, string_t *s, uint32_t value) {
    uint32_t length = 0;
    while (length < 31 && decide_alone(q->tables, s, &q->length[length], LIMIT, value >> length > 1)) length++;
    return 1u << length | string_bits(s, length, value & ((1u << length) - 1));
}

int32_t zllm_quick_code(quick_t *q, string_t *s, uint32_t k, uint32_t context, int32_t value) {
    const uint32_t size = value < 0 ? 0u - (uint32_t)value : (uint32_t)value, whole = size >> k;
    counter_t *counters = q->steps[context];
    uint32_t steps = 0, got;
    while (steps < STEPS && decide_alone(q->tables, s, &counters[steps], LIMIT, whole > steps)) steps++;
    if (steps == STEPS) steps += code_long(q, s, whole - STEPS + 1) - 1;
    got = steps;
    if (k) {
        counter_t *below = &q->below[k & 31][steps < 3 ? steps : 3];
        got = got << 1 | (uint32_t)decide_alone(q->tables, s, below, LIMIT, size >> (k - 1) & 1);
        got = got << (k - 1) | string_bits(s, k - 1, size & ((1u << (k - 1)) - 1));
    }
    if (got == 0) return 0;
    return (int32_t)(string_bits(s, 1, value < 0) ? 0u - got : got);
}
