/* A program that knows of the installed headers alone: what an archive holds, by a path, by callbacks and by a pipe.
 *
 *     reading ARCHIVE [MODEL.zlm]
 *
 * prints of each member its size, the SHA-256 of its data, and its name. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zllm_archive.h>
#include <zllm_text.h>

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
    fclose(file);
    return f;
}

static int fail(zllm_archive *archive, zllm_result rc) {
    fprintf(stderr, "reading: %s (%d)\n", zllm_archive_error(archive), (int)rc);
    zllm_archive_close(archive);
    return 1;
}

/* What a caller has that keeps archives elsewhere. */
static int read_piece(void *context, uint64_t offset, void *data, size_t *size) {
    const file_t *f = context;
    const size_t left = offset < f->size ? f->size - (size_t)offset : 0;
    if (*size > left) *size = left;
    if (*size > 1000) *size = 1000; /* fewer than was asked for; none at the end alone */
    memcpy(data, f->data + offset, *size);
    return 0;
}

static zllm_result find_model(void *context, const zllm_model_ref *model, const uint8_t **data, size_t *size) {
    const file_t *f = context;
    if (f->data == NULL || f->size != model->size) return ZLLM_E_MISSING;
    *data = f->data;
    *size = f->size;
    return ZLLM_OK;
}

static zllm_result print_member(zllm_archive *archive, const zllm_member *member) {
    uint8_t hash[32], *data = NULL, *more;
    size_t used = 0, size;
    zllm_result rc;
    do {
        more = realloc(data, used + 4096);
        if (more == NULL) exit(2);
        data = more;
        size = 4096;
        rc = zllm_archive_read(archive, data + used, &size);
        used += size;
    } while (rc == ZLLM_OK && size > 0);
    zllm_hash(data, used, hash);
    printf("%lu ", (unsigned long)used);
    for (size = 0; size < sizeof hash; size++) printf("%02x", hash[size]);
    printf(" %s\n", member->name);
    free(data);
    return rc;
}

static int read_archive(zllm_archive *archive, int print) {
    zllm_member member;
    zllm_result rc;
    unsigned long members = 0;
    while ((rc = zllm_archive_next(archive, &member)) == ZLLM_OK) {
        members++;
        if (print && (rc = print_member(archive, &member)) != ZLLM_OK) break;
    }
    if (rc != ZLLM_END) return fail(archive, rc);
    if (!print) printf("%lu members\n", members);
    zllm_archive_close(archive);
    return 0;
}

/* A buffer there and back. */
static int code_text(const file_t *text) {
    size_t size = zllm_bound(text->size), back = text->size;
    uint8_t *coded = malloc(size), *out = malloc(text->size + 1);
    if (coded == NULL || out == NULL) return 1;
    if (zllm_compress(NULL, text->data, text->size, coded, &size, NULL) != ZLLM_OK) return 1;
    if (zllm_decompress(NULL, coded, size, out, &back, NULL) != ZLLM_OK) return 1;
    if (back != text->size || memcmp(out, text->data, back) != 0) return 1;
    printf("text: %lu bytes are %lu\n", (unsigned long)text->size, (unsigned long)size);
    free(coded);
    free(out);
    return 0;
}

int main(int count, char **arguments) {
    file_t archive_file, model = {NULL, 0};
    zllm_archive_options options;
    zllm_archive *archive;
    zllm_input input;
    zllm_result rc;
    if (count < 2) return 2;
    archive_file = read_all(arguments[1]);
    if (count > 2) model = read_all(arguments[2]);
    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    options.threads = 2;
    options.find_model = find_model;
    options.context = &model;
    rc = zllm_archive_open(arguments[1], &options, &archive);
    if (rc != ZLLM_OK) return fail(NULL, rc);
    if (read_archive(archive, 1) != 0) return 1;
    memset(&input, 0, sizeof input);
    input.read = read_piece;
    input.context = &archive_file;
    input.size = archive_file.size;
    for (input.sequential = 0; input.sequential < 2; input.sequential++) {
        rc = zllm_archive_open_input(&input, &options, &archive);
        if (rc != ZLLM_OK) return fail(NULL, rc);
        if (read_archive(archive, 0) != 0) return 1;
    }
    rc = code_text(&archive_file);
    free(archive_file.data);
    free(model.data);
    return rc;
}
