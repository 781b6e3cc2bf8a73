/* Whether the predictor may use AVX2: compiled for x86, asked at run time. ZLLM_SCALAR and ZLLM_NARROW are for tests. */
#ifndef ZLLM_PREDICTOR_WIDE_H
#define ZLLM_PREDICTOR_WIDE_H

#include "../kernels.h"

#if defined(__SSE2__) && !defined(ZLLM_SCALAR)
#include <immintrin.h>
#define NARROW 1
#endif

#if defined(ZLLM_X86) && !defined(ZLLM_SCALAR) && !defined(ZLLM_NARROW)
#define WIDE 1
#define AVX2 __attribute__((target("avx2")))
#endif

static inline int wide_here(void) {
#ifdef WIDE
    return __builtin_cpu_supports("avx2") != 0;
#else
    return 0;
#endif
}

#endif
