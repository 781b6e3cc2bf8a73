/* Whether a kernel gives the integers that the scalar code gives: every primitive, on vectors from a fixed generator,
 * up to the limits that the coding path keeps to (docs/arithmetic.md). Outputs are compared with what lies behind them,
 * so that writing too much is found too. About 2 ms. */
#include <stdatomic.h>
#include <string.h>

#include "selfcheck.h"
#include "zllm_testing.h"

#define SCALAR (&zllm_kernel_generic)
#define GUARD 32u /* elements between rows and behind outputs: they must stay as they are */

static void fill_scales(source_t *s, int16_t *x, size_t n, uint32_t low) {
    for (size_t i = 0; i < n; i++) x[i] = (int16_t)between(s, s->mode == LARGEST ? 32767 : low, 32767);
}

/* Products. The scalar kernel computes all rows once; the other one must give the same for every batch size. */

#define BATCH 16u
#define COLS 256u
#define ROWS 64u

static const uint32_t BATCHES[] = {1, 2, 3, 4, 5, 7, 8, 9, 16};

typedef struct {
    _Alignas(64) int8_t packed[2][2 * ROWS * COLS]; /* whatever else a layout has */
    _Alignas(64) int8_t keys[2][ROWS * COLS];
    _Alignas(64) int8_t weights[ROWS * COLS];
    _Alignas(64) int8_t act[BATCH * (COLS + GUARD)];
    _Alignas(64) int32_t acc[2][BATCH * (ROWS + GUARD)];
    int32_t sums[BATCH];
} product_t;

/* Of the packed matrix, for even batches in two parts, or of the key cache, with or without something to prefetch: the
 * kernel's (0), or the scalar code's (1). */
static void multiply(const zllm_kernel *k, product_t *p, int which, int keys, uint32_t rows, uint32_t cols,
                     uint32_t batch) {
    const size_t act_stride = cols + GUARD, stride = rows + GUARD;
    const uint32_t first = batch % 2 == 0 && rows > ZLLM_ROW_ALIGN ? ZLLM_ROW_ALIGN : 0;
    const int8_t *packed = p->packed[which], *next = batch % 2 ? p->weights : NULL;
    int32_t *acc = p->acc[which];
    if (keys) {
        k->match_keys(p->keys[which], rows, cols, p->act, act_stride, p->sums, batch, acc, stride, next);
        return;
    }
    if (first) k->matmul(packed, first, cols, p->act, act_stride, p->sums, batch, acc, stride);
    k->matmul(packed + k->packed_size(first, cols), rows - first, cols, p->act, act_stride, p->sums, batch, acc + first,
              stride);
}

static int product_equal(const zllm_kernel *k, product_t *p, int keys, uint32_t rows, uint32_t cols, uint32_t batch) {
    const size_t stride = rows + GUARD;
    memset(p->acc[0], 0x55, sizeof p->acc[0]);
    multiply(k, p, 0, keys, rows, cols, batch);
    for (uint32_t r = 0; r < BATCH; r++)
        for (uint32_t j = 0; j < stride; j++)
            if (p->acc[0][r * stride + j] != (r < batch && j < rows ? p->acc[1][r * stride + j] : 0x55555555)) return 0;
    return 1;
}

/* Weights of all sizes in all rows, or small ones with some large among them, as models have them. */
static void fill_weights(source_t *s, int8_t *w, size_t n) {
    fill8(s, w, n);
    if (s->mode != ANY || draw(s) & 1) return;
    for (size_t i = 0; i < n; i++)
        if (draw(s) % 32) w[i] = (int8_t)(w[i] / 4);
}

static int product_matches(const zllm_kernel *k, source_t *s, uint32_t rows, uint32_t cols) {
    product_t p;
    const uint32_t padded = padded_rows(rows);
    fill_weights(s, p.weights, (size_t)rows * cols);
    fill8(s, p.act, sizeof p.act);
    for (uint32_t r = 0; r < BATCH; r++) {
        p.sums[r] = 0;
        for (uint32_t i = 0; i < cols; i++) p.sums[r] += p.act[r * (cols + GUARD) + i];
    }
    if (k->packed_size(rows, cols) > sizeof p.packed[0]) return 0;
    memset(p.packed, 0x55, sizeof p.packed);
    k->pack(p.weights, rows, cols, p.packed[0]);
    SCALAR->pack(p.weights, rows, cols, p.packed[1]);
    multiply(SCALAR, &p, 1, 0, padded, cols, BATCH);
    int ok = 1;
    for (size_t i = 0; i < COUNT(BATCHES); i++) ok &= product_equal(k, &p, 0, padded, cols, BATCHES[i]);
    for (uint32_t i = 0; i < padded + padded / 4; i++) { /* a quarter is replaced */
        const uint32_t slot = i < padded ? i : draw(s) % padded;
        fill8(s, p.weights, cols);
        k->key_row(p.weights, slot, cols, p.keys[0]);
        SCALAR->key_row(p.weights, slot, cols, p.keys[1]);
    }
    for (size_t i = 0; i < COUNT(BATCHES); i++) {
        multiply(SCALAR, &p, 1, 1, padded, cols, BATCHES[i]);
        ok &= product_equal(k, &p, 1, padded, cols, BATCHES[i]);
    }
    return ok;
}

#define CACHE 16384u
#define SLOTS 512u
#define DIM 256u

typedef struct {
    _Alignas(64) int8_t cache[2][CACHE];
    _Alignas(64) int16_t weights[BATCH * (SLOTS + GUARD)];
    _Alignas(64) int32_t acc[2][BATCH * DIM + GUARD];
    int8_t values[CACHE + CACHE / 4];
} values_t;

/* The cache has all the slots that it has room for in steps of 32; those from `slots` on must not count. */
static int values_match(const zllm_kernel *k, source_t *s, uint32_t slots, uint32_t dim) {
    values_t v;
    const uint32_t room = (slots + 31) / 32 * 32;
    memset(v.cache, 0, sizeof v.cache);
    fill8(s, v.values, sizeof v.values);
    for (uint32_t i = 0; i < room + room / 4; i++) { /* a quarter is replaced */
        const uint32_t slot = i < room ? i : draw(s) % room;
        k->value_row(v.values + (size_t)i * dim, slot, dim, v.cache[0]);
        SCALAR->value_row(v.values + (size_t)i * dim, slot, dim, v.cache[1]);
    }
    fill_scales(s, v.weights, COUNT(v.weights), 0);
    SCALAR->weigh_values(v.cache[1], slots, dim, v.weights, SLOTS + GUARD, BATCH, v.acc[1], NULL);
    int ok = 1;
    for (size_t i = 0; i < COUNT(BATCHES); i++) {
        const size_t used = (size_t)BATCHES[i] * dim;
        memset(v.acc[0], 0x55, sizeof v.acc[0]);
        k->weigh_values(v.cache[0], slots, dim, v.weights, SLOTS + GUARD, BATCHES[i], v.acc[0],
                        BATCHES[i] % 2 ? v.values : NULL);
        ok &= memcmp(v.acc[0], v.acc[1], used * sizeof(int32_t)) == 0;
        for (size_t d = used; d < used + GUARD; d++) ok &= v.acc[0][d] == 0x55555555;
    }
    return ok;
}

/* Elementwise primitives: k and the scalar code fill got and want. */

#define LENGTH 256u

typedef struct {
    int32_t x[LENGTH], y[LENGTH];
    int16_t scale[LENGTH];
    int32_t out[2][LENGTH + GUARD]; /* outputs of any type, k's and the scalar code's */
} vectors_t;

static int outputs_equal(const vectors_t *v) { return memcmp(v->out[0], v->out[1], sizeof v->out[0]) == 0; }

/* Every element in turn is the largest. */
static int absmax_matches(const zllm_kernel *k, source_t *s, vectors_t *v, uint32_t n) {
    fill32(s, v->x, n, 1u << 29);
    int ok = k->absmax(v->x, n) == SCALAR->absmax(v->x, n);
    for (uint32_t i = 0; i < n; i++) {
        const int32_t x = v->x[i];
        v->x[i] = i % 2 ? 1 << 30 : -(1 << 30);
        ok &= k->absmax(v->x, n) == 1u << 30;
        v->x[i] = x;
    }
    return ok;
}

/* Rows of n numbers each, as many as there is room for, but at most three; all with gaps behind them. */
static int quantise_matches(const zllm_kernel *k, source_t *s, vectors_t *v, uint32_t n) {
    const size_t stride = n + 3;
    const uint32_t most = (uint32_t)(LENGTH / stride), rows = most < 3 ? most : 3;
    quantised_t found[2][3] = {0};
    for (uint32_t r = 0; r < rows; r++) fill32(s, v->x + r * stride, n, 1u << 30);
    k->quantise(v->x, stride, rows, n, (int8_t *)v->out[0], stride, found[0]);
    SCALAR->quantise(v->x, stride, rows, n, (int8_t *)v->out[1], stride, found[1]);
    return memcmp(found[0], found[1], sizeof found[0]) == 0 && outputs_equal(v);
}

/* A shift is at least the sum's bits less 14: 5 for 32 columns, the fewest. */
static int dequantise_matches(const zllm_kernel *k, source_t *s, vectors_t *v, uint32_t n) {
    const uint32_t shift = 5 + draw(s) % 58, mantissa = between(s, 1u << 15, (1u << 16) - 1);
    const uint32_t most = ZLLM_MAX_COLS * 127u * 127u, bits = shift + 14 < 28 ? shift + 14 : 28;
    fill32(s, v->x, n, bits < 28 ? ((uint32_t)1 << bits) - 1 : most);
    fill_scales(s, v->scale, n, 1);
    k->dequantise(v->x, v->scale, n, mantissa, shift, v->out[0]);
    SCALAR->dequantise(v->x, v->scale, n, mantissa, shift, v->out[1]);
    return outputs_equal(v);
}

static int add_matches(const zllm_kernel *k, source_t *s, vectors_t *v, uint32_t n) {
    fill32(s, v->x, n, ZLLM_LIMIT);
    fill32(s, v->y, n, 1u << 30);
    for (int i = 0; i < 2; i++) memcpy(v->out[i], v->x, n * sizeof *v->x);
    k->add(v->out[0], v->y, n);
    SCALAR->add(v->out[1], v->y, n);
    return outputs_equal(v);
}

static int spread_matches(const zllm_kernel *k, source_t *s, vectors_t *v, uint32_t n) {
    int8_t q[LENGTH];
    const int32_t scale = (int32_t)between(s, 1, 32767);
    const uint32_t shift = 1 + draw(s) % 28;
    fill8(s, q, n);
    k->spread(q, n, scale, shift, v->out[0]);
    SCALAR->spread(q, n, scale, shift, v->out[1]);
    return outputs_equal(v);
}

static int blend_matches(const zllm_kernel *k, source_t *s, vectors_t *v, uint32_t n) {
    int32_t z[LENGTH];
    const int16_t by[3] = {(int16_t)number(s, 32767), (int16_t)number(s, 32767), (int16_t)number(s, 32767)};
    fill32(s, v->x, n, 1u << 30);
    fill32(s, v->y, n, 1u << 30);
    fill32(s, z, n, 1u << 30);
    for (int i = 0; i < 2; i++) memcpy(v->out[i], v->x, n * sizeof *v->x);
    k->blend(v->out[0], v->y, z, n, by);
    SCALAR->blend(v->out[1], v->y, z, n, by);
    return outputs_equal(v);
}

static int gate_matches(const zllm_kernel *k, source_t *s, vectors_t *v, uint32_t n) {
    fill32(s, v->x, n, 1u << 30);
    fill32(s, v->y, n, 1u << 30);
    k->gate(v->x, v->y, n, v->out[0]);
    SCALAR->gate(v->x, v->y, n, v->out[1]);
    return outputs_equal(v);
}

/* Half of the rows are near zero, where the sigmoid is not constant. */
static int gelu_matches(const zllm_kernel *k, source_t *s, vectors_t *v, uint32_t n) {
    fill32(s, v->x, n, 1u << 30);
    if (draw(s) % 2)
        for (uint32_t i = 0; i < n; i++) v->x[i] = number(s, 5000);
    k->gelu(v->x, n, v->out[0]);
    SCALAR->gelu(v->x, n, v->out[1]);
    return outputs_equal(v);
}

/* High parts, and behind a gap the low ones. */
static int quantise_wide_matches(const zllm_kernel *k, source_t *s, vectors_t *v, uint32_t n) {
    int32_t sums[2][2], reciprocal;
    uint64_t squares[2];
    uint32_t shift;
    fill32(s, v->x, n, 1u << 30);
    fixed_reciprocal(SCALAR->absmax(v->x, n), &shift, &reciprocal);
    for (int i = 0; i < 2; i++) {
        int8_t *out = (int8_t *)v->out[i];
        (i ? SCALAR : k)->quantise_wide(v->x, n, shift, reciprocal, out, out + 2 * LENGTH, sums[i], &squares[i]);
    }
    return outputs_equal(v) && memcmp(sums[0], sums[1], sizeof sums[0]) == 0 && squares[0] == squares[1];
}

static int dequantise_wide_matches(const zllm_kernel *k, source_t *s, vectors_t *v, uint32_t n) {
    const uint32_t mantissa = between(s, 1u << 15, (1u << 16) - 1), shift = 1 + draw(s) % 62;
    fill32(s, v->x, n, 127 * 127 * ZLLM_MAX_COLS);
    fill32(s, v->y, n, 127 * 64 * ZLLM_MAX_COLS);
    fill_scales(s, v->scale, n, 1);
    k->dequantise_wide(v->x, v->y, v->scale, n, mantissa, shift, v->out[0]);
    SCALAR->dequantise_wide(v->x, v->y, v->scale, n, mantissa, shift, v->out[1]);
    return outputs_equal(v);
}

/* The last one is often the largest, by little. */
static void fill_scores(source_t *s, int32_t *x, uint32_t n) {
    int32_t most = -(1 << 30);
    fill32(s, x, n, 1u << 30);
    for (uint32_t i = 0; i < n; i++) most = x[i] > most ? x[i] : most;
    if (most < 1 << 29 && draw(s) % 2) x[n - 1] = most + (int32_t)(draw(s) % 100000);
}

static int softmax_matches(const zllm_kernel *k, source_t *s, vectors_t *v, uint32_t n) {
    fill_scores(s, v->x, n);
    fill_scales(s, v->scale, n, 0);
    const uint32_t sum = k->softmax(v->x, v->scale, n, (int16_t *)v->out[0]);
    return sum == SCALAR->softmax(v->x, v->scale, n, (int16_t *)v->out[1]) && outputs_equal(v);
}

/* What is divided by a sum of weights is a sum of values, each at most 127, weighed by them. */
static int divide_matches(const zllm_kernel *k, source_t *s, vectors_t *v, uint32_t n) {
    const uint32_t sum = between(s, 32767, 512 * 32767);
    const int32_t reciprocal = (int32_t)(((uint64_t)1 << 38) / sum);
    fill32(s, v->x, n, 127 * sum);
    k->divide(v->x, n, reciprocal, v->out[0]);
    SCALAR->divide(v->x, n, reciprocal, v->out[1]);
    return outputs_equal(v);
}

static int weights_match(const zllm_kernel *k, source_t *s, vectors_t *v, uint32_t n) {
    fill_scores(s, v->x, n);
    k->weights(v->x, n, (uint32_t *)v->out[0]);
    SCALAR->weights(v->x, n, (uint32_t *)v->out[1]);
    return outputs_equal(v);
}

/* Weights are up to 2^26 - 2047. */
static int block_sums_match(const zllm_kernel *k, source_t *s, vectors_t *v, uint32_t n) {
    uint32_t w[LENGTH];
    const uint32_t most = (1u << 26) - 2047, blocks = 1 + n % (LENGTH / ZLLM_SUM_BLOCK);
    for (uint32_t i = 0; i < LENGTH; i++) w[i] = s->mode == LARGEST ? most : between(s, 1, most);
    k->block_sums(w, blocks, (uint32_t *)v->out[0]);
    SCALAR->block_sums(w, blocks, (uint32_t *)v->out[1]);
    return outputs_equal(v);
}

/* As many heads as there is room for, but at most three. */
static int rotate_matches(const zllm_kernel *k, source_t *s, vectors_t *v, uint32_t half) {
    const uint32_t n = 2 * half, most = LENGTH / n, heads = most < 3 ? most : 3;
    int32_t excess[2][3] = {0};
    for (uint32_t h = 0; h < heads; h++) fill32(s, v->x + h * n, n, ZLLM_LIMIT);
    for (uint32_t i = 0; i < n; i++) v->y[i] = number(s, 32767);
    memcpy(v->out[0], v->x, heads * n * sizeof *v->x);
    memcpy(v->out[1], v->x, heads * n * sizeof *v->x);
    k->rotate(v->out[0], heads, half, v->y, excess[0]);
    SCALAR->rotate(v->out[1], heads, half, v->y, excess[1]);
    return memcmp(excess[0], excess[1], sizeof excess[0]) == 0 && outputs_equal(v);
}

typedef int matches_t(const zllm_kernel *k, source_t *s, vectors_t *v, uint32_t n);

static int elements_match(const zllm_kernel *k, source_t *s) {
    static matches_t *const each[] = {absmax_matches, quantise_matches, dequantise_matches, add_matches,
                                      gate_matches,   softmax_matches,  divide_matches,     weights_match,
                                      block_sums_match};
    static const uint32_t lengths[] = {1, 17, 64, 99}, halves[] = {16, 32, 48, 128};
    vectors_t v;
    for (uint32_t round = 0; round < 32; round++) {
        const uint32_t i = round % 4;
        memset(v.out, 0x55, sizeof v.out);
        for (size_t f = 0; f < COUNT(each); f++)
            if (!each[f](k, s, &v, lengths[i])) return 0;
        if (!rotate_matches(k, s, &v, halves[i])) return 0;
    }
    return 1;
}

/* What only some networks need. */
static int variants_match(const zllm_kernel *k, source_t *s) {
    static matches_t *const each[] = {spread_matches, blend_matches, gelu_matches, quantise_wide_matches,
                                      dequantise_wide_matches};
    static const uint32_t lengths[] = {1, 17, 64, 99, 256};
    vectors_t v;
    for (uint32_t round = 0; round < 20; round++) {
        const uint32_t n = lengths[round % COUNT(lengths)];
        memset(v.out, 0x55, sizeof v.out);
        for (size_t f = 0; f < COUNT(each); f++)
            if (!each[f](k, s, &v, n)) return 0;
    }
    return 1;
}

static int primitives_match(const zllm_kernel *k, uint64_t seed) {
    static const uint32_t matrices[][2] = {{32, 32}, {33, 64}, {64, 96}, {40, 256}};
    static const uint32_t caches[][2] = {{2, 32}, {30, 96}, {34, 64}, {64, 256}, {512, 32}, {512, 32}, {512, 32}};
    for (source_t s = {seed, ANY}; s.mode < MODES; s.mode++) {
        if (!elements_match(k, &s)) return 0;
        for (size_t i = 0; i < COUNT(matrices); i++)
            if (!product_matches(k, &s, matrices[i][0], matrices[i][1])) return 0;
        for (size_t i = 0; i < COUNT(caches); i++)
            if (!values_match(k, &s, caches[i][0], caches[i][1])) return 0;
    }
    for (source_t s = {~seed, ANY}; s.mode < MODES; s.mode++)
        if (!variants_match(k, &s)) return 0;
    return 1;
}

int zllm_kernel_matches(const zllm_kernel *k, uint64_t seed) {
    return primitives_match(k, seed) && zllm_operations_match(k->predictor, seed);
}

/* What matched. Two threads may both check the same: they only write the same. */
#define MOST_RIGHT 8u
typedef _Atomic(const void *) right_t[MOST_RIGHT];

static int is_right(right_t right, const void *what) {
    for (size_t i = 0; i < MOST_RIGHT; i++)
        if (atomic_load(&right[i]) == what) return 1;
    return 0;
}

static void note_right(right_t right, const void *what) {
    for (size_t i = 0; i < MOST_RIGHT; i++) {
        const void *none = NULL;
        if (atomic_compare_exchange_strong(&right[i], &none, what) || none == what) break;
    }
}

zllm_result zllm_operations_trusted(const struct operations *o) {
    static right_t right;
    if (o == SCALAR->predictor || is_right(right, o)) return ZLLM_OK;
    if (!zllm_operations_match(o, 0)) return ZLLM_E_KERNEL_WRONG;
    note_right(right, o);
    return ZLLM_OK;
}

zllm_result zllm_kernel_trusted(const zllm_kernel *k) {
    static right_t right;
    if (k != SCALAR && !is_right(right, k)) {
        if (!primitives_match(k, 0)) return ZLLM_E_KERNEL_WRONG;
        note_right(right, k);
    }
    return zllm_operations_trusted(k->predictor);
}

zllm_result zllm_kernel_check(const char *name) {
    const zllm_kernel *k;
    const zllm_result rc = zllm_kernel_find(name, &k);
    if (rc != ZLLM_OK) return rc;
    return zllm_kernel_matches(k, 0) ? ZLLM_OK : ZLLM_E_KERNEL_WRONG;
}
