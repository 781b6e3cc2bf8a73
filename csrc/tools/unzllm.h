/* unzllm: .zllm archives listed, tested and unpacked, by libzllm alone. */
#ifndef UNZLLM_H
#define UNZLLM_H

#include "zllm_archive.h"

/* As zllm's (docs/cli.md). */
enum { EXIT_DONE = 0, EXIT_WARNED = 1, EXIT_FAILED = 2, EXIT_DAMAGED = 3, EXIT_MISSING = 4 };

/* What the exit code will be: 3 comes before 4, before 2, before 1. */
typedef struct {
    int code;
} outcome_t;
void outcome_add(outcome_t *o, int code);
int code_of(zllm_result result);
/* A line on stderr, "unzllm: ...". */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* A name as it may be shown: control characters as \ooo. Static memory, of up to four names at a time. */
const char *shown(const char *name, size_t size);

/* extract.c: extract everything below a folder. `keep`: what exists is not replaced. */
int extract(zllm_archive *archive, const char *folder, outcome_t *outcome);

#endif
