/* Where the sections of an input that is not a pipe are: from its directories, or, if those do not do, by going from part to
 * part. */
#ifndef ZLLM_LAYOUT_H
#define ZLLM_LAYOUT_H

#include "archive/archive.h"

/* Find all sections. ZLLM_E_ARGUMENT: there is no such generation. */
zllm_result zllm_layout_make(zllm_archive *a);
/* Read section number *number again. If it is not where the directory says it is looked for, and numbers change: *number is
 * that of the section, or, with an error, of the last one before those behind it. */
zllm_result zllm_layout_load(zllm_archive *a, size_t *number);
void zllm_layout_free(zllm_archive *a);

/* For the files of the layout alone. By the directories, if they tell where every byte belongs; ZLLM_E_DAMAGED or
 * ZLLM_E_VERSION: they do not. */
zllm_result zllm_layout_directories(zllm_archive *a);
/* Add an entry, which takes what belongs to it. */
zllm_result zllm_layout_add(zllm_archive *a, const indexed_t *entry);
zllm_result zllm_layout_add_section(zllm_archive *a, section_t *s);
zllm_result zllm_layout_add_other(zllm_archive *a, uint64_t place, uint32_t seed, const envelope_t *e);
/* Add a generation; its deletions have been added. */
zllm_result zllm_layout_add_generation(zllm_archive *a, const generation_t *generation);
/* The entry of a row whose header is in the directory of the archive that begins at `start` of the input. */
zllm_result zllm_layout_of_row(zllm_archive *a, const row_t *row, uint64_t start, uint64_t base, uint32_t seed,
                               indexed_t *out);
/* Remember a model part at a place. */
zllm_result zllm_layout_add_model(zllm_archive *a, uint64_t place, uint32_t seed, const envelope_t *e);
zllm_result zllm_layout_missing(zllm_archive *a, uint64_t last);

#endif
