/* In the place of encode.c and repeats.c, in a library that only decodes. */
#include "job.h"

void zllm_job_encode(zllm_job **jobs, size_t n, uint32_t thread, const zllm_run *run) {
    (void)thread, (void)run;
    for (size_t k = 0; k < n; k++) zllm_job_fail(jobs[k], ZLLM_E_VERSION);
}

zllm_result zllm_repeats(const uint8_t *text, size_t n, size_t least, zllm_repeat *out, size_t *count,
                         const zllm_options *options) {
    (void)text, (void)n, (void)least, (void)out, (void)count, (void)options;
    return ZLLM_E_VERSION;
}
