/* Every kernel that can run here, against plain loops and against the generic kernel. For each kernel it prints
 * "NAME equal", "NAME not built", "NAME unsupported" or "NAME DIFFERS"; exit status 1 if one differs.
 *
 * cc -std=c11 -O2 -Icsrc/include -Icsrc tests/cross/kernels.c $(sed 's,^,csrc/,' csrc/sources.txt) -pthread */
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

/* What operands are made of: anything; 127 with random signs; 127 with one sign; small ones, and some that are not. */
enum { ANY, SIGNS, LARGEST, SMALL, KINDS };

static int8_t *bytes(size_t n, int kind) {
    int8_t *p = room(n);
    const int sign = draw(2) ? 127 : -127;
    for (size_t i = 0; i < n; i++) {
        const int any = (int)draw(255) - 127;
        p[i] = (int8_t)(kind == SIGNS ? (any < 0 ? -127 : 127) : kind == LARGEST ? sign : any);
        if (kind == SMALL && draw(40)) p[i] /= 4;
    }
    return p;
}

/* acc is [batch][rows]. */
static int sums_equal(const int32_t *acc, const int8_t *w, const int8_t *act, uint32_t rows, uint32_t cols,
                      uint32_t batch) {
    int equal = 1;
    for (uint32_t r = 0; r < batch; r++)
        for (uint32_t j = 0; j < rows; j++) {
            int64_t sum = 0;
            for (uint32_t i = 0; i < cols; i++) sum += w[(size_t)j * cols + i] * act[(size_t)r * cols + i];
            equal &= acc[(size_t)r * rows + j] == sum;
        }
    return equal;
}

static int32_t *sums_of(const int8_t *act, uint32_t cols, uint32_t batch) {
    int32_t *sums = room(batch * sizeof *sums);
    for (uint32_t r = 0; r < batch; r++) {
        sums[r] = 0;
        for (uint32_t i = 0; i < cols; i++) sums[r] += act[(size_t)r * cols + i];
    }
    return sums;
}

static int product_equal(const zllm_kernel *k, uint32_t rows, uint32_t cols, uint32_t batch, int kind, int act_kind) {
    int8_t *w = bytes((size_t)rows * cols, kind), *act = bytes((size_t)batch * cols, act_kind);
    int8_t *packed = room(k->packed_size(rows, cols));
    int32_t *acc = room((size_t)batch * rows * sizeof *acc), *sums = sums_of(act, cols, batch);
    k->pack(w, rows, cols, packed);
    const uint32_t first = rows / 64 * 32; /* in two parts, if there are as many rows */
    if (first > 0) k->matmul(packed, first, cols, act, cols, sums, batch, acc, rows);
    k->matmul(packed + k->packed_size(first, cols), rows - first, cols, act, cols, sums, batch, acc + first, rows);
    const int equal = sums_equal(acc, w, act, rows, cols, batch);
    free(w);
    free(act);
    free(packed);
    free(acc);
    free(sums);
    return equal;
}

/* Slots from `from` on are moved to the front. */
static int keys_equal(const zllm_kernel *k, uint32_t slots, uint32_t dim, uint32_t batch, uint32_t from, int kind) {
    const uint32_t left = slots - from;
    int8_t *keys = bytes((size_t)slots * dim, kind), *act = bytes((size_t)batch * dim, kind);
    int8_t *cache = room((size_t)slots * dim);
    int32_t *acc = room((size_t)batch * left * sizeof *acc), *sums = sums_of(act, dim, batch);
    for (uint32_t t = 0; t < slots; t++) k->key_row(keys + (size_t)t * dim, t, dim, cache);
    memmove(cache, cache + (size_t)from * dim, (size_t)left * dim);
    k->match_keys(cache, left, dim, act, dim, sums, batch, acc, left, NULL);
    const int equal = sums_equal(acc, keys + (size_t)from * dim, act, left, dim, batch);
    free(keys);
    free(act);
    free(cache);
    free(acc);
    free(sums);
    return equal;
}

static int values_equal(const zllm_kernel *k, uint32_t slots, uint32_t dim, uint32_t heads, uint32_t from,
                        int kind) {
    const uint32_t window = (from + slots + 31) / 32 * 32;
    int8_t *v = bytes((size_t)window * dim, kind), *cache = room((size_t)window * dim);
    int16_t *w = room((size_t)heads * window * sizeof *w);
    int32_t *acc = room((size_t)heads * dim * sizeof *acc);
    int equal = 1;
    for (uint32_t i = 0; i < heads * window; i++) w[i] = (int16_t)(kind == SIGNS || kind == LARGEST ? 32767 : draw(32768));
    for (uint32_t t = 0; t < window; t++) k->value_row(v + (size_t)t * dim, t, dim, cache);
    memmove(cache, cache + (size_t)from * dim, (size_t)(window - from) * dim);
    k->weigh_values(cache, slots, dim, w, window, heads, acc, NULL);
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
    for (uint64_t seed = 0; seed < 6; seed++) equal &= zllm_kernel_matches(k, seed);
    for (int kind = 0; kind < KINDS; kind++) {
        equal &= product_equal(k, 32, ZLLM_MAX_COLS, 3, kind, kind == SMALL ? LARGEST : kind);
        for (int act = 0; act < KINDS; act++) equal &= product_equal(k, 128, 544, 70, kind, act);
        equal &= values_equal(k, 512, 32, 256, 0, kind);
        for (int i = 0; i < 12; i++) {
            const uint32_t rows = 32 * (1 + draw(4)), from = 32 * draw(rows / 32), dim = 32 * (1 + draw(8));
            equal &= product_equal(k, rows, 32 * (1 + draw(16)), 1 + draw(40), kind, kind == SMALL ? LARGEST : kind);
            equal &= keys_equal(k, rows, dim, 1 + draw(40), from, kind);
            equal &= values_equal(k, 2 + 2 * draw(100), dim, 1 + draw(20), 32 * draw(4), kind);
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
