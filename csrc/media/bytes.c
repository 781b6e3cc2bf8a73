/* Contexts: the byte before, two, three; the place in the run with the byte there in the run before; and whether that byte was
 * right of late. */
#include "bytes.h"

#include <string.h>

#define BITS 16u
#define HASHED 4u
#define INPUTS (HASHED + 1)
#define RUN 4096u /* bytes of a run that the next one is compared with */
#define LIMIT 250u

struct bytes {
    const tables_t *tables;
    uint32_t at, before, last, hits; /* place in the run; the run before's length; last three bytes; right in a row */
    uint8_t run[2][RUN];
    uint32_t current;
    counter_t counters[HASHED][1u << BITS];
    counter_t expected[16][2];
    int32_t weights[2][256][INPUTS];
    uint16_t curves[2][256][KNOTS];
};

size_t zllm_bytes_memory(void) { return sizeof(bytes_t); }

bytes_t *zllm_bytes_new(heap_t *heap, const tables_t *tables) {
    bytes_t *b = zllm_heap_zeroed(heap, 1, sizeof *b);
    if (b == NULL) return NULL;
    b->tables = tables;
    for (uint32_t k = 0; k < HASHED; k++)
        for (uint32_t i = 0; i < 1u << BITS; i++) b->counters[k][i] = COUNTER_START;
    for (uint32_t i = 0; i < 16; i++) { /* a hint is right, mostly; there is none at 0 */
        b->expected[i][0] = i ? COUNTER_START - (7u << 28) : COUNTER_START;
        b->expected[i][1] = i ? COUNTER_START + (7u << 28) : COUNTER_START;
    }
    for (uint32_t m = 0; m < 2; m++) {
        for (uint32_t v = 0; v < 256; v++) zllm_media_weights(b->weights[m][v], 1, INPUTS);
        zllm_media_curves(tables, b->curves[m][0], 256);
    }
    return b;
}

void zllm_bytes_free(heap_t *heap, bytes_t *b) { zllm_heap_free(heap, b); }

void zllm_bytes_run(bytes_t *b) {
    b->before = b->at < RUN ? b->at : RUN;
    b->current ^= 1;
    b->at = 0;
    b->hits = 0;
}

static uint32_t hash(uint32_t number, uint64_t context) {
    return (uint32_t)((((uint64_t)number << 40 | context) * UINT64_C(0x9e3779b97f4a7c15)) >> 32);
}

uint8_t zllm_bytes_code(bytes_t *b, string_t *s, uint8_t byte) {
    const int known = b->at < b->before;
    const uint32_t above = known ? b->run[b->current ^ 1][b->at] : 256;
    const uint32_t place = b->at < RUN ? b->at : RUN;
    const uint32_t base[HASHED] = {hash(0, b->last & 0xff), hash(1, b->last & 0xffff), hash(2, b->last & 0xffffff),
                                   hash(3, place * 512 + above)};
    uint32_t partial = 1;
    for (int k = 7; k >= 0; k--) {
        const uint32_t so_far = (256 | above) >> (k + 1), hinted = known && so_far == partial;
        const uint32_t hint = hinted ? 1 + (b->hits < 14 ? b->hits : 14) : 0;
        decision_t d = {.inputs = INPUTS};
        for (uint32_t i = 0; i < HASHED; i++)
            d.counter[i] = &b->counters[i][(base[i] + partial * 0x9e3779b1u) >> (32 - BITS)];
        d.counter[HASHED] = &b->expected[hint][hinted ? above >> k & 1 : 0];
        const uint32_t by[2] = {partial, hint};
        for (uint32_t m = 0; m < 2; m++) {
            d.weights[m] = b->weights[m][by[m]];
            d.curve[m] = b->curves[m][by[m]];
        }
        partial = partial << 1 | (uint32_t)zllm_media_decide(b->tables, s, &d, LIMIT, byte >> k & 1);
    }
    byte = (uint8_t)partial;
    b->hits = known && byte == above ? b->hits + 1 : 0;
    if (b->at < RUN) b->run[b->current][b->at] = byte;
    b->last = b->last << 8 | byte;
    b->at++;
    return byte;
}
