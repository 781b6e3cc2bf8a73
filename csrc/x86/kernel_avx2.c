/* AVX2: vpmaddubsw multiplies unsigned by signed bytes and adds pairs of products in 16 bits, saturating. With the
 * activations' absolute values as the unsigned operand and their signs put on the weights (both are in [-127, 127]), a
 * pair is at most 2 * 127^2 = 32258 < 2^15: it never saturates, and vpmaddwd by ones adds pairs in 32 bits. (With a bias
 * instead of signs, 255 * 127 * 2 would.) Values are widened and multiplied by vpmaddwd: at most 2 * 32767 * 127.
 *
 * A pair of products is at most 127 (|v| + |w|). So two pairs may be added in 16 bits, and widened together, where the
 * four weights are 258 at most in all, and they nearly always are: a row's largest is 127, and most are far smaller. For
 * every 16 rows, packing finds an order of groups of four columns in which most groups have such a partner. (It adds in
 * bytes that saturate, where 255 may be more, so its limit is 254.)
 *
 * Packed matrix: for every 16 rows, [2][cols / 4][8][4], groups of columns in their order: a 32-byte load holds four
 * columns of eight rows; then uint16 [1 + cols / 4]: how many couples of groups there are, and where in the activations
 * each group's columns are.
 * Key cache: [slots / 8][dim / 4][8][4]. */
#include "../kernels.h"

#ifdef ZLLM_X86
#include "../fixed.h"
#include "../tables.h"

#define NAME(f) avx2_##f
#define TARGET __attribute__((target("avx2,bmi2")))
#define ADD_PAIRS(sum, a, b) (sum) = _mm256_add_epi32(sum, _mm256_madd_epi16(a, b))
#include "vectors256.h"

#define PACKED_SIZE avx2_packed_size
#define MATCH_KEYS avx2_match_keys

static size_t avx2_packed_size(uint32_t rows, uint32_t cols);
static void avx2_match_keys(const int8_t *cache, uint32_t slots, uint32_t dim, const int8_t *act, size_t act_stride,
                            const int32_t *act_sum, uint32_t batch, int32_t *acc, size_t acc_stride, const int8_t *next);

#include "../kernels_template.h"

static int avx2_supported(void) { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2"); }

/* Bytes of 16 rows: the weights, the number of couples, and where the columns of each group are. */
static size_t block_size(uint32_t cols) { return (size_t)16 * cols + round_up(2 * (1 + cols / 4), 64); }

static size_t avx2_packed_size(uint32_t rows, uint32_t cols) { return padded_rows(rows) / 16 * block_size(cols); }

/* Four columns of up to 16 rows; the others' are 0. */
static void read_group(const int8_t *w, uint32_t rows, uint32_t cols, uint32_t column, int8_t group[64]) {
    memset(group, 0, 64);
    for (uint32_t r = 0; r < 16 && r < rows; r++) memcpy(group + (size_t)r * 4, w + (size_t)r * cols + column, 4);
}

/* Pairs of absolute values, added, of a group. */
TARGET static __m256i heaviness(const int8_t group[64]) {
    const __m256i ones = _mm256_set1_epi8(1);
    const __m256i a = _mm256_abs_epi8(_mm256_loadu_si256((const __m256i *)group));
    const __m256i b = _mm256_abs_epi8(_mm256_loadu_si256((const __m256i *)(group + 32)));
    return _mm256_packus_epi16(_mm256_maddubs_epi16(a, ones), _mm256_maddubs_epi16(b, ones));
}

TARGET static int fit(__m256i a, __m256i b) {
    const __m256i most = _mm256_set1_epi8(-1); /* 255 */
    return _mm256_testz_si256(_mm256_cmpeq_epi8(_mm256_adds_epu8(a, b), most), most);
}

#define EXCHANGES 64u /* couples that are tried */
#define WAITING 16u /* groups that have no partner yet; an older one gives up */

typedef struct {
    __m256i heavy[WAITING];
    uint16_t column[WAITING];
    uint32_t count;
} waiting_t;

/* A waiting group that can be added to one, WAITING without. */
TARGET static uint32_t partner(const waiting_t *w, __m256i heavy) {
    for (uint32_t i = 0; i < w->count; i++)
        if (fit(w->heavy[i], heavy)) return i;
    return WAITING;
}

static void leave(waiting_t *w, uint32_t i) {
    for (w->count--; i < w->count; i++) {
        w->heavy[i] = w->heavy[i + 1];
        w->column[i] = w->column[i + 1];
    }
}

/* 16 rows of a matrix; those from `rows` on are zeros. */
typedef struct {
    const int8_t *w;
    uint32_t rows, cols;
} rows_t;

TARGET static __m256i heaviness_of(const rows_t *m, uint32_t column) {
    int8_t group[64];
    read_group(m->w, m->rows, m->cols, column, group);
    return heaviness(group);
}

/* Groups a and b do not fit together, but may fit with the two of a couple: then there are two couples. */
TARGET static int exchange(const rows_t *m, uint16_t a, uint16_t b, uint16_t *order, uint32_t couples) {
    const __m256i of_a = heaviness_of(m, a), of_b = heaviness_of(m, b);
    for (uint32_t i = 0; i < couples && i < EXCHANGES; i++) {
        uint16_t *c = order + 2 * i;
        const uint16_t first = c[0], second = c[1];
        const __m256i x = heaviness_of(m, first), y = heaviness_of(m, second);
        const int straight = fit(of_a, x) && fit(of_b, y);
        if (!straight && !(fit(of_a, y) && fit(of_b, x))) continue;
        c[0] = a;
        c[1] = straight ? first : second;
        order[2 * couples] = b;
        order[2 * couples + 1] = straight ? second : first;
        return 1;
    }
    return 0;
}

/* The order of the columns: couples from the front, single groups from the back. Returns how many couples. */
TARGET static uint16_t find_order(const rows_t *m, uint16_t *order) {
    waiting_t waiting = {.count = 0};
    uint32_t couples = 0, back = m->cols / 4;
    for (uint32_t column = 0; column < m->cols; column += 4) {
        const __m256i heavy = heaviness_of(m, column);
        const uint32_t other = partner(&waiting, heavy);
        if (other < WAITING) {
            order[2 * couples] = waiting.column[other];
            order[2 * couples++ + 1] = (uint16_t)column;
            leave(&waiting, other);
            continue;
        }
        if (waiting.count == WAITING) {
            order[--back] = waiting.column[0];
            leave(&waiting, 0);
        }
        waiting.heavy[waiting.count] = heavy;
        waiting.column[waiting.count++] = (uint16_t)column;
    }
    for (; waiting.count >= 2; waiting.count -= 2) {
        const uint16_t a = waiting.column[waiting.count - 1], b = waiting.column[waiting.count - 2];
        if (exchange(m, a, b, order, couples)) {
            couples++;
        } else {
            order[--back] = a;
            order[--back] = b;
        }
    }
    if (waiting.count > 0) order[--back] = waiting.column[0];
    return (uint16_t)couples;
}

static void avx2_pack(const int8_t *w, uint32_t rows, uint32_t cols, int8_t *packed) {
    for (uint32_t j = 0; j < padded_rows(rows); j += 16, packed += block_size(cols)) {
        const uint32_t left = j < rows ? rows - j : 0;
        const int8_t *block = w + (size_t)(left ? j : 0) * cols;
        uint16_t *order = (uint16_t *)(void *)(packed + (size_t)16 * cols);
        order[0] = find_order(&(rows_t){block, left, cols}, order + 1);
        for (uint32_t g = 0; g < cols / 4; g++) {
            int8_t group[64], *p = packed + (size_t)g * 32;
            read_group(block, left, cols, order[1 + g], group);
            memcpy(p, group, 32);
            memcpy(p + (size_t)cols * 8, group + 32, 32);
        }
    }
}

static void avx2_key_row(const int8_t *key, uint32_t slot, uint32_t dim, int8_t *cache) {
    int8_t *p = cache + (size_t)(slot / 8) * 8 * dim + (slot % 8) * 4;
    for (uint32_t i = 0; i < dim; i += 4) memcpy(p + (size_t)i * 8, key + i, 4);
}

/* Activations, their absolute values, and where the columns of each group are. While weights are read, what lies `ahead`
 * bytes behind them may be prefetched. */
typedef struct {
    const int8_t *act, *absolute;
    size_t stride, ahead;
    uint32_t cols, couples;
    const uint16_t *order;
} operand_t;

/* Activations `a` and their absolute values `b` times eight rows' weights: 16 sums of two products. */
TARGET static inline __m256i product(__m256i w, __m256i a, __m256i b) {
    return _mm256_maddubs_epi16(b, _mm256_sign_epi8(w, a));
}

/* R rows of activations, and 16 rows of weights. */
#define AVX2_BLOCK(R, NAME, AHEAD)                                                                                    \
    TARGET static void NAME(const int8_t *w, const operand_t *o, int32_t *acc, size_t acc_stride) {                   \
        const __m256i ones = _mm256_set1_epi16(1);                                                                    \
        const int8_t *v = w + (size_t)o->cols * 8, *end = v;                                                          \
        const uint16_t *at = o->order;                                                                                \
        __m256i s[R][2];                                                                                              \
        for (int r = 0; r < R; r++) s[r][0] = s[r][1] = _mm256_setzero_si256();                                       \
        for (uint32_t k = 0; k < o->couples; k++, w += 64, v += 64, at += 2) {                                        \
            const __m256i w0 = load(w), w1 = load(w + 32), v0 = load(v), v1 = load(v + 32);                           \
            AHEAD(w, o->ahead);                                                                                       \
            AHEAD(v, o->ahead);                                                                                       \
            for (int r = 0; r < R; r++) {                                                                             \
                const int8_t *x = o->act + r * o->stride, *y = o->absolute + (size_t)r * o->cols;                     \
                const __m256i a0 = four_of(x + at[0]), b0 = four_of(y + at[0]);                                       \
                const __m256i a1 = four_of(x + at[1]), b1 = four_of(y + at[1]);                                       \
                const __m256i p = _mm256_add_epi16(product(w0, a0, b0), product(w1, a1, b1));                         \
                const __m256i q = _mm256_add_epi16(product(v0, a0, b0), product(v1, a1, b1));                         \
                s[r][0] = _mm256_add_epi32(s[r][0], _mm256_madd_epi16(p, ones));                                      \
                s[r][1] = _mm256_add_epi32(s[r][1], _mm256_madd_epi16(q, ones));                                      \
            }                                                                                                         \
        }                                                                                                             \
        for (; w < end; w += 32, v += 32, at++) {                                                                     \
            const __m256i w0 = load(w), v0 = load(v);                                                                 \
            AHEAD(w, o->ahead);                                                                                       \
            AHEAD(v, o->ahead);                                                                                       \
            for (int r = 0; r < R; r++) {                                                                             \
                const __m256i a = four_of(o->act + r * o->stride + *at);                                              \
                const __m256i b = four_of(o->absolute + (size_t)r * o->cols + *at);                                   \
                s[r][0] = _mm256_add_epi32(s[r][0], _mm256_madd_epi16(product(w0, a, b), ones));                      \
                s[r][1] = _mm256_add_epi32(s[r][1], _mm256_madd_epi16(product(v0, a, b), ones));                      \
            }                                                                                                         \
        }                                                                                                             \
        for (int r = 0; r < R; r++) {                                                                                 \
            _mm256_storeu_si256((__m256i *)(acc + r * acc_stride), s[r][0]);                                          \
            _mm256_storeu_si256((__m256i *)(acc + r * acc_stride + 8), s[r][1]);                                      \
        }                                                                                                             \
    }

#define NO_PREFETCH(p, ahead) ((void)0)
AVX2_BLOCK(1, block1, NO_PREFETCH)
AVX2_BLOCK(2, block2, NO_PREFETCH)
AVX2_BLOCK(4, block4, NO_PREFETCH)
AVX2_BLOCK(1, block1_prefetching, prefetch)
AVX2_BLOCK(2, block2_prefetching, prefetch)
AVX2_BLOCK(4, block4_prefetching, prefetch)

typedef void block_t(const int8_t *w, const operand_t *o, int32_t *acc, size_t acc_stride);
static block_t *const BLOCKS[2][5] = {{NULL, block1, block2, NULL, block4},
                                      {NULL, block1_prefetching, block2_prefetching, NULL, block4_prefetching}};

/* Rows of a matrix, or slots of a cache of keys. Sixteen follow the ones before after `block` bytes, and their order after
 * `order_step`. Rows below `prefetching` prefetch what lies `ahead` bytes behind them. */
typedef struct {
    const int8_t *packed;
    uint32_t rows, cols;
    size_t block;
    const int8_t *order; /* of the first 16 rows: how many couples, then where the columns of each group are */
    size_t order_step, ahead;
    uint32_t prefetching;
} packed_t;

TARGET static void multiply(const packed_t *m, const int8_t *act, size_t act_stride, uint32_t batch, int32_t *acc,
                            size_t acc_stride) {
    int8_t absolute[4 * ZLLM_MAX_COLS];
    for (uint32_t r = 0; r < batch;) {
        const uint32_t n = batch - r >= 4 ? 4 : batch - r >= 2 ? 2 : 1;
        operand_t o = {.act = act + r * act_stride, .absolute = absolute, .stride = act_stride, .ahead = m->ahead,
                       .cols = m->cols};
        for (uint32_t k = 0; k < n; k++)
            for (uint32_t i = 0; i < m->cols; i += 32)
                _mm256_storeu_si256((__m256i *)(absolute + (size_t)k * m->cols + i),
                                    _mm256_abs_epi8(load(o.act + k * act_stride + i)));
        for (uint32_t j = 0; j < m->rows; j += 16) {
            const int8_t *w = m->packed + j / 16 * m->block;
            int32_t *out = acc + r * acc_stride + j;
            const uint16_t *order = (const uint16_t *)(const void *)(m->order + j / 16 * m->order_step);
            o.couples = order[0];
            o.order = order + 1;
            BLOCKS[r == 0 && j < m->prefetching][n](w, &o, out, acc_stride);
        }
        r += n;
    }
}

#define PART_BYTES (256u << 10) /* of weights that stay in the second cache while all activations meet them */

/* Part by part. The first activations to meet sixteen rows prefetch the next sixteen, which are those of the next part at a
 * part's end. */
static void avx2_matmul(const int8_t *packed, uint32_t rows, uint32_t cols, const int8_t *act, size_t act_stride,
                        const int32_t *act_sum, uint32_t batch, int32_t *acc, size_t acc_stride) {
    const size_t block = block_size(cols);
    const uint32_t most = (uint32_t)(PART_BYTES / block + 1) * 16;
    (void)act_sum;
    for (uint32_t j = 0, n; j < rows; j += n) {
        const int8_t *w = packed + j / 16 * block;
        n = rows - j < most ? rows - j : most;
        const packed_t m = {w, n, cols, block, w + (size_t)16 * cols, block, block, j + n < rows ? n : n - 16};
        multiply(&m, act, act_stride, batch, acc + j, acc_stride);
    }
}

/* Keys come one at a time, so that their columns stay in order, and all groups single. */
static void avx2_match_keys(const int8_t *cache, uint32_t slots, uint32_t dim, const int8_t *act, size_t act_stride,
                            const int32_t *act_sum, uint32_t batch, int32_t *acc, size_t acc_stride, const int8_t *next) {
    uint16_t order[1 + 256 / 4] = {0};
    const packed_t m = {.packed = cache,
                        .rows = slots,
                        .cols = dim,
                        .block = (size_t)16 * dim,
                        .order = (const int8_t *)order,
                        .ahead = (uintptr_t)next - (uintptr_t)cache,
                        .prefetching = next == NULL ? 0 : slots};
    (void)act_sum;
    for (uint32_t g = 0; g < dim / 4; g++) order[1 + g] = (uint16_t)(4 * g);
    multiply(&m, act, act_stride, batch, acc, acc_stride);
}

const zllm_kernel zllm_kernel_avx2 = KERNEL_TABLE("avx2", &zllm_operations_avx2);
#endif
