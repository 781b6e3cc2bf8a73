/* Codes a text with a model, and without one, by libzllm: what a program does that knows of zllm.h alone.
 * Usage: example MODEL.zlm. Exit status 0 if the text comes back. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <zllm.h>

static const char TEXT[] = "It was the best of times, it was the worst of times, it was the age of wisdom, it was the age of "
                           "foolishness.\n";
#define SIZE (sizeof TEXT - 1)

static int failed(const char *what, zllm_result rc) {
    fprintf(stderr, "%s: result %d %s\n", what, (int)rc, rc == ZLLM_E_MODEL ? zllm_model_error() : "");
    return 1;
}

/* A whole file; the caller frees it. NULL if it cannot be read. */
static uint8_t *read_all(const char *name, size_t *size) {
    FILE *file = fopen(name, "rb");
    uint8_t *data = NULL;
    if (file == NULL) return NULL;
    if (fseek(file, 0, SEEK_END) == 0) {
        const long end = ftell(file);
        *size = end > 0 ? (size_t)end : 0;
        data = end > 0 ? malloc(*size) : NULL;
        rewind(file);
        if (data != NULL && fread(data, 1, *size, file) != *size) {
            free(data);
            data = NULL;
        }
    }
    fclose(file);
    return data;
}

static const zllm_tensor *find(const zllm_tensor *tensors, size_t n, const char *name) {
    for (size_t i = 0; i < n; i++)
        if (strlen(name) == tensors[i].name_size && memcmp(name, tensors[i].name, tensors[i].name_size) == 0)
            return &tensors[i];
    return NULL;
}

static uint32_t little32(const uint8_t *p) {
    return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* The text in tokens, of which there are at most SIZE: at each place the longest that fits. Any tokens whose bytes are the text
 * will do; a model's own tokenizer chooses those that it was trained with, which cost less. */
static size_t tokenise(const zllm_model_file *file, uint32_t vocab, uint32_t *tokens) {
    size_t n, count = 0, best;
    const zllm_tensor *tensors = zllm_model_file_tensors(file, &n);
    const uint8_t *bytes = find(tensors, n, "tokens.bytes")->data, *offsets = find(tensors, n, "tokens.offsets")->data;
    for (size_t at = 0; at < SIZE; at += best) {
        best = 0;
        for (uint32_t i = 0; i < vocab; i++) {
            const uint32_t from = little32(offsets + 4 * i), length = little32(offsets + 4 * (i + 1)) - from;
            if (length <= best || length > SIZE - at || memcmp(bytes + from, TEXT + at, length) != 0) continue;
            best = length;
            tokens[count] = i;
        }
        count++; /* every byte is a token */
    }
    return count;
}

/* One thread's work at a frame. */
static zllm_result work(const zllm_model *model, zllm_frame *frame, int decoding) {
    const zllm_run run = {.lanes = 8};
    zllm_job *job;
    zllm_result rc = zllm_job_new(model, frame, 0, 1, decoding, NULL, &job);
    if (rc == ZLLM_OK) rc = zllm_job_work(&job, 1, 0, &run);
    zllm_job_free(job);
    return rc;
}

static int with_model(const zllm_model *model, const zllm_model_file *file) {
    uint32_t tokens[SIZE];
    uint8_t coded[8 * SIZE], text[SIZE];
    zllm_stream stream = {.tokens = tokens, .size = SIZE};
    zllm_frame frame = {.streams = &stream, .n_streams = 1, .size = SIZE, .coded = coded, .coded_size = sizeof coded};
    stream.n_tokens = tokenise(file, zllm_model_vocab(model), tokens);
    zllm_result rc = work(model, &frame, 0);
    if (rc != ZLLM_OK) return failed("encoding", rc);
    frame.data = text;
    rc = work(model, &frame, 1);
    if (rc != ZLLM_OK) return failed("decoding", rc);
    printf("with the model: %u bytes are %u\n", (unsigned)SIZE, (unsigned)frame.coded_size);
    return memcmp(text, TEXT, SIZE) != 0;
}

static int without_model(void) {
    const zllm_options options = {.size = sizeof options, .memory_limit = (size_t)64 << 20};
    uint8_t coded[8 * SIZE], text[SIZE];
    size_t size = sizeof coded;
    zllm_result rc = zllm_cm_encode((const uint8_t *)TEXT, SIZE, NULL, 0, coded, &size, NULL, NULL, NULL, &options);
    if (rc != ZLLM_OK) return failed("encoding", rc);
    rc = zllm_cm_decode(coded, size, text, SIZE, NULL, 0, NULL, NULL, NULL, &options);
    if (rc != ZLLM_OK) return failed("decoding", rc);
    printf("without a model: %u bytes are %u\n", (unsigned)SIZE, (unsigned)size);
    return memcmp(text, TEXT, SIZE) != 0;
}

int main(int count, char **arguments) {
    zllm_model_file *file = NULL;
    zllm_model *model = NULL;
    size_t size = 0;
    uint8_t *data = count == 2 ? read_all(arguments[1], &size) : NULL;
    if (data == NULL) return fputs("usage: example MODEL.zlm\n", stderr), 2;
    zllm_result rc = zllm_model_file_open(data, size, NULL, &file);
    if (rc == ZLLM_OK) rc = zllm_model_parse(data, size, NULL, NULL, &model);
    const int wrong = rc != ZLLM_OK ? failed(arguments[1], rc) : with_model(model, file) || without_model();
    zllm_model_free(model);
    zllm_model_file_free(file);
    free(data);
    return wrong;
}
