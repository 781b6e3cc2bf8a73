/* Which kernel runs: the fastest that the processor has, or the one that was demanded, never another one. */
#include <string.h>

#include "kernels.h"

/* Fastest first: products of 472, 238 and 110 billion a second on one core. (ARM's were not timed: sixteen products an
 * instruction come before five.) */
static const zllm_kernel *const BUILT[] = {
#ifdef ZLLM_X86
    &zllm_kernel_avx512vnni,
#ifdef ZLLM_AVX_VNNI
    &zllm_kernel_avxvnni,
#endif
    &zllm_kernel_avx2,
#endif
#ifdef ZLLM_ARM64
    &zllm_kernel_neon_dotprod,
    &zllm_kernel_neon,
#endif
    &zllm_kernel_generic,
};

static const char *const KNOWN[] = {"avx512vnni", "avxvnni", "avx2", "neon_dotprod", "neon", "generic"};

#define COUNT(a) (sizeof(a) / sizeof *(a))

const char *zllm_kernel_name(size_t i) { return i < COUNT(KNOWN) ? KNOWN[i] : NULL; }

zllm_result zllm_kernel_find(const char *name, const zllm_kernel **out) {
    *out = NULL;
    for (size_t i = 0; i < COUNT(BUILT); i++) {
        if (name != NULL && strcmp(name, BUILT[i]->name) != 0) continue;
        if (BUILT[i]->supported()) {
            *out = BUILT[i];
            return ZLLM_OK;
        }
        if (name != NULL) return ZLLM_E_KERNEL_UNSUPPORTED;
    }
    for (size_t i = 0; name != NULL && i < COUNT(KNOWN); i++)
        if (strcmp(name, KNOWN[i]) == 0) return ZLLM_E_KERNEL_NOT_BUILT;
    return ZLLM_E_KERNEL_UNKNOWN;
}

zllm_result zllm_kernel_state(const char *name) {
    const zllm_kernel *kernel;
    return name == NULL ? ZLLM_E_ARGUMENT : zllm_kernel_find(name, &kernel);
}
