/* The elementwise primitives, included once per instruction set: the same C, compiled with other target attributes.
 * Define NAME(f) and TARGET before including. Loops are plain so that the compiler vectorises them. */

TARGET static uint32_t NAME(absmax)(const int32_t *x, uint32_t n) {
    int32_t m = 0;
    for (uint32_t i = 0; i < n; i++) {
        const int32_t a = x[i] < 0 ? -x[i] : x[i];
        m = a > m ? a : m;
    }
    return (uint32_t)m;
}

TARGET static void NAME(quantise)(const int32_t *restrict x, uint32_t n, uint32_t shift, int32_t reciprocal,
                                  int8_t *restrict q, int32_t *sum, int32_t *squares) {
    int32_t s = 0, ss = 0;
    for (uint32_t i = 0; i < n; i++) {
        const int64_t y = (int64_t)(int32_t)((uint32_t)x[i] << shift);
        const int32_t v = (int32_t)shift_right(y * reciprocal + ((int64_t)1 << 53), 54);
        q[i] = (int8_t)v;
        s += v;
        ss += v * v;
    }
    *sum = s;
    *squares = ss;
}

TARGET static void NAME(dequantise)(const int32_t *restrict acc, const int16_t *restrict scale, uint32_t n,
                                    uint32_t mantissa, uint32_t shift, int32_t *restrict out) {
    const int64_t half = (int64_t)1 << (shift - 1);
    for (uint32_t i = 0; i < n; i++) {
        const int32_t m = (int32_t)(((uint32_t)scale[i] * mantissa) >> 15);
        out[i] = (int32_t)shift_right((int64_t)acc[i] * (int64_t)m + half, shift);
    }
}

TARGET static void NAME(add)(int32_t *restrict x, const int32_t *restrict y, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) {
        int32_t v = x[i] + y[i]; /* |x| < 2^30, |y| <= 2^30 */
        v = v > ZLLM_LIMIT ? ZLLM_LIMIT : v;
        x[i] = v < -ZLLM_LIMIT ? -ZLLM_LIMIT : v;
    }
}

TARGET static void NAME(gate)(const int32_t *restrict gate, const int32_t *restrict up, uint32_t n,
                              int32_t *restrict out) {
    for (uint32_t i = 0; i < n; i++) {
        const int32_t g = clamp32(gate[i], 32767), u = clamp32(up[i], 32767);
        const int32_t t = clamp32(g, 16383) + 16384;
        const int32_t k = t >> 6, f = t & 63;
        const int32_t s = (SIGMOID[k] * (64 - f) + SIGMOID[k + 1] * f + 32) >> 6;
        /* The bias makes the shifted value non-negative: 2^31 > 32767 * 32768 + 2^30. */
        const int32_t a = (int32_t)(((uint32_t)(g * s + 16384) + ((uint32_t)1 << 30)) >> 15) - (1 << 15);
        out[i] = a * u;
    }
}

TARGET static uint32_t NAME(softmax)(const int32_t *restrict score, uint32_t n, uint16_t *restrict out) {
    int32_t m = score[0];
    uint32_t sum = 0;
    for (uint32_t i = 1; i < n; i++) m = score[i] > m ? score[i] : m;
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t e = exp2_15((uint32_t)m - (uint32_t)score[i]);
        out[i] = (uint16_t)e;
        sum += e;
    }
    return sum;
}

TARGET static void NAME(weigh)(const uint16_t *restrict e, const int16_t *restrict scale, uint32_t n,
                               int16_t *restrict w) {
    for (uint32_t i = 0; i < n; i++) w[i] = (int16_t)(((uint32_t)e[i] * (uint32_t)scale[i] + 16384u) >> 15);
}

TARGET static void NAME(divide)(const int32_t *restrict acc, uint32_t n, int32_t reciprocal, int32_t *restrict out) {
    for (uint32_t i = 0; i < n; i++)
        out[i] = (int32_t)shift_right((int64_t)acc[i] * (int64_t)reciprocal + (1 << 18), 19);
}

TARGET static void NAME(weights)(const int32_t *restrict logits, uint32_t n, uint32_t *restrict w) {
    int32_t m = logits[0];
    for (uint32_t i = 1; i < n; i++) m = logits[i] > m ? logits[i] : m;
    for (uint32_t i = 0; i < n; i++) w[i] = exp2_weight((uint32_t)m - (uint32_t)logits[i]);
}

/* Values have 14 bits and sines 15: every sum stays below 2^30. */
TARGET static void NAME(rotate)(int32_t *restrict head, uint32_t half, const int32_t *restrict sincos, int32_t excess) {
    const uint32_t right = excess > 0 ? (uint32_t)excess : 0u, left = excess < 0 ? (uint32_t)-excess : 0u;
    for (uint32_t i = 0; i < half; i++) {
        const int32_t a = shift_right32(head[i], right) * (1 << left);
        const int32_t b = shift_right32(head[half + i], right) * (1 << left);
        const int32_t s = sincos[i], c = sincos[half + i];
        head[i] = shift_right32(a * c - b * s + 16384, 15);
        head[half + i] = shift_right32(b * c + a * s + 16384, 15);
    }
}

#define KERNEL_TABLE(kernel_name)                                                                                     \
    {                                                                                                                 \
        kernel_name, NAME(supported), NAME(pack), NAME(pack_row), NAME(matmul), NAME(value_row), NAME(weigh_values),  \
            NAME(absmax), NAME(quantise), NAME(dequantise), NAME(add), NAME(gate), NAME(softmax), NAME(weigh),        \
            NAME(divide), NAME(weights), NAME(rotate)                                                                               \
    }
