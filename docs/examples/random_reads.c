/* Members of an archive that is kept where only functions reach it, as on a server: only what is needed is read.
 *
 *     cc random_reads.c -o random_reads $(pkg-config --cflags --libs zllm)
 *     ./random_reads ARCHIVE MEMBER... */
#include <stdio.h>
#include <zllm_archive.h>

typedef struct {
    FILE *file; /* a connection, a database, ... */
    unsigned long requests, bytes;
} store_t;

/* Up to *size bytes from `offset` on: fewer are fine, none at the end alone. */
static int read_store(void *context, uint64_t offset, void *data, size_t *size) {
    store_t *store = context;
    if (fseek(store->file, (long)offset, SEEK_SET) != 0) return 1;
    *size = fread(data, 1, *size, store->file);
    store->requests++;
    store->bytes += (unsigned long)*size;
    return ferror(store->file);
}

static int print_size(zllm_archive *archive, const char *name) {
    static char data[1 << 16];
    unsigned long long total = 0;
    zllm_member member;
    size_t size = sizeof data;
    zllm_result rc = zllm_archive_find(archive, name, &member);
    while (rc == ZLLM_OK && size > 0) {
        size = sizeof data;
        rc = zllm_archive_read(archive, data, &size);
        total += size;
    }
    if (rc == ZLLM_OK) printf("%s: %llu bytes\n", name, total);
    else fprintf(stderr, "%s: %s\n", name, zllm_archive_error(archive));
    return rc == ZLLM_OK ? 0 : 1;
}

int main(int count, char **arguments) {
    store_t store = {count > 1 ? fopen(arguments[1], "rb") : NULL, 0, 0};
    zllm_input input = {read_store, &store, 0, 0};
    zllm_archive *archive;
    int failed = 0;
    if (store.file == NULL || fseek(store.file, 0, SEEK_END) != 0) return 2;
    input.size = (uint64_t)ftell(store.file);
    if (zllm_archive_open_input(&input, NULL, &archive) != ZLLM_OK) {
        fprintf(stderr, "%s\n", zllm_archive_error(NULL));
        return 1;
    }
    for (int i = 2; i < count; i++) failed |= print_size(archive, arguments[i]);
    printf("%lu bytes read of %lu\n", store.bytes, (unsigned long)input.size);
    zllm_archive_close(archive);
    fclose(store.file);
    return failed;
}
