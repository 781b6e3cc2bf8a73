/* The models that frames name, and those that archives bring along. */
#ifndef ZLLM_MODELS_H
#define ZLLM_MODELS_H

#include "archive/part.h"
#include "archive/source.h"
#include "archive/unpack.h"

/* Entries of an archive, at most: lists of them are gone through. */
#define MOST_KNOWN 16384u

/* A model that some section names. */
typedef struct known_model {
    struct known_model *next;
    zllm_model_ref ref;
    char *texts; /* name and origin */
    int tried;
    zllm_model *model;  /* NULL: not asked for yet, or problem says why it cannot be had */
    uint32_t start;
    problem_t problem;
} known_model_t;

/* A model part. */
typedef struct embedded {
    struct embedded *next;
    model_part_t said;
    envelope_t envelope;
    uint64_t place;  /* in the input */
    uint32_t seed;
    uint8_t *copy;   /* of a pipe: the whole part */
} embedded_t;

typedef struct {
    heap_t *heap;
    input_t *input;
    const zllm_limits *limits;
    decoding_t decoding;
    zllm_result (*find)(void *context, const zllm_model_ref *model, const uint8_t **data, size_t *size);
    void *context;
    known_model_t *known, *last;
    embedded_t *embedded;
    size_t n; /* entries of both lists */
} models_t;

void zllm_models_free(models_t *m);
/* Forget the parts. */
void zllm_models_forget(models_t *m);
/* Forget the parts at a place of the input or behind it. */
void zllm_models_cut(models_t *m, uint64_t end);
/* The entry of a model; made if it is new. */
zllm_result zllm_models_name(models_t *m, const model_said_t *said, known_model_t **out, problem_t *p);
/* Remember a part; of a pipe with a copy of it, which becomes theirs. */
zllm_result zllm_models_embedded(models_t *m, const embedded_t *part, problem_t *p);
/* Have a model ready. */
zllm_result zllm_models_load(models_t *m, known_model_t *model, problem_t *p);
/* Decode a model part, compare its checksum and hash. */
zllm_result zllm_models_unpack(models_t *m, const embedded_t *e, uint8_t **data, problem_t *p);

/* What a model answers to a fixed text (docs/model-format.md). */
zllm_result zllm_model_answer(const zllm_model *model, uint8_t out[SHA256_SIZE], const zllm_options *options);

#endif
