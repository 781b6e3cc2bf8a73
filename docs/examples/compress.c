/* A text in a buffer, there and back, with a model or without.
 *
 *     cc compress.c -o compress $(pkg-config --cflags --libs zllm)
 *     ./compress TEXT [MODEL.zlm] */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zllm_text.h>

static unsigned char *read_file(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    unsigned char *data = NULL;
    if (file != NULL && fseek(file, 0, SEEK_END) == 0) {
        *size = (size_t)ftell(file);
        rewind(file);
        data = malloc(*size + 1);
        if (data != NULL && fread(data, 1, *size, file) != *size) *size = 0;
    }
    if (file != NULL) fclose(file);
    return data;
}

int main(int count, char **arguments) {
    size_t length, model_size, size, back, said;
    int needs_model;
    zllm_model *model = NULL;
    unsigned char *text = count > 1 ? read_file(arguments[1], &length) : NULL;
    unsigned char *file = count > 2 ? read_file(arguments[2], &model_size) : NULL;
    if (text == NULL || (count > 2 && file == NULL)) return 2;
    if (file != NULL && zllm_model_parse(file, model_size, NULL, NULL, &model) != ZLLM_OK) {
        fprintf(stderr, "%s\n", zllm_model_error());
        return 1;
    }
    size = zllm_bound(length);
    unsigned char *coded = malloc(size);
    if (coded == NULL || zllm_compress(model, text, length, coded, &size, NULL) != ZLLM_OK) return 1;
    printf("%lu bytes are %lu\n", (unsigned long)length, (unsigned long)size);
    /* Who gets it does not know how long the text is, and whether it takes a model. */
    if (zllm_text_size(coded, size, &said, &needs_model) != ZLLM_OK || said != length) return 1;
    unsigned char *again = malloc(said + 1);
    back = said;
    if (again == NULL || zllm_decompress(needs_model ? model : NULL, coded, size, again, &back, NULL) != ZLLM_OK) return 1;
    const int same = back == length && memcmp(text, again, length) == 0;
    zllm_model_free(model);
    free(again);
    free(coded);
    free(file);
    free(text);
    return same ? 0 : 1;
}
