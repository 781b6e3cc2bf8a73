/* A frame of codec llm: its payload taken apart, and its text put together (docs/zllm-format.md, "Payloads"). */
#ifndef ZLLM_TEXT_FRAME_H
#define ZLLM_TEXT_FRAME_H

#include "archive/problem.h"
#include "heap.h"

typedef struct {
    heap_t *heap;
    zllm_repeat *repeats;
    size_t n_repeats;
    uint64_t *cuts;       /* of all streams, one after the other */
    zllm_stream *streams;
    uint8_t *text;        /* without its repeats, if there are some */
    uint8_t *out;         /* with them */
    size_t size;
    zllm_frame frame;
} text_frame_t;

/* Of `size` bytes of text, more than 0, which go to `out`. `cuts`: where documents start in it. Free it in any case. */
zllm_result zllm_text_open(heap_t *heap, const uint8_t *payload, size_t payload_size, uint8_t *out, size_t size,
                           const uint64_t *cuts, size_t n_cuts, text_frame_t *t, problem_t *p);
/* When the frame is decoded: put the repeats back. */
void zllm_text_finish(text_frame_t *t);
void zllm_text_free(text_frame_t *t);

#endif
