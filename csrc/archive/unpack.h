/* The well-known formats inside: deflate, zstd, lz4; and text by the predictor alone. Each gives exactly the size that the
 * caller has compared with a limit, or a problem. */
#ifndef ZLLM_UNPACK_H
#define ZLLM_UNPACK_H

#include "archive/problem.h"
#include "heap.h"

#define DICTIONARY_SIZE 2051u
extern const uint8_t zllm_dictionary[DICTIONARY_SIZE];

/* `what` is for messages: "the section map". */
zllm_result zllm_inflate(heap_t *heap, const uint8_t *data, size_t size, uint8_t *out, size_t out_size, const char *what,
                         problem_t *p);
zllm_result zllm_unpack_zstd(heap_t *heap, const uint8_t *data, size_t size, uint8_t *out, size_t out_size,
                             const char *what, problem_t *p);
/* What damaged data of zstd gives before the block that the library refuses. */
zllm_result zllm_unpack_zstd_prefix(heap_t *heap, const uint8_t *data, size_t size, uint8_t *out, size_t out_size,
                                    problem_t *p);
zllm_result zllm_unpack_lz4(const uint8_t *data, size_t size, uint8_t *out, size_t out_size, problem_t *p);

/* How text is decoded, by the predictor or a model. */
typedef struct {
    const char *kernel;
    const volatile int32_t *cancel;
    const zllm_options *options; /* or NULL */
} decoding_t;

/* A payload of codec cm, of a frame (`limited`) or of a column, which has limits of its own. */
zllm_result zllm_unpack_cm(const decoding_t *d, const uint8_t *data, size_t size, uint8_t *out, size_t out_size,
                           const uint64_t *cuts, size_t n_cuts, int limited, const char *what, problem_t *p);

/* Payloads of frames of samples, of pixels and of numbers. */
zllm_result zllm_unpack_pcm(const decoding_t *d, const uint8_t *data, size_t size, uint8_t *out, size_t out_size,
                            problem_t *p);
zllm_result zllm_unpack_image(const decoding_t *d, const uint8_t *data, size_t size, uint8_t *out, size_t out_size,
                              problem_t *p);
zllm_result zllm_unpack_tensors(heap_t *heap, const uint8_t *data, size_t size, uint8_t *out, size_t out_size, problem_t *p);

/* Data that was packed by deflate, and what else a frame of it has. */
zllm_result zllm_unpack_rebuild(const decoding_t *d, heap_t *heap, unsigned depth, const uint8_t *data, size_t size,
                                uint8_t *out, size_t out_size, problem_t *p);
/* A payload of any codec that needs neither a model nor to know where members begin. */
zllm_result zllm_unpack_alone(const decoding_t *d, heap_t *heap, unsigned codec, const uint8_t *data, size_t size,
                              uint8_t *out, size_t out_size, problem_t *p);

/* What a failure of the coder means here. */
zllm_result zllm_problem_of_coder(zllm_result rc, const char *what, problem_t *p);

#endif
