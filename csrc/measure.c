/* How fast a kernel's matrix product is: the machine's int8 peak, to which a run's useful work is compared. */
#include <stdlib.h>
#include <string.h>

#include "kernels.h"
#include "pages.h"
#include "stages.h"

zllm_result zllm_kernel_time(const char *name, uint32_t rows, uint32_t cols, uint32_t batch, uint32_t repeats,
                             uint64_t *nanoseconds) {
    const zllm_kernel *k;
    const zllm_result rc = zllm_kernel_find(name, &k);
    if (rc != ZLLM_OK) return rc;
    if (rows < 32 || rows > 4096 || rows % 32 || cols < 32 || cols > 4096 || cols % 32 || batch < 1 || batch > 256 ||
        repeats < 1)
        return ZLLM_E_ARGUMENT;
    int8_t *packed = aligned_new(k->packed_size(rows, cols)), *act = aligned_new((size_t)batch * cols);
    int8_t *w = aligned_new((size_t)rows * cols);
    int32_t *acc = aligned_new((size_t)batch * rows * sizeof *acc), sums[256] = {0};
    if (packed != NULL && act != NULL && acc != NULL && w != NULL) {
        memset(w, 1, (size_t)rows * cols);
        k->pack(w, rows, cols, packed);
        memset(act, 1, (size_t)batch * cols);
        *nanoseconds = UINT64_MAX;
        for (uint32_t i = 0; i < repeats; i++) {
            const uint64_t start = stages_now();
            k->matmul(packed, rows, cols, act, cols, sums, batch, acc, rows);
            const uint64_t took = stages_now() - start;
            if (took < *nanoseconds) *nanoseconds = took;
        }
    }
    const int failed = packed == NULL || act == NULL || acc == NULL || w == NULL;
    free(packed);
    free(w);
    free(act);
    free(acc);
    return failed ? ZLLM_E_MEMORY : ZLLM_OK;
}
