/* How fast a kernel's matrix product is: the machine's int8 peak, to which a run's useful work is compared. */
#include <string.h>

#include "heap.h"
#include "kernels.h"
#include "stages.h"

/* The shortest of so many products. */
static uint64_t shortest(const zllm_kernel *k, const int8_t *packed, uint32_t rows, uint32_t cols, const int8_t *act,
                         uint32_t batch, int32_t *acc, uint32_t repeats) {
    const int32_t sums[256] = {0};
    uint64_t best = UINT64_MAX;
    for (uint32_t i = 0; i < repeats; i++) {
        const uint64_t start = zllm_stages_now();
        k->matmul(packed, rows, cols, act, cols, sums, batch, acc, rows);
        const uint64_t took = zllm_stages_now() - start;
        if (took < best) best = took;
    }
    return best;
}

zllm_result zllm_kernel_time(const char *name, uint32_t rows, uint32_t cols, uint32_t batch, uint32_t repeats,
                             const zllm_options *options, uint64_t *nanoseconds) {
    const zllm_kernel *k;
    heap_t *heap;
    zllm_result rc = zllm_kernel_find(name, &k);
    if (rc != ZLLM_OK) return rc;
    if (rows < 32 || rows > 4096 || rows % 32 || cols < 32 || cols > 4096 || cols % 32 || batch < 1 || batch > 256 ||
        repeats < 1)
        return ZLLM_E_ARGUMENT;
    rc = zllm_heap_open(options, &heap);
    if (rc != ZLLM_OK) return rc;
    int8_t *packed = zllm_heap_take(heap, k->packed_size(rows, cols));
    int8_t *act = zllm_heap_take(heap, (size_t)batch * cols);
    int8_t *w = zllm_heap_take(heap, (size_t)rows * cols);
    int32_t *acc = zllm_heap_take(heap, (size_t)batch * rows * sizeof *acc);
    if (packed != NULL && act != NULL && acc != NULL && w != NULL) {
        memset(w, 1, (size_t)rows * cols);
        k->pack(w, rows, cols, packed);
        memset(act, 1, (size_t)batch * cols);
        *nanoseconds = shortest(k, packed, rows, cols, act, batch, acc, repeats);
    } else {
        rc = ZLLM_E_MEMORY;
    }
    zllm_heap_free(heap, packed);
    zllm_heap_free(heap, w);
    zllm_heap_free(heap, act);
    zllm_heap_free(heap, acc);
    zllm_heap_close(heap);
    return rc;
}
