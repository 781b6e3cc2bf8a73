/* Every kernel that can run here, against plain loops and against the generic kernel. For each kernel it prints
 * "NAME equal", "NAME not built", "NAME unsupported" or "NAME DIFFERS"; exit status 1 if one differs.
 *
 * cc -std=c11 -O2 -Icsrc/include -Icsrc tests/cross/kernels.c csrc/dispatch.c csrc/fixed.c csrc/kernel_generic.c \
 *    csrc/selfcheck.c csrc/x86/[a-z]*.c csrc/arm/[a-z]*.c */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels.h"

static uint32_t state = 1;

static uint32_t draw(uint32_t n) {
    state = state * 1664525u + 1013904223u;
    return (uint32_t)(((uint64_t)state * n) >> 32);
}

static void *room(size_t size) {
    void *p = aligned_alloc(64, (size + 63) / 64 * 64);
    if (p == NULL) {
        fputs("out of memory\n", stderr);
        exit(2);
    }
    return p;
}

/* extreme: 0 for any operands, 1 for 127 with random signs, 2 for 127 with one sign. */
static int8_t *bytes(size_t n, int extreme) {
    int8_t *p = room(n);
    const int sign = draw(2) ? 127 : -127;
    for (size_t i = 0; i < n; i++)
        p[i] = (int8_t)(extreme == 0 ? (int)draw(255) - 127 : extreme == 1 ? (draw(2) ? 127 : -127) : sign);
    return p;
}

/* Packed rows from `from` on are moved to the front. */
static int product_equal(const zllm_kernel *k, uint32_t rows, uint32_t cols, uint32_t batch, uint32_t from,
                         int extreme) {
    const uint32_t left = rows - from;
    int8_t *w = bytes((size_t)rows * cols, extreme), *act = bytes((size_t)batch * cols, extreme);
    int8_t *packed = room((size_t)rows * cols);
    int32_t *acc = room((size_t)batch * left * sizeof *acc), *sums = room(batch * sizeof *sums);
    int equal = 1;
    k->pack(w, rows, cols, packed);
    memmove(packed, packed + (size_t)from * cols, (size_t)left * cols);
    for (uint32_t r = 0; r < batch; r++) {
        sums[r] = 0;
        for (uint32_t i = 0; i < cols; i++) sums[r] += act[(size_t)r * cols + i];
    }
    k->matmul(packed, left, cols, act, cols, sums, batch, acc, left);
    for (uint32_t r = 0; r < batch; r++)
        for (uint32_t j = 0; j < left; j++) {
            int64_t sum = 0;
            for (uint32_t i = 0; i < cols; i++) sum += w[(size_t)(from + j) * cols + i] * act[(size_t)r * cols + i];
            equal &= acc[(size_t)r * left + j] == sum;
        }
    free(w);
    free(act);
    free(packed);
    free(acc);
    free(sums);
    return equal;
}

static int values_equal(const zllm_kernel *k, uint32_t slots, uint32_t dim, uint32_t heads, uint32_t from,
                        int extreme) {
    const uint32_t window = (from + slots + 31) / 32 * 32;
    int8_t *v = bytes((size_t)window * dim, extreme), *cache = room((size_t)window * dim);
    int16_t *w = room((size_t)heads * window * sizeof *w);
    int32_t *acc = room((size_t)heads * dim * sizeof *acc);
    int equal = 1;
    for (uint32_t i = 0; i < heads * window; i++) w[i] = (int16_t)(extreme ? 32767 : draw(32768));
    for (uint32_t t = 0; t < window; t++) k->value_row(v + (size_t)t * dim, t, dim, cache);
    memmove(cache, cache + (size_t)from * dim, (size_t)(window - from) * dim);
    k->weigh_values(cache, slots, dim, w, window, heads, acc);
    for (uint32_t h = 0; h < heads; h++)
        for (uint32_t d = 0; d < dim; d++) {
            int64_t sum = 0;
            for (uint32_t t = 0; t < slots; t++) sum += w[(size_t)h * window + t] * v[(size_t)(from + t) * dim + d];
            equal &= acc[(size_t)h * dim + d] == sum;
        }
    free(v);
    free(cache);
    free(w);
    free(acc);
    return equal;
}

static int all_equal(const zllm_kernel *k) {
    int equal = 1;
    for (uint64_t seed = 0; seed < 6; seed++) equal &= kernel_matches(k, seed);
    for (int extreme = 0; extreme < 3; extreme++) {
        equal &= product_equal(k, 32, ZLLM_MAX_COLS, 3, 0, extreme);
        equal &= values_equal(k, 512, 32, 256, 0, extreme);
        for (int i = 0; i < 12; i++) {
            const uint32_t rows = 32 * (1 + draw(4)), cols = 32 * (1 + draw(16));
            equal &= product_equal(k, rows, cols, 1 + draw(40), 32 * draw(rows / 32), extreme);
            equal &= values_equal(k, 2 + 2 * draw(100), 32 * (1 + draw(8)), 1 + draw(20), 32 * draw(4), extreme);
        }
    }
    return equal;
}

int main(void) {
    int status = 0;
    const char *name;
    for (size_t i = 0; (name = zllm_kernel_name(i)) != NULL; i++) {
        const zllm_kernel *k;
        const zllm_result rc = zllm_kernel_find(name, &k);
        const int equal = rc == ZLLM_OK && all_equal(k);
        const char *what = rc == ZLLM_E_KERNEL_NOT_BUILT     ? "not built"
                           : rc == ZLLM_E_KERNEL_UNSUPPORTED ? "unsupported"
                           : equal                           ? "equal"
                                                             : "DIFFERS";
        printf("%s %s\n", name, what);
        if (rc == ZLLM_OK && !equal) status = 1;
    }
    return status;
}
