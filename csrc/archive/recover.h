/* File headers that are damaged. */
#ifndef ZLLM_RECOVER_H
#define ZLLM_RECOVER_H

#include "archive/part.h"
#include "archive/source.h"

/* The seed of the archive that begins at the input's position, whose header cannot be read; *found is 0 if it cannot be
 * told, or if there is none. A result other than ZLLM_OK is not about the archive. */
zllm_result zllm_header_recover(input_t *s, uint32_t *seed, int *found, problem_t *p);

#endif
