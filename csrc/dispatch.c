/* Which kernel runs: the fastest that the processor has, or the one that was demanded, never another one. */
#include <stdatomic.h>
#include <string.h>

#include "kernels.h"
#include "predictor/operations.h"

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
#ifdef ZLLM_SIMD128
    &zllm_kernel_simd128, /* a module has it or not: nobody demands it by its name */
#endif
    &zllm_kernel_generic,
};

static const char *const NAMES[] = {"avx512vnni", "avxvnni", "avx2", "neon_dotprod", "neon", "generic"};

#define COUNT(a) (sizeof(a) / sizeof *(a))

const char *zllm_kernel_name(size_t i) { return i < COUNT(NAMES) ? NAMES[i] : NULL; }

/* Asked of the processor once: some have to be asked by an instruction that takes microseconds where they are virtual. */
static const zllm_kernel *fastest(void) {
    static _Atomic(const zllm_kernel *) found;
    const zllm_kernel *k = atomic_load(&found);
    for (size_t i = 0; k == NULL; i++) /* the last one is supported everywhere */
        if (BUILT[i]->supported()) k = BUILT[i];
    atomic_store(&found, k);
    return k;
}

zllm_result zllm_kernel_find(const char *name, const zllm_kernel **out) {
    *out = name == NULL ? fastest() : NULL;
    if (name == NULL) return ZLLM_OK;
    for (size_t i = 0; i < COUNT(BUILT); i++) {
        if (strcmp(name, BUILT[i]->name) != 0) continue;
        if (!BUILT[i]->supported()) return ZLLM_E_KERNEL_UNSUPPORTED;
        *out = BUILT[i];
        return ZLLM_OK;
    }
    for (size_t i = 0; i < COUNT(NAMES); i++)
        if (strcmp(name, NAMES[i]) == 0) return ZLLM_E_KERNEL_NOT_BUILT;
    return ZLLM_E_KERNEL_UNKNOWN;
}

zllm_result zllm_kernel_state(const char *name) {
    const zllm_kernel *kernel;
    return name == NULL ? ZLLM_E_ARGUMENT : zllm_kernel_find(name, &kernel);
}

const char *zllm_kernel_predictor(const char *name) {
    const zllm_kernel *kernel;
    return zllm_kernel_state(name) == ZLLM_OK && zllm_kernel_find(name, &kernel) == ZLLM_OK ? kernel->predictor->name : NULL;
}
