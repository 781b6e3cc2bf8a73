/* SIMD128 of WebAssembly: bytes are widened to int16, and i32x4.dot_i16x8 multiplies them and adds neighbours, exactly (two
 * products of int8 take 16 bits). Matrices and caches are row-major, as the generic kernel has them; what the processor below
 * is good at, nobody knows, so rows are taken four at a time, which is enough to widen the activations seldom. */
#include "../kernels.h"

#ifdef ZLLM_SIMD128
#include <string.h>
#include <wasm_simd128.h>

#include "../fixed.h"
#include "../tables.h"

#define NAME(f) simd128_##f
#define TARGET
#include "../kernels_template.h"

#define ROWS 4u

static int simd128_supported(void) { return 1; } /* without it the module cannot be loaded */

static void simd128_pack(const int8_t *w, uint32_t rows, uint32_t cols, int8_t *packed) {
    const size_t padded = padded_rows(rows);
    memcpy(packed, w, (size_t)rows * cols);
    memset(packed + (size_t)rows * cols, 0, (padded - rows) * cols);
}

static void simd128_key_row(const int8_t *w, uint32_t row, uint32_t cols, int8_t *packed) {
    memcpy(packed + (size_t)row * cols, w, cols);
}

static inline int32_t sum_of_lanes(v128_t t) {
    t = wasm_i32x4_add(t, wasm_i32x4_shuffle(t, t, 2, 3, 0, 1));
    return wasm_i32x4_extract_lane(wasm_i32x4_add(t, wasm_i32x4_shuffle(t, t, 1, 0, 3, 2)), 0);
}

static void simd128_matmul(const int8_t *packed, uint32_t rows, uint32_t cols, const int8_t *act, size_t act_stride,
                           const int32_t *act_sum, uint32_t batch, int32_t *acc, size_t acc_stride) {
    (void)act_sum;
    for (uint32_t j = 0; j < padded_rows(rows); j += ROWS) {
        const int8_t *w = packed + (size_t)j * cols;
        for (uint32_t r = 0; r < batch; r++) {
            const int8_t *a = act + r * act_stride;
            v128_t sums[ROWS] = {wasm_i32x4_const_splat(0), wasm_i32x4_const_splat(0), wasm_i32x4_const_splat(0),
                                 wasm_i32x4_const_splat(0)};
            for (uint32_t i = 0; i < cols; i += 16) {
                const v128_t y = wasm_v128_load(a + i);
                const v128_t low = wasm_i16x8_extend_low_i8x16(y), high = wasm_i16x8_extend_high_i8x16(y);
#pragma clang loop unroll(full)
                for (uint32_t k = 0; k < ROWS; k++) {
                    const v128_t x = wasm_v128_load(w + (size_t)k * cols + i);
                    const v128_t first = wasm_i32x4_dot_i16x8(wasm_i16x8_extend_low_i8x16(x), low);
                    const v128_t second = wasm_i32x4_dot_i16x8(wasm_i16x8_extend_high_i8x16(x), high);
                    sums[k] = wasm_i32x4_add(sums[k], wasm_i32x4_add(first, second));
                }
            }
            for (uint32_t k = 0; k < ROWS; k++) acc[r * acc_stride + j + k] = sum_of_lanes(sums[k]);
        }
    }
}

static void simd128_value_row(const int8_t *v, uint32_t slot, uint32_t dim, int8_t *cache) {
    memcpy(cache + (size_t)slot * dim, v, dim);
}

/* Eight values of a slot by its weight. */
static inline void add_weighed(int32_t *acc, v128_t weight, v128_t values) {
    wasm_v128_store(acc, wasm_i32x4_add(wasm_v128_load(acc), wasm_i32x4_extmul_low_i16x8(weight, values)));
    wasm_v128_store(acc + 4, wasm_i32x4_add(wasm_v128_load(acc + 4), wasm_i32x4_extmul_high_i16x8(weight, values)));
}

static void simd128_weigh_values(const int8_t *cache, uint32_t slots, uint32_t dim, const int16_t *w, size_t stride,
                                 uint32_t heads, int32_t *acc, const int8_t *next) {
    (void)next;
    memset(acc, 0, (size_t)heads * dim * sizeof *acc);
    for (uint32_t h = 0; h < heads; h++)
        for (uint32_t t = 0; t < slots; t++) {
            const v128_t weight = wasm_i16x8_splat(w[h * stride + t]);
            const int8_t *values = cache + (size_t)t * dim;
            uint32_t d = 0;
            for (; d + 8 <= dim; d += 8) add_weighed(acc + h * dim + d, weight, wasm_i16x8_load8x8(values + d));
            for (; d < dim; d++) acc[h * dim + d] += w[h * stride + t] * values[d];
        }
}

const zllm_kernel zllm_kernel_simd128 = KERNEL_TABLE("simd128", &zllm_operations_generic);
#endif
