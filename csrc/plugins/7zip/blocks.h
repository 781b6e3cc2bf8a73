/* What the codec's stream is made of: blocks, and a byte that ends it (docs/7zip.md). */
#ifndef ZLLM_7ZIP_BLOCKS_H
#define ZLLM_7ZIP_BLOCKS_H

#include "plugins/7zip/models.h"

#define STREAM_END 0xffu
#define MOST_BLOCK ((size_t)64 << 20)
#define LARGE_FILE ((uint64_t)256 << 10) /* is coded on its own */

/* How blocks are coded. */
typedef struct {
    const coder_model_t *model; /* or NULL */
    uint32_t gain;              /* thousandths that the model has to save */
    uint32_t streams;           /* of a text, at most */
    size_t memory_limit;        /* of one thread; 0: any */
    volatile int32_t cancel;
} coding_t;

/* A piece of work: encoding takes `in` and makes `out`, blocks, with malloc; decoding takes a block's payload and fills
 * `out`. */
typedef struct {
    uint8_t *in, *out;
    size_t in_size, out_size;
    size_t *cuts;               /* encoding: where large files begin or end, ascending; or NULL */
    size_t n_cuts;
    uint8_t codec;              /* decoding: the block's */
    volatile uint64_t progress; /* bytes of the data done */
    int uses_model;
    zllm_result rc;
} piece_t;

void encode_piece(coding_t *coding, piece_t *piece);
void decode_piece(coding_t *coding, piece_t *piece);
/* Bytes that a thread takes, roughly, for pieces of that many bytes. */
size_t piece_memory(const coding_t *coding, size_t size, int decoding);

/* Work at n pieces by at most `threads` threads; `tick` is called by the caller's thread a few times a second, with the bytes
 * that are done; what it returns ends the work if it is not 0, and is returned. */
typedef void (*work_t)(coding_t *coding, piece_t *piece);
int work_at(work_t work, coding_t *coding, piece_t *pieces, size_t n, uint32_t threads,
            int (*tick)(void *context, uint64_t done), void *context);

#endif
