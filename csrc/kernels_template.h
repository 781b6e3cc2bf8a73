/* The elementwise primitives, included once per instruction set: the same C, compiled with other target attributes.
 * Define NAME and TARGET before including. Loops are plain so that the compiler vectorises them. */
#define NOINLINE __attribute__((noinline))

TARGET static uint32_t NAME(absmax)(const int32_t *x, uint32_t n) {
    int32_t m = 0;
    uint32_t i = 0;
#ifdef ABSMAX
    i = ABSMAX(x, n, &m);
#endif
    for (; i < n; i++) {
        const int32_t a = x[i] < 0 ? -x[i] : x[i];
        m = a > m ? a : m;
    }
    return (uint32_t)m;
}

TARGET static inline void NAME(quantise_row)(const int32_t *restrict x, uint32_t n, uint32_t shift, int32_t reciprocal,
                                             int8_t *restrict q, int32_t *sum, int32_t *squares) {
    int32_t s = 0, ss = 0;
    uint32_t i = 0;
#ifdef QUANTISE
    i = QUANTISE(x, n, shift, reciprocal, q, &s, &ss);
#endif
    for (; i < n; i++) {
        const int64_t y = (int64_t)(int32_t)((uint32_t)x[i] << shift);
        const int32_t v = (int8_t)low_bits(y * reciprocal + ((int64_t)1 << 53), 54);
        q[i] = (int8_t)v;
        s += v;
        ss += v * v;
    }
    *sum = s;
    *squares = ss;
}

TARGET static void NAME(quantise)(const int32_t *x, size_t stride, uint32_t rows, uint32_t n, int8_t *q, size_t q_stride,
                                  quantised_t *found) {
    for (uint32_t r = 0; r < rows; r++, x += stride, q += q_stride) {
        uint32_t shift;
        int32_t reciprocal;
        found[r].largest = NAME(absmax)(x, n);
        fixed_reciprocal(found[r].largest, &shift, &reciprocal);
        NAME(quantise_row)(x, n, shift, reciprocal, q, &found[r].sum, &found[r].squares);
    }
}

TARGET static void NAME(dequantise)(const int32_t *restrict acc, const int16_t *restrict scale, uint32_t n,
                                    uint32_t mantissa, uint32_t shift, int32_t *restrict out) {
    const int64_t half = (int64_t)1 << (shift - 1);
    if (shift > 32) {
        for (uint32_t i = 0; i < n; i++) {
            const int32_t m = (int32_t)(((uint32_t)scale[i] * mantissa) >> 15);
            out[i] = (int32_t)shift_right((int64_t)acc[i] * (int64_t)m + half, shift);
        }
        return;
    }
    uint32_t i = 0;
#ifdef DEQUANTISE
    for (; i + DEQUANTISE_LANES <= n; i += DEQUANTISE_LANES) DEQUANTISE(acc + i, scale + i, mantissa, shift, out + i);
#endif
    for (; i < n; i++) {
        const int32_t m = (int32_t)(((uint32_t)scale[i] * mantissa) >> 15);
        out[i] = low_bits((int64_t)acc[i] * (int64_t)m + half, shift);
    }
}

TARGET static void NAME(add)(int32_t *restrict x, const int32_t *restrict y, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) {
        int32_t v = x[i] + y[i]; /* |x| < 2^30, |y| <= 2^30 */
        v = v > ZLLM_LIMIT ? ZLLM_LIMIT : v;
        x[i] = v < -ZLLM_LIMIT ? -ZLLM_LIMIT : v;
    }
}

TARGET static void NAME(spread)(const int8_t *restrict q, uint32_t n, int32_t scale, uint32_t shift,
                                int32_t *restrict out) {
    const int32_t half = 1 << (shift - 1);
    for (uint32_t i = 0; i < n; i++) out[i] = shift_right32(q[i] * scale + half, shift);
}

/* A number is 2^13 h + l, and what is shifted by 13 is 2^13 times the products of h, plus those of l, so that 32 bits are
 * enough: h has 14 bits and a sign, l 13. y and z, which are only read, may be the same. */
TARGET static void NAME(blend)(int32_t *restrict x, const int32_t *restrict y, const int32_t *restrict z, uint32_t n,
                               const int16_t *by) {
    const int32_t a = by[0], b = by[1], c = by[2];
    for (uint32_t i = 0; i < n; i++) {
        const int32_t p = clamp32(x[i], ZLLM_BLEND), q = clamp32(y[i], ZLLM_BLEND), r = clamp32(z[i], ZLLM_BLEND);
        const int32_t high = shift_right32(p, 13) * a + shift_right32(q, 13) * b + shift_right32(r, 13) * c;
        const int32_t low = (p & 8191) * a + (q & 8191) * b + (r & 8191) * c;
        x[i] = clamp32(high + shift_right32(low + (1 << 12), 13), ZLLM_LIMIT);
    }
}

/* sigmoid16 of fixed.h in vectors of 16-bit numbers, where the kernel defines them (V16): compilers do not find the
 * rounding multiplication by themselves. */
#ifdef V16
TARGET static inline V16 NAME(sigmoid)(V16 x) {
    const V16 z = V16_MULTIPLY(V16_SHIFT_LEFT(V16_MIN(V16_ABS(x), V16_SET(8191)), 2), V16_SET(23637));
    V16 t = V16_ADD(V16_MULTIPLY(z, V16_SET(1514)), V16_SET(-7793));
    t = V16_ADD(V16_MULTIPLY(z, t), V16_SET(22710));
    t = V16_SUB(V16_SET(32767), V16_MULTIPLY(z, t));
    for (int i = 0; i < 4; i++) t = V16_MULTIPLY(t, t);
    const V16 c = V16_SUB(V16_ADD(t, t), V16_SET(32767)); /* wraps twice, to what it is without */
    V16 w = V16_ADD(V16_MULTIPLY(c, V16_SET(-110)), V16_SET(321));
    w = V16_ADD(V16_MULTIPLY(c, w), V16_SET(-798));
    w = V16_ADD(V16_MULTIPLY(c, w), V16_SET(2407));
    w = V16_ADD(V16_MULTIPLY(c, w), V16_SET(-7283));
    w = V16_ADD(V16_MULTIPLY(c, w), V16_SET(21845));
    return V16_IF_NEGATIVE(x, V16_SUB(V16_SET(-32768), w), w); /* 32768 - w modulo 2^16 */
}
#endif

TARGET static void NAME(gate)(const int32_t *restrict gate, const int32_t *restrict up, uint32_t n,
                              int32_t *restrict out) {
    uint32_t i = 0;
#ifdef V16
    for (; i + V16_LANES <= n; i += V16_LANES) {
        const V16 g = V16_CLAMP(gate + i), u = V16_CLAMP(up + i);
        V16_PRODUCTS(V16_MULTIPLY(g, NAME(sigmoid)(g)), u, out + i);
    }
#endif
    for (; i < n; i++) {
        const int16_t g = (int16_t)clamp32(gate[i], 32767), u = (int16_t)clamp32(up[i], 32767);
        out[i] = multiply15(g, sigmoid16(g)) * u;
    }
}

/* gelu16 of fixed.h; its argument of the sigmoid has 15 bits. */
TARGET static void NAME(gelu)(const int32_t *restrict gate, uint32_t n, int32_t *restrict out) {
    uint32_t i = 0;
#ifdef V16
    for (; i + V16_LANES <= n; i += V16_LANES) {
        int32_t z[V16_LANES];
        for (uint32_t k = 0; k < V16_LANES; k++) z[k] = gelu_argument(gate[i + k]);
        V16_PRODUCTS(V16_CLAMP(gate + i), NAME(sigmoid)(V16_CLAMP(z)), out + i);
    }
#endif
    for (; i < n; i++) out[i] = gelu16((int16_t)clamp32(gate[i], 32767));
}

/* A number is at most 127 * 128 = 16256 in size, for the reciprocal is rounded down: high is within 127, low from -64 to
 * 63. */
TARGET static void NAME(quantise_wide)(const int32_t *restrict x, uint32_t n, uint32_t shift, int32_t reciprocal,
                                       int8_t *restrict high, int8_t *restrict low, int32_t *sums, uint64_t *squares) {
    int32_t high_sum = 0, low_sum = 0;
    uint64_t ss = 0;
    for (uint32_t i = 0; i < n; i++) {
        const int32_t y = (int32_t)((uint32_t)x[i] << shift);
        const int32_t q = (int16_t)low_bits((int64_t)y * reciprocal + ((int64_t)1 << 46), 47);
        const int32_t h = shift_right32(q + 64, 7), l = q - 128 * h;
        high[i] = (int8_t)h;
        low[i] = (int8_t)l;
        high_sum += h;
        low_sum += l;
        ss += (uint32_t)(q * q);
    }
    sums[0] = high_sum;
    sums[1] = low_sum;
    *squares = ss;
}

/* 128 high + low is a sum of ZLLM_MAX_COLS products below 127 * 16256, so below 2^35, its multiplier below 2^16: with the
 * 2^61 that rounds the largest shift all stays below 2^62. */
TARGET static void NAME(dequantise_wide)(const int32_t *restrict high, const int32_t *restrict low,
                                         const int16_t *restrict scale, uint32_t n, uint32_t mantissa, uint32_t shift,
                                         int32_t *restrict out) {
    const int64_t half = (int64_t)1 << (shift - 1);
    for (uint32_t i = 0; i < n; i++) {
        const int32_t m = (int32_t)(((uint32_t)scale[i] * mantissa) >> 15);
        const int64_t product = (int64_t)high[i] * m * 128 + (int64_t)low[i] * m;
        int64_t v = shift_right(product + half, shift);
        v = v > ZLLM_LIMIT ? ZLLM_LIMIT : v;
        out[i] = (int32_t)(v < -ZLLM_LIMIT ? -ZLLM_LIMIT : v);
    }
}

/* Kept apart, or else clang 14 does not vectorise the loops that use it. */
TARGET static NOINLINE int32_t NAME(largest)(const int32_t *x, uint32_t n) {
    int32_t m = x[0];
    uint32_t i = 1;
#ifdef LARGEST
    i = LARGEST(x, n, &m);
#endif
    for (; i < n; i++) m = x[i] > m ? x[i] : m;
    return m;
}

TARGET static uint32_t NAME(softmax)(const int32_t *restrict score, const int16_t *restrict scale, uint32_t n,
                                     int16_t *restrict w) {
    const int32_t m = NAME(largest)(score, n);
    uint32_t sum = 0, i = 0;
#ifdef SOFTMAX
    i = SOFTMAX(score, scale, n, m, w, &sum);
#endif
    for (; i < n; i++) {
        const uint32_t e = exp2_15((uint32_t)m - (uint32_t)score[i]);
        w[i] = multiply15((int16_t)e, scale[i]);
        sum += e;
    }
    return sum;
}

TARGET static void NAME(divide)(const int32_t *restrict acc, uint32_t n, int32_t reciprocal, int32_t *restrict out) {
    for (uint32_t i = 0; i < n; i++)
        out[i] = low_bits((int64_t)acc[i] * (int64_t)reciprocal + (1 << 18), 19);
}

TARGET static void NAME(weights)(const int32_t *restrict logits, uint32_t n, uint32_t *restrict w) {
    const int32_t m = NAME(largest)(logits, n);
    uint32_t i = 0;
#ifdef WEIGHTS
    i = WEIGHTS(logits, n, m, w);
#endif
    for (; i < n; i++) w[i] = exp2_weight((uint32_t)m - (uint32_t)logits[i]);
}

/* Values have 14 bits and sines 15: every sum stays below 2^30. */
TARGET static inline void NAME(rotate_head)(int32_t *head, uint32_t half, const int32_t *restrict sincos, int32_t excess) {
    const uint32_t right = excess > 0 ? (uint32_t)excess : 0u, left = excess < 0 ? (uint32_t)-excess : 0u;
    int32_t *restrict low = head, *restrict high = head + half;
    const int32_t *restrict sines = sincos, *restrict cosines = sincos + half;
    for (uint32_t i = 0; i < half; i++) {
        const int32_t a = shift_right32(low[i], right) * (1 << left), b = shift_right32(high[i], right) * (1 << left);
        low[i] = shift_right32(a * cosines[i] - b * sines[i] + 16384, 15);
        high[i] = shift_right32(b * cosines[i] + a * sines[i] + 16384, 15);
    }
}

TARGET static void NAME(rotate)(int32_t *x, uint32_t heads, uint32_t half, const int32_t *sincos, int32_t *excess) {
    for (uint32_t h = 0; h < heads; h++, x += 2 * half) {
        excess[h] = (int32_t)bit_length32(NAME(absmax)(x, 2 * half)) - 14;
        NAME(rotate_head)(x, half, sincos, excess[h]);
    }
}

/* One block: kept apart, or else compilers vectorise over blocks, and turn everything twice. */
TARGET static NOINLINE uint32_t NAME(block_sum)(const uint32_t *w) {
    uint32_t sum = 0;
    for (uint32_t i = 0; i < ZLLM_SUM_BLOCK; i++) sum += w[i];
    return sum;
}

TARGET static void NAME(block_sums)(const uint32_t *restrict w, uint32_t blocks, uint32_t *restrict sums) {
    for (uint32_t b = 0; b < blocks; b++) sums[b] = NAME(block_sum)(w + (size_t)b * ZLLM_SUM_BLOCK);
}

/* Unless a kernel has other layouts, a packed matrix is its weights, and keys are packed as the rows of one. */
#ifndef PACKED_SIZE
#define PACKED_SIZE NAME(packed_size)
static size_t NAME(packed_size)(uint32_t rows, uint32_t cols) {
    return (size_t)padded_rows(rows) * cols;
}
#endif
#ifndef MATCH_KEYS
#define MATCH_KEYS NAME(match_keys)
static void NAME(matmul)(const int8_t *packed, uint32_t rows, uint32_t cols, const int8_t *act, size_t act_stride,
                         const int32_t *act_sum, uint32_t batch, int32_t *acc, size_t acc_stride);

static void NAME(match_keys)(const int8_t *cache, uint32_t slots, uint32_t dim, const int8_t *act, size_t act_stride,
                             const int32_t *act_sum, uint32_t batch, int32_t *acc, size_t acc_stride,
                             const int8_t *next) {
    (void)next;
    NAME(matmul)(cache, slots, dim, act, act_stride, act_sum, batch, acc, acc_stride);
}
#endif

/* predictor: of zllm_operations_..., which goes with it. */
#define KERNEL_TABLE(kernel_name, predictor)                                                                          \
    {                                                                                                                 \
        kernel_name, NAME(supported), predictor, PACKED_SIZE, NAME(pack), NAME(matmul), NAME(key_row), MATCH_KEYS,    \
            NAME(value_row), NAME(weigh_values), NAME(absmax), NAME(quantise), NAME(dequantise), NAME(add),           \
            NAME(spread), NAME(blend), NAME(gate), NAME(gelu), NAME(quantise_wide), NAME(dequantise_wide),            \
            NAME(softmax), NAME(divide), NAME(weights), NAME(rotate), NAME(block_sums)                                       \
    }
