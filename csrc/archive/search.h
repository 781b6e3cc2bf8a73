/* Looking for parts where none is due. */
#ifndef ZLLM_SEARCH_H
#define ZLLM_SEARCH_H

#include "archive/part.h"
#include "archive/source.h"

/* Searches that an archive may ask for: each costs as much as reading some kilobytes. */
#define SEARCHES (1u << 21)

/* Go on to the next place, the one here left out, that looks like a part of the archive with that seed, whose number is at
 * least `least`; or to the end. */
zllm_result zllm_search_part(input_t *s, uint32_t seed, uint64_t least, uint32_t *tries, problem_t *p);
/* The same or a file header, the place here not left out. ZLLM_END: there is none, and *passed bytes were passed. */
zllm_result zllm_search_archive(input_t *s, uint32_t seed, uint64_t least, uint32_t *tries, uint64_t *passed, problem_t *p);

#endif
