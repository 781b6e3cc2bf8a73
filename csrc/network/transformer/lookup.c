#include "network/transformer/lookup.h"

#include <string.h>

#define MOST_COLS ZLLM_MAX_COLS

zllm_result zllm_table_check(const source_t *s, uint32_t layer, uint32_t tensor, int nibbles) {
    const zllm_tensor *q = source_tensor(s, layer, tensor);
    zllm_result rc = zllm_tensor_check(source_tensor(s, layer, tensor + 1), 1, INT16_MAX);
    if (rc == ZLLM_OK && !nibbles) rc = zllm_tensor_check(q, -127, 127);
    if (rc != ZLLM_OK || q == NULL || !nibbles) return rc;
    for (size_t i = 0; i < (size_t)q->size; i++)
        CHECK((q->data[i] & 15) != 8 && q->data[i] >> 4 != 8, "tensor %s has a number that is not from -7 to 7",
              zllm_quoted(q->name, q->name_size).text);
    return ZLLM_OK;
}

void zllm_table_read(arena_t *arena, const source_t *s, uint32_t layer, uint32_t tensor, int nibbles, table_t *out) {
    const zllm_tensor *q = source_tensor(s, layer, tensor);
    *out = (table_t){0};
    if (q == NULL) return;
    out->q = zllm_tensor_copy(arena, q);
    out->scale = zllm_tensor_copy(arena, source_tensor(s, layer, tensor + 1));
    out->cols = (uint32_t)q->shape[1] * (nibbles ? 2 : 1);
    out->shift = (uint32_t)(source_exponent(s, layer, tensor) - 12);
    out->nibbles = nibbles;
}

/* Two numbers a byte to one. */
static void widen(const int8_t *packed, uint32_t cols, int8_t *q) {
    for (uint32_t i = 0; i < cols / 2; i++) {
        const int32_t both = packed[i];
        q[2 * i] = (int8_t)((int32_t)((uint32_t)both << 28) >> 28);
        q[2 * i + 1] = (int8_t)(both >> 4);
    }
}

void zllm_table_row(const table_t *t, const zllm_kernel *k, size_t row, int32_t *out) {
    int8_t wide[MOST_COLS];
    const int8_t *q = t->q + row * table_bytes(t);
    if (t->nibbles) {
        widen(q, t->cols, wide);
        q = wide;
    }
    k->spread(q, t->cols, t->scale[row], t->shift, out);
}

void zllm_pair_rows(uint32_t token, uint32_t before, uint32_t bits, size_t rows[PAIR_PARTS]) {
    static const uint32_t factors[PAIR_PARTS][2] = {
        {0x9e3779b1u, 0x85ebca77u}, {0xc2b2ae3du, 0x27d4eb2fu}, {0x165667b1u, 0xd3a2646du}, {0xfd7046c5u, 0xb55a4f09u}};
    for (uint32_t i = 0; i < PAIR_PARTS; i++)
        rows[i] = ((size_t)i << bits) + ((token * factors[i][0] + before * factors[i][1]) >> (32 - bits));
}
