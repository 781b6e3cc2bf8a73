/* What can be had of a damaged frame: all of it if one bit is wrong, else the members that are provably whole. Nothing is
 * believed because it decodes: what a correction or a damaged payload gives is proved by the hash of the frame's data or of
 * runs of it, or member by member by the SHA-256 of each. */
#ifndef ZLLM_RESCUE_H
#define ZLLM_RESCUE_H

#include "archive/section.h"

/* Set s->data, s->proofs and s->problems of a frame whose part is damaged, as `damage` says. A result other than ZLLM_OK is
 * not about the frame. */
zllm_result zllm_frame_rescue(section_t *s, const decoder_of_frames_t *d, size_t number, const problem_t *damage,
                              problem_t *p);

#endif
