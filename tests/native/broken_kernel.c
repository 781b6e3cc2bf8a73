/* What the self-check must find: one primitive at a time is broken in a copy of the generic kernel, in ways that a SIMD
 * kernel goes wrong, and neither zllm_kernel_matches nor zllm_model_new may accept it. This file takes the place of
 * csrc/dispatch.c: zllm_kernel_find gives the kernel under test. Prints a line for each fault; exit status 1 if one is
 * missed. */
#include <stdio.h>
#include <string.h>

#include "kernels.h"

#define G (&zllm_kernel_generic)

static zllm_kernel under_test;
static int products; /* that the kernel under test computed */

zllm_result zllm_kernel_find(const char *name, const zllm_kernel **out) {
    (void)name;
    *out = &under_test;
    return ZLLM_OK;
}

static void pack_without_padding(const int8_t *w, uint32_t rows, uint32_t cols, int8_t *packed) {
    memcpy(packed, w, (size_t)rows * cols);
}

static void pack_without_last_row(const int8_t *w, uint32_t rows, uint32_t cols, int8_t *packed) {
    G->pack(w, rows, cols, packed);
    memset(packed + (size_t)(rows - 1) * cols, 0, cols);
}

/* More than the self-check has room for. */
static size_t packed_size_endless(uint32_t rows, uint32_t cols) { return (size_t)rows * cols << 20; }

/* Enough, but not where the rows from 32 on start. */
static size_t packed_size_uneven(uint32_t rows, uint32_t cols) { return G->packed_size(rows, cols) + (rows == 32 ? 64 : 0); }

static void key_row_short(const int8_t *key, uint32_t slot, uint32_t dim, int8_t *cache) {
    G->key_row(key, slot, dim - 1, cache + slot); /* slot * dim from the cache on, in the end */
}

static void key_row_beside(const int8_t *key, uint32_t slot, uint32_t dim, int8_t *cache) {
    G->key_row(key, slot ^ 1, dim, cache);
}

#define MATMUL(name)                                                                                                  \
    static void name(const int8_t *packed, uint32_t rows, uint32_t cols, const int8_t *act, size_t act_stride,        \
                     const int32_t *act_sum, uint32_t batch, int32_t *acc, size_t acc_stride)
#define MATMUL_RIGHT() G->matmul(packed, rows, cols, act, act_stride, act_sum, batch, acc, acc_stride)

MATMUL(matmul_right) {
    products++;
    MATMUL_RIGHT();
}

MATMUL(matmul_three) { /* a tail of the batch */
    MATMUL_RIGHT();
    if (batch % 4 == 3) acc[(batch - 1) * acc_stride + rows - 1] ^= 1;
}

MATMUL(matmul_ninth_row) {
    MATMUL_RIGHT();
    if (batch > 8) acc[8 * acc_stride]++;
}

MATMUL(matmul_behind) {
    MATMUL_RIGHT();
    acc[rows] = 0;
}

MATMUL(matmul_below) {
    MATMUL_RIGHT();
    if (batch == 1) acc[acc_stride] = 0;
}

MATMUL(matmul_last_columns) {
    G->matmul(packed, rows, cols, act, act_stride, act_sum, batch, acc, acc_stride);
    for (uint32_t j = 0; cols % 64 && j < rows; j++) acc[j] -= packed[(size_t)j * cols + cols - 1] * act[cols - 1];
}

/* Three products in an int16, as one too many smlal would add them; right unless operands are nearly extreme. */
MATMUL(matmul_three_in_int16) {
    MATMUL_RIGHT();
    for (uint32_t r = 0; r < batch; r++)
        for (uint32_t j = 0; j < rows; j++)
            for (uint32_t i = 0; i + 3 <= cols; i += 3) {
                int32_t s = 0;
                for (uint32_t k = i; k < i + 3; k++) s += packed[(size_t)j * cols + k] * act[r * act_stride + k];
                acc[r * acc_stride + j] += (int32_t)((uint32_t)(s > 32767) * 65536u) - (s < -32768) * 65536;
            }
}

MATMUL(matmul_few) { G->matmul(packed, rows / 64 * 64, cols, act, act_stride, act_sum, batch, acc, acc_stride); }

/* The same faults where keys are matched: the generic kernel packs them as the rows of a matrix. */
#define KEYS(name, broken)                                                                                            \
    static void name(const int8_t *packed, uint32_t rows, uint32_t cols, const int8_t *act, size_t act_stride,        \
                     const int32_t *act_sum, uint32_t batch, int32_t *acc, size_t acc_stride, const int8_t *next) {   \
        (void)next;                                                                                                   \
        broken(packed, rows, cols, act, act_stride, act_sum, batch, acc, acc_stride);                                 \
    }
KEYS(keys_three, matmul_three)
KEYS(keys_behind, matmul_behind)
KEYS(keys_few, matmul_few)

static void value_row_short(const int8_t *v, uint32_t slot, uint32_t dim, int8_t *cache) {
    memcpy(cache + (size_t)slot * dim, v, dim - 1);
}

#define WEIGH(name)                                                                                                   \
    static void name(const int8_t *cache, uint32_t slots, uint32_t dim, const int16_t *w, size_t stride,              \
                     uint32_t heads, int32_t *acc, const int8_t *next)

WEIGH(weigh_few_slots) { G->weigh_values(cache, slots == 2 ? 2 : slots / 4 * 4, dim, w, stride, heads, acc, next); }

WEIGH(weigh_more_slots) { G->weigh_values(cache, (slots + 31) / 32 * 32, dim, w, stride, heads, acc, next); }

WEIGH(weigh_odd_head) {
    G->weigh_values(cache, slots, dim, w, stride, heads, acc, next);
    if (heads % 2 && heads > 1) memcpy(acc + (size_t)(heads - 1) * dim, acc, dim * sizeof *acc);
}

WEIGH(weigh_behind) {
    G->weigh_values(cache, slots, dim, w, stride, heads, acc, next);
    acc[(size_t)heads * dim] = 0;
}

/* Sums that leave 30 bits: 512 slots, all extreme. */
WEIGH(weigh_saturating_high) {
    G->weigh_values(cache, slots, dim, w, stride, heads, acc, next);
    for (uint32_t i = 0; i < heads * dim; i++) acc[i] = acc[i] > 1 << 30 ? 1 << 30 : acc[i];
}

WEIGH(weigh_saturating_low) {
    G->weigh_values(cache, slots, dim, w, stride, heads, acc, next);
    for (uint32_t i = 0; i < heads * dim; i++) acc[i] = acc[i] < -(1 << 30) ? -(1 << 30) : acc[i];
}

static uint32_t absmax_of_positive(const int32_t *x, uint32_t n) {
    int32_t m = 0;
    for (uint32_t i = 0; i < n; i++) m = x[i] > m ? x[i] : m;
    return (uint32_t)m;
}

static uint32_t absmax_without_tail(const int32_t *x, uint32_t n) { return G->absmax(x, n > 8 ? n / 8 * 8 : n); }

#define QUANTISE(name)                                                                                                \
    static void name(const int32_t *x, size_t stride, uint32_t rows, uint32_t n, int8_t *q, size_t q_stride,           \
                     quantised_t *found)
#define QUANTISE_RIGHT() G->quantise(x, stride, rows, n, q, q_stride, found)

QUANTISE(quantise_truncating) {
    QUANTISE_RIGHT();
    for (uint32_t r = 0; r < rows; r++) {
        uint32_t shift;
        int32_t reciprocal;
        fixed_reciprocal(found[r].largest, &shift, &reciprocal);
        for (uint32_t i = 0; i < n; i++) {
            const int64_t y = (int64_t)x[r * stride + i] * ((int64_t)1 << shift) * reciprocal;
            if (y > 0) q[r * q_stride + i] = (int8_t)(y >> 54);
        }
    }
}

QUANTISE(quantise_without_tail) {
    QUANTISE_RIGHT();
    for (uint32_t r = 0; r < rows && n % 8; r++) q[r * q_stride + n - 1] = 0;
}

QUANTISE(quantise_sum) {
    QUANTISE_RIGHT();
    for (uint32_t r = 0; r < rows; r++) found[r].sum -= n > 64 ? q[r * q_stride + 64] : 0;
}

QUANTISE(quantise_squares) {
    QUANTISE_RIGHT();
    for (uint32_t r = 0; r < rows; r++) found[r].squares = (int16_t)found[r].squares;
}

QUANTISE(quantise_largest) {
    QUANTISE_RIGHT();
    found[rows - 1].largest++;
}

QUANTISE(quantise_one_row) { G->quantise(x, stride, rows > 1 ? 1 : rows, n, q, q_stride, found); }

#define DEQUANTISE(name)                                                                                              \
    static void name(const int32_t *acc, const int16_t *scale, uint32_t n, uint32_t mantissa, uint32_t shift,         \
                     int32_t *out)

DEQUANTISE(dequantise_signed_scale) { /* the product of scales in 16 bits with a sign */
    G->dequantise(acc, scale, n, mantissa, shift, out);
    for (uint32_t i = 0; i < n; i++)
        if (((uint32_t)scale[i] * mantissa) >> 15 > 32767) out[i] = -out[i];
}

DEQUANTISE(dequantise_without_tail) { G->dequantise(acc, scale, n - (n % 4 ? 1 : 0), mantissa, shift, out); }

DEQUANTISE(dequantise_32_bits) { /* a shift of 32 and more as one of shift mod 32 */
    G->dequantise(acc, scale, n, mantissa, shift > 32 ? shift - 32 : shift, out);
}

static void add_without_limit(int32_t *x, const int32_t *y, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) x[i] += y[i];
}

static void add_behind(int32_t *x, const int32_t *y, uint32_t n) {
    G->add(x, y, n);
    x[n] = 0;
}

static void gate_without_limit(const int32_t *gate, const int32_t *up, uint32_t n, int32_t *out) {
    G->gate(gate, up, n, out);
    for (uint32_t i = 0; i < n; i++)
        if (up[i] > 32767) out[i]++;
}

static void gate_near_zero(const int32_t *gate, const int32_t *up, uint32_t n, int32_t *out) {
    G->gate(gate, up, n, out);
    for (uint32_t i = 0; i < n; i++)
        if (gate[i] < 0 && gate[i] > -64) out[i]++;
}

static void spread_truncating(const int8_t *q, uint32_t n, int32_t scale, uint32_t shift, int32_t *out) {
    for (uint32_t i = 0; i < n; i++) out[i] = (q[i] * scale) >> shift;
}

static void spread_in_16_bits(const int8_t *q, uint32_t n, int32_t scale, uint32_t shift, int32_t *out) {
    G->spread(q, n, scale, shift, out);
    for (uint32_t i = 0; i < n; i++) out[i] = (int16_t)out[i];
}

static void blend_without_limit(int32_t *x, const int32_t *y, const int32_t *z, uint32_t n, const int16_t *by) {
    for (uint32_t i = 0; i < n; i++)
        x[i] = (int32_t)(((int64_t)x[i] * by[0] + (int64_t)y[i] * by[1] + (int64_t)z[i] * by[2] + 4096) >> 13);
}

static void blend_over_the_end(int32_t *x, const int32_t *y, const int32_t *z, uint32_t n, const int16_t *by) {
    G->blend(x, y, z, n, by);
    for (uint32_t i = 0; i < n; i++) x[i] += x[i] == (1 << 30) - 1;
}

static void blend_without_tail(int32_t *x, const int32_t *y, const int32_t *z, uint32_t n, const int16_t *by) {
    G->blend(x, y, z, n / 8 * 8, by);
}

static void gelu_without_limit(const int32_t *gate, uint32_t n, int32_t *out) {
    G->gelu(gate, n, out);
    for (uint32_t i = 0; i < n; i++)
        if (gate[i] > 32767) out[i]++;
}

static void gelu_far(const int32_t *gate, uint32_t n, int32_t *out) { /* the sigmoid's argument in 13 bits */
    G->gelu(gate, n, out);
    for (uint32_t i = 0; i < n; i++)
        if (gate[i] > 3200 && gate[i] < 3300) out[i]--;
}

#define WIDE(name)                                                                                                    \
    static void name(const int32_t *x, uint32_t n, uint32_t shift, int32_t reciprocal, int8_t *high, int8_t *low,     \
                     int32_t *sums, uint64_t *squares)
#define WIDE_RIGHT() G->quantise_wide(x, n, shift, reciprocal, high, low, sums, squares)

WIDE(wide_truncating) {
    WIDE_RIGHT();
    for (uint32_t i = 0; i < n; i++) {
        const int64_t y = (int64_t)x[i] * ((int64_t)1 << shift) * reciprocal;
        if (y > 0) low[i] = (int8_t)((y >> 47) - 128 * high[i]);
    }
}

WIDE(wide_low_to_64) {
    WIDE_RIGHT();
    for (uint32_t i = 0; i < n; i++)
        if (low[i] == -64) low[i] = 64, high[i]--;
}

WIDE(wide_sums) {
    WIDE_RIGHT();
    sums[1] += n > 64 ? low[64] : 0;
}

WIDE(wide_squares) {
    WIDE_RIGHT();
    *squares = (uint32_t)*squares;
}

#define UNWIDE(name)                                                                                                  \
    static void name(const int32_t *high, const int32_t *low, const int16_t *scale, uint32_t n, uint32_t mantissa,    \
                     uint32_t shift, int32_t *out)

UNWIDE(dequantise_wide_without_tail) {
    G->dequantise_wide(high, low, scale, n - (n % 4 ? 1 : 0), mantissa, shift, out);
}

UNWIDE(dequantise_wide_without_limit) {
    G->dequantise_wide(high, low, scale, n, mantissa, shift, out);
    for (uint32_t i = 0; i < n; i++) {
        const int64_t m = ((uint32_t)scale[i] * mantissa) >> 15, half = (int64_t)1 << (shift - 1);
        out[i] = (int32_t)(uint32_t)(uint64_t)((((int64_t)high[i] * 128 + low[i]) * m + half) >> shift);
    }
}

#define SOFTMAX(name) static uint32_t name(const int32_t *score, const int16_t *scale, uint32_t n, int16_t *w)

SOFTMAX(softmax_sum) { return G->softmax(score, scale, n, w) - (n == 1 ? 0 : w[n - 1] != 0); }

/* The last few are not looked at for the largest one. */
SOFTMAX(softmax_without_tail) {
    int32_t most = score[0], moved[256];
    for (uint32_t i = 1; i < (n < 4 ? n : n / 4 * 4); i++) most = score[i] > most ? score[i] : most;
    for (uint32_t i = 0; i < n; i++) moved[i] = score[i] > most ? most : score[i];
    return G->softmax(moved, scale, n, w);
}

SOFTMAX(softmax_far) { /* 2^31 taken for a negative number */
    const uint32_t sum = G->softmax(score, scale, n, w);
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t j = 0; j < n; j++)
            if ((uint32_t)score[j] - (uint32_t)score[i] == 1u << 31) w[i] = 1;
    return sum;
}

SOFTMAX(softmax_truncating) {
    int32_t most = score[0];
    for (uint32_t i = 1; i < n; i++) most = score[i] > most ? score[i] : most;
    const uint32_t sum = G->softmax(score, scale, n, w);
    for (uint32_t i = 0; i < n; i++)
        w[i] = (int16_t)((exp2_15((uint32_t)most - (uint32_t)score[i]) * (uint32_t)scale[i]) >> 15);
    return sum;
}

SOFTMAX(softmax_behind_end) {
    const uint32_t sum = G->softmax(score, scale, n, w);
    w[n] = 0;
    return sum;
}

static void divide_truncating(const int32_t *acc, uint32_t n, int32_t reciprocal, int32_t *out) {
    for (uint32_t i = 0; i < n; i++) out[i] = (int32_t)((int64_t)acc[i] * reciprocal / (1 << 19));
}

static void weights_without_one(const int32_t *logits, uint32_t n, uint32_t *w) {
    G->weights(logits, n, w);
    for (uint32_t i = 0; i < n; i++) w[i] -= w[i] == 1;
}

static void weights_of_half(const int32_t *logits, uint32_t n, uint32_t *w) { G->weights(logits, n > 16 ? 16 : n, w); }

#define ROTATE(name) static void name(int32_t *x, uint32_t heads, uint32_t half, const int32_t *sincos, int32_t *excess)

ROTATE(rotate_other_way) {
    int32_t turned[256];
    for (uint32_t i = 0; i < 2 * half; i++) turned[i] = i < half ? -sincos[i] : sincos[i];
    G->rotate(x, heads, half, turned, excess);
}

ROTATE(rotate_right_only) { /* small heads lack bits, which they are not given */
    int32_t small[256];
    for (uint32_t h = 0; h < heads; h++, x += 2 * half) {
        for (uint32_t i = 0; i < 2 * half; i++) small[i] = x[i];
        G->rotate(x, 1, half, sincos, excess + h);
        if (excess[h] >= 0) continue;
        for (uint32_t i = 0; i < half; i++) {
            const int32_t a = small[i], b = small[half + i];
            x[i] = (int32_t)(((int64_t)a * sincos[half + i] - (int64_t)b * sincos[i] + 16384) >> 15);
            x[half + i] = (int32_t)(((int64_t)b * sincos[half + i] + (int64_t)a * sincos[i] + 16384) >> 15);
        }
    }
}

ROTATE(rotate_excess) {
    G->rotate(x, heads, half, sincos, excess);
    excess[heads - 1]++;
}

ROTATE(rotate_one_head) { G->rotate(x, heads > 1 ? 1 : heads, half, sincos, excess); }

static void block_sums_of_31_bits(const uint32_t *w, uint32_t blocks, uint32_t *sums) {
    G->block_sums(w, blocks, sums);
    for (uint32_t b = 0; b < blocks; b++) sums[b] &= 0x7fffffffu;
}

static void block_sums_in_pairs(const uint32_t *w, uint32_t blocks, uint32_t *sums) {
    G->block_sums(w, blocks + blocks % 2, sums);
}

static int refused(const char *name, zllm_kernel broken) {
    zllm_model *model;
    under_test = broken;
    /* Twice: a first refusal must not be taken for an approval. */
    const int right = !zllm_kernel_matches(&under_test, 0) && zllm_model_new("", 0, NULL, 0, NULL, NULL,
                                                                             &model) == ZLLM_E_KERNEL_WRONG &&
                      zllm_model_new("", 0, NULL, 0, NULL, NULL, &model) == ZLLM_E_KERNEL_WRONG && model == NULL;
    printf("%s %s\n", name, right ? "refused" : "NOT FOUND");
    return right;
}

#define BROKEN(primitive, fault)           \
    do {                                   \
        zllm_kernel broken = *G;           \
        broken.primitive = fault;          \
        ok &= refused(#fault, broken);     \
    } while (0)

static int products_refused(void) {
    int ok = 1;
    BROKEN(pack, pack_without_padding);
    BROKEN(pack, pack_without_last_row);
    BROKEN(packed_size, packed_size_endless);
    BROKEN(packed_size, packed_size_uneven);
    BROKEN(key_row, key_row_short);
    BROKEN(key_row, key_row_beside);
    BROKEN(matmul, matmul_three);
    BROKEN(matmul, matmul_ninth_row);
    BROKEN(matmul, matmul_behind);
    BROKEN(matmul, matmul_below);
    BROKEN(matmul, matmul_last_columns);
    BROKEN(matmul, matmul_three_in_int16);
    BROKEN(match_keys, keys_three);
    BROKEN(match_keys, keys_behind);
    BROKEN(match_keys, keys_few);
    BROKEN(value_row, value_row_short);
    BROKEN(weigh_values, weigh_few_slots);
    BROKEN(weigh_values, weigh_more_slots);
    BROKEN(weigh_values, weigh_odd_head);
    BROKEN(weigh_values, weigh_behind);
    BROKEN(weigh_values, weigh_saturating_high);
    BROKEN(weigh_values, weigh_saturating_low);
    return ok;
}

static int elements_refused(void) {
    int ok = 1;
    BROKEN(absmax, absmax_of_positive);
    BROKEN(absmax, absmax_without_tail);
    BROKEN(quantise, quantise_truncating);
    BROKEN(quantise, quantise_without_tail);
    BROKEN(quantise, quantise_sum);
    BROKEN(quantise, quantise_squares);
    BROKEN(quantise, quantise_largest);
    BROKEN(quantise, quantise_one_row);
    BROKEN(dequantise, dequantise_signed_scale);
    BROKEN(dequantise, dequantise_without_tail);
    BROKEN(dequantise, dequantise_32_bits);
    BROKEN(add, add_without_limit);
    BROKEN(add, add_behind);
    BROKEN(gate, gate_without_limit);
    BROKEN(gate, gate_near_zero);
    BROKEN(spread, spread_truncating);
    BROKEN(spread, spread_in_16_bits);
    BROKEN(blend, blend_without_limit);
    BROKEN(blend, blend_over_the_end);
    BROKEN(blend, blend_without_tail);
    BROKEN(gelu, gelu_without_limit);
    BROKEN(gelu, gelu_far);
    BROKEN(quantise_wide, wide_truncating);
    BROKEN(quantise_wide, wide_low_to_64);
    BROKEN(quantise_wide, wide_sums);
    BROKEN(quantise_wide, wide_squares);
    BROKEN(dequantise_wide, dequantise_wide_without_tail);
    BROKEN(dequantise_wide, dequantise_wide_without_limit);
    BROKEN(softmax, softmax_sum);
    BROKEN(softmax, softmax_without_tail);
    BROKEN(softmax, softmax_far);
    BROKEN(softmax, softmax_truncating);
    BROKEN(softmax, softmax_behind_end);
    BROKEN(divide, divide_truncating);
    BROKEN(weights, weights_without_one);
    BROKEN(weights, weights_of_half);
    BROKEN(rotate, rotate_other_way);
    BROKEN(rotate, rotate_right_only);
    BROKEN(rotate, rotate_excess);
    BROKEN(rotate, rotate_one_head);
    BROKEN(block_sums, block_sums_of_31_bits);
    BROKEN(block_sums, block_sums_in_pairs);
    return ok;
}

/* A right kernel gets as far as the model, which is refused as it is empty, and is checked a single time. */
static int right_accepted(void) {
    zllm_model *model;
    under_test = *G;
    under_test.matmul = matmul_right;
    const zllm_result first = zllm_model_new("", 0, NULL, 0, NULL, NULL, &model);
    const int checks = products;
    const zllm_result second = zllm_model_new("", 0, NULL, 0, NULL, NULL, &model);
    const int right = first == ZLLM_E_MODEL && second == ZLLM_E_MODEL && checks > 0 && products == checks;
    printf("right kernel %s\n", right ? "checked once" : "NOT ACCEPTED, or checked again");
    return right;
}

int main(void) {
    int ok = products_refused();
    ok &= elements_refused();
    ok &= right_accepted(); /* last: from now on the address of the kernel under test is trusted */
    return !ok;
}
