/* The normative kernel: portable scalar C, matrices row-major. */
#include <string.h>

#include "fixed.h"
#include "kernels.h"
#include "tables.h"

#define NAME(f) generic_##f
#define TARGET
#include "kernels_template.h"

static int generic_supported(void) { return 1; }

static void generic_pack(const int8_t *w, uint32_t rows, uint32_t cols, int8_t *packed) {
    const size_t padded = padded_rows(rows);
    memcpy(packed, w, (size_t)rows * cols);
    memset(packed + (size_t)rows * cols, 0, (padded - rows) * cols);
}

static void generic_key_row(const int8_t *w, uint32_t row, uint32_t cols, int8_t *packed) {
    memcpy(packed + (size_t)row * cols, w, cols);
}

static void generic_matmul(const int8_t *packed, uint32_t rows, uint32_t cols, const int8_t *act, size_t act_stride,
                           const int32_t *act_sum, uint32_t batch, int32_t *acc, size_t acc_stride) {
    (void)act_sum;
    for (uint32_t j = 0; j < rows; j++) {
        const int8_t *w = packed + (size_t)j * cols;
        for (uint32_t r = 0; r < batch; r++) {
            const int8_t *a = act + r * act_stride;
            int32_t s = 0;
            for (uint32_t i = 0; i < cols; i++) s += w[i] * a[i];
            acc[r * acc_stride + j] = s;
        }
    }
}

static void generic_value_row(const int8_t *v, uint32_t slot, uint32_t dim, int8_t *cache) {
    memcpy(cache + (size_t)slot * dim, v, dim);
}

static void generic_weigh_values(const int8_t *cache, uint32_t slots, uint32_t dim, const int16_t *w, size_t stride,
                                 uint32_t heads, int32_t *acc, const int8_t *next) {
    (void)next;
    memset(acc, 0, (size_t)heads * dim * sizeof *acc);
    for (uint32_t h = 0; h < heads; h++)
        for (uint32_t t = 0; t < slots; t++)
            for (uint32_t d = 0; d < dim; d++) acc[h * dim + d] += w[h * stride + t] * cache[(size_t)t * dim + d];
}

const zllm_kernel zllm_kernel_generic = KERNEL_TABLE("generic", &zllm_operations_generic);
