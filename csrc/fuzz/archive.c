/* libFuzzer: any bytes are read as an archive, in memory and as a pipe, in every way that there is.
 *
 *     make fuzz && build/fuzz-archive -max_total_time=300 CORPUS ../tests/conformance/valid ../tests/conformance/invalid
 *
 * Checksums always hold in it (FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION), so that what is behind them is reached. */
#include <stdlib.h>
#include <string.h>

#include "zllm_archive.h"

#define MEMORY ((size_t)256 << 20)
#define OUTPUT ((uint64_t)4 << 20)

typedef struct {
    const uint8_t *data;
    size_t size, at;
} pipe_t;

static int read_pipe(void *context, uint64_t offset, void *data, size_t *size) {
    pipe_t *p = context;
    if (offset != p->at) abort();
    if (*size > p->size - p->at) *size = p->size - p->at;
    if (*size > 0) memcpy(data, p->data + p->at, *size);
    p->at += *size;
    return 0;
}

static int count(void *context, const void *data, size_t size) {
    uint64_t *total = context;
    volatile uint8_t last = size > 0 ? ((const uint8_t *)data)[size - 1] : 0;
    (void)last;
    *total += size;
    return *total > OUTPUT;
}

/* Every text that a member has is looked at. */
static void look(const zllm_member *m) {
    const char *key, *value;
    size_t at = 0, key_size, value_size, sum;
    sum = strlen(m->name) + strlen(m->link_name) + strlen(m->user) + strlen(m->group);
    while (zllm_member_pax(m, &at, &key, &key_size, &value, &value_size))
        for (size_t i = 0; i < value_size; i++) sum += (uint8_t)value[i];
    if (m->headers_size > 0) sum += m->headers[m->headers_size - 1];
    if (sum == SIZE_MAX) abort();
}

static void go_through(zllm_archive *a, int data) {
    zllm_member member;
    static uint8_t buffer[4096];
    for (int i = 0; i < 2000 && zllm_archive_next(a, &member) == ZLLM_OK; i++) {
        size_t size = sizeof buffer;
        look(&member);
        for (int k = 0; data && k < 100 && zllm_archive_read(a, buffer, &size) == ZLLM_OK && size > 0; k++)
            size = sizeof buffer;
    }
    if (strlen(zllm_archive_error(a)) > 1000) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const zllm_options memory = {.size = sizeof memory, .memory_limit = MEMORY};
    const zllm_limits limits = {.size = sizeof limits, .output_bytes = OUTPUT, .frame_bytes = (uint64_t)16 << 10};
    const zllm_archive_options options = {.size = sizeof options, .memory = &memory, .limits = &limits};
    pipe_t pipe = {data, size, 0};
    const zllm_input input = {.read = read_pipe, .context = &pipe, .sequential = 1};
    zllm_archive *a;
    zllm_member member;
    uint64_t total = 0;
    if (zllm_archive_open_memory(data, size, &options, &a) == ZLLM_OK) {
        go_through(a, 1);
        (void)zllm_archive_seek(a, 512);
        (void)zllm_archive_find(a, "a", &member);
        (void)zllm_archive_tar(a, count, &total);
        (void)zllm_archive_verify(a, NULL, NULL);
        zllm_archive_close(a);
    }
    if (zllm_archive_open_input(&input, &options, &a) == ZLLM_OK) {
        if (size % 2) go_through(a, 1);
        else (void)zllm_archive_tar(a, count, &total);
        zllm_archive_close(a);
    }
    return 0;
}
