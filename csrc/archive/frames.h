/* Decoding frames of a section, several at once. */
#ifndef ZLLM_FRAMES_H
#define ZLLM_FRAMES_H

#include "archive/section.h"

/* Decode these frames, none of which is decoded yet; s->data or s->problems tells what came of each. A result other than
 * ZLLM_OK is not about the frames: no memory, no input, cancelled. */
zllm_result zllm_frames_decode(section_t *s, const decoder_of_frames_t *d, const size_t *frames, size_t n, problem_t *p);

#endif
