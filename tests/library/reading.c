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

/* The second member is found by its name, and by its place, also from the end. */
static int find_again(zllm_archive *archive) {
    zllm_member member, again;
    zllm_model_ref model;
    uint64_t place, codecs;
    char name[200];
    size_t size = 1;
    if (zllm_archive_next(archive, &member) != ZLLM_OK || zllm_archive_next(archive, &member) != ZLLM_OK) return 1;
    place = member.place;
    if (member.name_size >= sizeof name) return 1;
    strcpy(name, member.name);
    while (zllm_archive_next(archive, &again) == ZLLM_OK) continue;
    if (zllm_archive_seek(archive, place) != ZLLM_OK || zllm_archive_next(archive, &again) != ZLLM_OK) return 1;
    if (again.place != place || strcmp(again.name, name) != 0) return 1;
    if (zllm_archive_find(archive, name, &again) != ZLLM_OK || again.place != place) return 1;
    if (zllm_archive_read(archive, name, &size) != ZLLM_OK || size != 1) return 1;
    if (zllm_archive_find(archive, "no such member", &again) != ZLLM_E_MISSING) return 1;
    if (zllm_archive_seek(archive, place + 1) != ZLLM_E_ARGUMENT) return 1;
    if (zllm_archive_codecs(archive, &codecs) != ZLLM_OK || codecs == 0) return 1;
    if ((codecs >> 3 & 1) != (zllm_archive_model(archive, 0, &model) == ZLLM_OK)) return 1;
    return zllm_archive_model(archive, 1, &model) != ZLLM_END;
}

/* A buffer there and back; what is damaged, too short or of another model is told. */
static int code_text(const zllm_model *model, const void *text, size_t length) {
    size_t size = zllm_bound(length), back = length, small = length - 1, said;
    uint8_t *coded = malloc(size), *out = malloc(length + 1);
    int needs_model;
    if (coded == NULL || out == NULL) return 1;
    if (zllm_compress(model, text, length, coded, &size, NULL) != ZLLM_OK) return 1;
    if (zllm_text_size(coded, size, &said, &needs_model) != ZLLM_OK || said != length) return 1;
    if (zllm_decompress(model, coded, size, out, &back, NULL) != ZLLM_OK) return 1;
    if (back != length || memcmp(out, text, back) != 0) return 1;
    if (zllm_decompress(model, coded, size, out, &small, NULL) != ZLLM_E_SPACE) return 1;
    if (needs_model && zllm_decompress(NULL, coded, size, out, &back, NULL) != ZLLM_E_MISSING) return 1;
    coded[size - 1] ^= 1;
    if (zllm_decompress(model, coded, size, out, &back, NULL) != ZLLM_E_DAMAGED) return 1;
    if (zllm_decompress(model, "other", 5, out, &back, NULL) != ZLLM_E_FORMAT) return 1;
    printf("text%s: %lu bytes are %lu\n", needs_model ? " by the model" : "", (unsigned long)length, (unsigned long)size);
    free(coded);
    free(out);
    return 0;
}

static int code_texts(const file_t *model_file) {
    static const char TEXT[] = "It is a truth universally acknowledged, that a single man in possession of a good fortune, "
                               "must be in want of a wife. It is a truth universally acknowledged.";
    zllm_model *model = NULL;
    int rc = code_text(NULL, TEXT, sizeof TEXT);
    if (rc == 0 && model_file->data != NULL) {
        if (zllm_model_parse(model_file->data, model_file->size, NULL, NULL, &model) != ZLLM_OK) return 1;
        rc = code_text(model, TEXT, sizeof TEXT);
        zllm_model_free(model);
    }
    return rc;
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
    rc = zllm_archive_open(arguments[1], &options, &archive);
    if (rc != ZLLM_OK || find_again(archive) != 0) return fail(archive, rc);
    zllm_archive_close(archive);
    memset(&input, 0, sizeof input);
    input.read = read_piece;
    input.context = &archive_file;
    input.size = archive_file.size;
    for (input.sequential = 0; input.sequential < 2; input.sequential++) {
        rc = zllm_archive_open_input(&input, &options, &archive);
        if (rc != ZLLM_OK) return fail(NULL, rc);
        if (read_archive(archive, 0) != 0) return 1;
    }
    rc = code_texts(&model);
    free(archive_file.data);
    free(model.data);
    return rc;
}
