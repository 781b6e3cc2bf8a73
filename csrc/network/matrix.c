#include "network/matrix.h"

int zllm_rows_new(rows_t *r, heap_t *heap, uint32_t count, uint32_t cols) {
    r->stride = cols;
    r->q = zllm_heap_take(heap, (size_t)count * cols);
    r->sum = zllm_heap_zeroed(heap, count, sizeof *r->sum);
    r->scale = zllm_heap_zeroed(heap, count, sizeof *r->scale);
    return r->q && r->sum && r->scale;
}

void zllm_rows_free(rows_t *r, heap_t *heap) {
    zllm_heap_free(heap, r->q);
    zllm_heap_free(heap, r->sum);
    zllm_heap_free(heap, r->scale);
}

/* What a bias is added to is at most 2^30 in size: the sum stays in 32 bits, and is clamped then. */
zllm_result zllm_matrix_check(const source_t *s, uint32_t layer, uint32_t tensor) {
    const int32_t bias = (1 << 30) - 1;
    zllm_result rc = zllm_tensor_check(source_tensor(s, layer, tensor), -127, 127);
    if (rc == ZLLM_OK) rc = zllm_tensor_check(source_tensor(s, layer, tensor + 1), 1, INT16_MAX);
    if (rc == ZLLM_OK) rc = zllm_tensor_check(source_tensor(s, layer, tensor + 2), -bias, bias);
    return rc;
}

void zllm_matrix_read(arena_t *arena, const source_t *s, uint32_t layer, uint32_t tensor, uint32_t wide, matrix_t *out) {
    const zllm_tensor *q = source_tensor(s, layer, tensor);
    out->rows = (uint32_t)q->shape[0];
    out->cols = (uint32_t)q->shape[1];
    out->exponent = source_exponent(s, layer, tensor);
    out->wide = wide;
    out->scale = zllm_tensor_copy(arena, source_tensor(s, layer, tensor + 1));
    out->bias = zllm_tensor_copy(arena, source_tensor(s, layer, tensor + 2));
}

void zllm_matrix_pack(arena_t *arena, const zllm_kernel *k, const source_t *s, uint32_t layer, uint32_t tensor,
                      uint32_t wide, matrix_t *out) {
    const zllm_tensor *q = source_tensor(s, layer, tensor);
    zllm_matrix_read(arena, s, layer, tensor, wide, out);
    out->packed = arena_take(arena, k->packed_size(out->rows, out->cols));
    if (out->packed != NULL) k->pack(tensor_i8(q), out->rows, out->cols, out->packed);
}

/* One row to 15 bits, 128 * high + low; sums: of both. */
static scale_t quantise_wide_row(const zllm_kernel *k, const int32_t *x, uint32_t n, int normalise, int32_t frac,
                                 int8_t *high, int8_t *low, int32_t sums[2]) {
    uint32_t shift;
    int32_t reciprocal;
    uint64_t squares;
    const uint32_t largest = k->absmax(x, n);
    fixed_reciprocal(largest, &shift, &reciprocal);
    k->quantise_wide(x, n, shift, reciprocal, high, low, sums, &squares);
    if (normalise) return zllm_fixed_norm_scale(n, squares); /* 16256^2 * ZLLM_MAX_COLS is below 2^42 */
    scale_t s = zllm_fixed_abs_scale(largest, frac);
    s.exponent += largest ? 7 : 0;
    return s;
}

void zllm_matrix_quantise(const matrix_t *a, const zllm_kernel *k, const int32_t *x, size_t stride, int normalise,
                          int32_t frac, share_t which, rows_t *r) {
    quantised_t found[BLOCK_ROWS];
    if (!a->wide)
        k->quantise(x + which.from * stride, stride, which.end - which.from, a->cols, r->q + which.from * r->stride,
                    r->stride, found + which.from);
    for (uint32_t i = which.from; i < which.end; i++) {
        if (a->wide) {
            int8_t *high = r->q + 2 * i * r->stride;
            r->scale[i] = quantise_wide_row(k, x + i * stride, a->cols, normalise, frac, high, high + r->stride,
                                            &r->sum[2 * i]);
            continue;
        }
        r->scale[i] = quantised_scale(&found[i], a->cols, normalise, frac);
        r->sum[i] = found[i].sum;
    }
}

void zllm_matrix_multiply(const matrix_t *a, const zllm_kernel *k, const rows_t *r, uint32_t n, share_t of,
                          int32_t *acc, size_t stride) {
    const uint32_t rows = padded_rows(of.end - of.from);
    if (rows > 0)
        k->matmul(a->packed + k->packed_size(of.from, a->cols), rows, a->cols, r->q, r->stride, r->sum,
                  a->wide ? 2 * n : n, acc + of.from, stride);
}

static uint32_t limit_shift(int32_t shift) { return (uint32_t)(shift < 1 ? 1 : shift > 62 ? 62 : shift); }

/* A sum is below 2^bits and its multiplier at most 2^16, so from a shift of bits - 14 on nothing can saturate, and the
 * kernel need not look. */
void zllm_scale_sums(const zllm_kernel *k, const int32_t *acc, const int16_t *scale, uint32_t n, uint32_t cols,
                     uint32_t mantissa, int32_t shift, int32_t *out) {
    const uint32_t s = limit_shift(shift);
    if (s + 14 >= bit_length64((uint64_t)cols * 127u * 127u)) {
        k->dequantise(acc, scale, n, mantissa, s, out);
        return;
    }
    for (uint32_t i = 0; i < n; i++) {
        const int64_t m = (int64_t)(((uint32_t)scale[i] * mantissa) >> 15);
        const int64_t v = shift_right(acc[i] * m + ((int64_t)1 << (s - 1)), s);
        out[i] = v > ZLLM_LIMIT ? ZLLM_LIMIT : v < -ZLLM_LIMIT ? -ZLLM_LIMIT : (int32_t)v;
    }
}

/* The kernel's addition clamps to 2^30 - 1; before it, sum and bias are at most 2^30 in size. */
void zllm_matrix_dequantise(const matrix_t *a, const zllm_kernel *k, const rows_t *r, uint32_t i, const int32_t *acc,
                            size_t stride, uint32_t from, uint32_t count, int32_t frac, int32_t *out) {
    const scale_t s = r->scale[i];
    const int32_t shift = a->exponent + s.exponent - 15 - frac;
    acc += (a->wide ? 2 * i : i) * stride + from;
    if (a->wide) k->dequantise_wide(acc, acc + stride, a->scale + from, count, s.mantissa, limit_shift(shift), out);
    else zllm_scale_sums(k, acc, a->scale + from, count, a->cols, s.mantissa, shift, out);
    if (a->bias != NULL) k->add(out, a->bias + from, count);
}
