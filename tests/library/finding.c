/* Members found by their names, each with the bytes of its data, `-` if there is none; then how many bytes of the archive were
 * read for that.
 *
 *     finding ARCHIVE NAME... */
#include <stdio.h>
#include <stdlib.h>
#include <zllm_archive.h>

typedef struct {
    FILE *file;
    unsigned long long read;
} source_t;

static int read_piece(void *context, uint64_t offset, void *data, size_t *size) {
    source_t *s = context;
    if (fseek(s->file, (long)offset, SEEK_SET) != 0) return 1;
    *size = fread(data, 1, *size, s->file);
    s->read += *size;
    return ferror(s->file);
}

int main(int count, char **arguments) {
    source_t s = {count > 1 ? fopen(arguments[1], "rb") : NULL, 0};
    zllm_input input = {.read = read_piece, .context = &s};
    zllm_archive *archive;
    zllm_member member;
    if (s.file == NULL || fseek(s.file, 0, SEEK_END) != 0) return 2;
    input.size = (uint64_t)ftell(s.file);
    if (zllm_archive_open_input(&input, NULL, &archive) != ZLLM_OK) return 1;
    for (int i = 2; i < count; i++) {
        const zllm_result rc = zllm_archive_find(archive, arguments[i], &member);
        if (rc == ZLLM_OK) printf("%s %llu\n", arguments[i], (unsigned long long)member.size);
        else if (rc == ZLLM_E_MISSING) printf("%s -\n", arguments[i]);
        else return 1;
    }
    printf("%llu\n", s.read);
    zllm_archive_close(archive);
    return fclose(s.file) != 0;
}
