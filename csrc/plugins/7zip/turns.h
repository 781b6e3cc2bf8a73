/* The work of encoder and decoder, apart from what 7-Zip calls. */
#ifndef ZLLM_7ZIP_TURNS_H
#define ZLLM_7ZIP_TURNS_H

#include "plugins/7zip/blocks.h"
#include "plugins/7zip/com.h"

typedef struct {
    int encoding;
    int whole;               /* decoding: up to the stream's end */
    uint32_t threads;
    size_t block;            /* encoding: bytes of a piece */
    uint64_t memory;         /* limit; 0: any */
    int coded, uses_model;   /* encoding: whether it is done, and some block is the model's */
    coding_t coding;
} settings_t;

/* *size: bytes that a decoder is to write; NULL: all. */
result_t code_stream(settings_t *s, in_stream_t *in, out_stream_t *out, const uint64_t *size, progress_t *progress);

#endif
