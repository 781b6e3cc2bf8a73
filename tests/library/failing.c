/* Every allocation of reading an archive fails once: an error comes of it, and nothing is lost of memory.
 *
 *     failing ARCHIVE [MODEL.zlm] */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "zllm_archive.h"
#include "zllm_testing.h"

#define ROUNDS 100000u

typedef struct {
    uint8_t *data;
    size_t size;
} file_t;

static file_t read_all(const char *path) {
    file_t f = {NULL, 0};
    FILE *file = fopen(path, "rb");
    if (file == NULL || fseek(file, 0, SEEK_END) != 0) exit(2);
    f.size = (size_t)ftell(file);
    f.data = malloc(f.size + 1);
    rewind(file);
    if (f.data == NULL || fread(f.data, 1, f.size, file) != f.size) exit(2);
    (void)fclose(file);
    return f;
}

static zllm_result find_model(void *context, const zllm_model_ref *model, const uint8_t **data, size_t *size) {
    const file_t *f = context;
    (void)model;
    *data = f->data;
    *size = f->size;
    return f->data == NULL ? ZLLM_E_MISSING : ZLLM_OK;
}

static int drop(void *context, const void *data, size_t size) {
    (void)context, (void)data, (void)size;
    return 0;
}

/* Everything that can be done with an archive. */
static zllm_result use(const file_t *archive, file_t *model, zllm_failing *memory) {
    const zllm_options options = {.size = sizeof options, .allocate = zllm_failing_allocate,
                                  .release = zllm_failing_release, .context = memory};
    const zllm_archive_options of_archive = {.size = sizeof of_archive, .memory = &options, .find_model = find_model,
                                             .context = model};
    zllm_archive *a;
    zllm_member member;
    zllm_result rc = zllm_archive_open_memory(archive->data, archive->size, &of_archive, &a);
    if (rc != ZLLM_OK) return rc;
    while ((rc = zllm_archive_next(a, &member)) == ZLLM_OK) continue;
    if (rc == ZLLM_END) rc = zllm_archive_seek(a, 0);
    if (rc == ZLLM_OK) rc = zllm_archive_tar(a, drop, NULL);
    if (rc == ZLLM_OK) rc = zllm_archive_verify(a, NULL, NULL);
    zllm_archive_close(a);
    return rc;
}

int main(int count, char **arguments) {
    file_t model = {NULL, 0};
    if (count < 2) return 2;
    const file_t archive = read_all(arguments[1]);
    if (count > 2) model = read_all(arguments[2]);
    for (uint64_t round = 1; round < ROUNDS; round++) {
        zllm_failing memory = {.fail_at = round};
        const zllm_result rc = use(&archive, &model, &memory);
        if (memory.blocks != 0 || memory.bytes != 0 || memory.wrong != 0) {
            printf("round %lu: %lu blocks are lost\n", (unsigned long)round, (unsigned long)memory.blocks);
            return 1;
        }
        if (memory.calls < round) { /* there are no more */
            printf("%lu rounds\n", (unsigned long)round);
            return rc != ZLLM_OK;
        }
        if (rc != ZLLM_E_MEMORY) {
            printf("round %lu ends with %d\n", (unsigned long)round, (int)rc);
            return 1;
        }
    }
    return 1;
}
