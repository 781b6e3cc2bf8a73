/* Whether a kernel gives the integers that the scalar code gives. */
#include <string.h>

#include "kernels.h"

#define N 64u

zllm_result zllm_kernel_check(const char *name) {
    const zllm_kernel *k, *scalar = &zllm_kernel_generic;
    const zllm_result rc = zllm_kernel_find(name, &k);
    int32_t x[N], got[N], want[N];
    if (rc != ZLLM_OK) return rc;
    for (uint32_t i = 0; i < N; i++) {
        x[i] = (int32_t)(i * 2654435761u >> 2);
        got[i] = want[i] = -x[N - 1 - i];
    }
    k->add(got, x, N);
    scalar->add(want, x, N);
    return memcmp(got, want, sizeof got) ? ZLLM_E_KERNEL_WRONG : ZLLM_OK;
}
