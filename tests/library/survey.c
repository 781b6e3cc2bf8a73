/* What archives give, damaged or not: of each member the SHA-256 of its data and its name, or `-` in the place of the hash if
 * the data cannot be had.
 *
 *     survey file|pipe|GENERATION ARCHIVE...
 *
 * An archive's members stand before a line with the result that it ends with. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zllm_archive.h>

static int read_piece(void *context, uint64_t offset, void *data, size_t *size) {
    (void)offset;
    *size = fread(data, 1, *size, context);
    return ferror((FILE *)context);
}

static void print_member(zllm_archive *archive, const zllm_member *member) {
    uint8_t hash[32], *data = malloc(1);
    size_t used = 0, size = 1;
    zllm_result rc = ZLLM_OK;
    while (rc == ZLLM_OK && size > 0) {
        data = realloc(data, used + (1 << 20));
        if (data == NULL) exit(2);
        size = 1 << 20;
        rc = zllm_archive_read(archive, data + used, &size);
        used += size;
    }
    zllm_hash(data, used, hash);
    free(data);
    for (size = 0; size < sizeof hash && rc == ZLLM_OK; size++) printf("%02x", hash[size]);
    printf("%s %s\n", rc == ZLLM_OK ? "" : "-", member->name);
}

static zllm_result survey(const char *mode, const char *path) {
    const uint64_t generation = strtoull(mode, NULL, 10);
    const int pipe = strcmp(mode, "pipe") == 0, newest = pipe || strcmp(mode, "file") == 0;
    const zllm_archive_options options = {.size = sizeof options, .generation = newest ? NULL : &generation};
    FILE *file = fopen(path, "rb");
    const zllm_input input = {.read = read_piece, .context = file, .sequential = 1};
    zllm_archive *archive;
    zllm_member member;
    if (file == NULL) exit(2);
    zllm_result rc = pipe ? zllm_archive_open_input(&input, &options, &archive) : zllm_archive_open(path, &options, &archive);
    while (rc == ZLLM_OK && (rc = zllm_archive_next(archive, &member)) == ZLLM_OK) print_member(archive, &member);
    if (rc == ZLLM_END && zllm_archive_next(archive, &member) != rc) exit(3);
    if (rc == ZLLM_END && zllm_archive_unfinished(archive) > 0) puts("unfinished");
    zllm_archive_close(archive);
    (void)fclose(file);
    return rc;
}

int main(int count, char **arguments) {
    for (int i = 2; i < count; i++) printf("= %d\n", (int)survey(arguments[1], arguments[i]));
    return 0;
}
