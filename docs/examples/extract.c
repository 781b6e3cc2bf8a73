/* What is in an archive, and one member of it to standard output.
 *
 *     cc extract.c -o extract $(pkg-config --cflags --libs zllm)
 *     ./extract ARCHIVE
 *     ./extract ARCHIVE MEMBER */
#include <stdio.h>
#include <zllm_archive.h>

static int fail(zllm_archive *archive) {
    fprintf(stderr, "%s\n", zllm_archive_error(archive));
    zllm_archive_close(archive);
    return 1;
}

static zllm_result list(zllm_archive *archive) {
    zllm_member member;
    zllm_result rc;
    while ((rc = zllm_archive_next(archive, &member)) == ZLLM_OK) printf("%s\n", member.name);
    return rc == ZLLM_END ? ZLLM_OK : rc; /* all members that are whole have come, also if the archive is damaged */
}

static zllm_result extract(zllm_archive *archive, const char *name) {
    static char data[1 << 16];
    zllm_member member;
    size_t size = sizeof data;
    zllm_result rc = zllm_archive_find(archive, name, &member);
    while (rc == ZLLM_OK && size > 0) {
        size = sizeof data;
        rc = zllm_archive_read(archive, data, &size);
        if (size > 0 && fwrite(data, 1, size, stdout) != size) return ZLLM_E_OUTPUT;
    }
    return rc; /* not ZLLM_OK: what was written is not what was packed */
}

int main(int count, char **arguments) {
    zllm_archive *archive;
    if (count != 2 && count != 3) return 2;
    if (zllm_archive_open(arguments[1], NULL, &archive) != ZLLM_OK) return fail(NULL);
    if ((count == 2 ? list(archive) : extract(archive, arguments[2])) != ZLLM_OK) return fail(archive);
    zllm_archive_close(archive);
    return fflush(stdout) != 0;
}
