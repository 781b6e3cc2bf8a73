/* What is wrong, in words: one line of UTF-8 beside each result. */
#ifndef ZLLM_PROBLEM_H
#define ZLLM_PROBLEM_H

#include "zllm.h"

typedef struct {
    zllm_result result;
    char text[256];
} problem_t;

/* Remember it. Returns the result. */
zllm_result zllm_problem(problem_t *p, zllm_result result, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Which of two problems of an archive is told: the first, but damage rather than what needs a newer program. */
void zllm_problem_note(problem_t *told, const problem_t *other);

/* The result is spelled out for compilers that look for uninitialised variables. */
#define DAMAGED(p, ...) ((void)zllm_problem(p, ZLLM_E_DAMAGED, __VA_ARGS__), ZLLM_E_DAMAGED)
#define NO_MEMORY(p) \
    ((void)zllm_problem(p, ZLLM_E_MEMORY, "out of memory, or more of it is needed than is allowed"), ZLLM_E_MEMORY)

#endif
