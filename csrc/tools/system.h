/* What the operating systems do differently. */
#ifndef UNZLLM_SYSTEM_H
#define UNZLLM_SYSTEM_H

#include <stdint.h>

/* Make standard streams binary and arguments UTF-8, where they are not. 0, or -1: no memory. */
int system_begin(int *count, char ***arguments);
/* A file's content, until the program ends; NULL: *why says why. */
uint8_t *system_map(const char *path, uint64_t *size, const char **why);
/* If the path is a named pipe, make it standard input. 1: it is now; 0: it is not a pipe; -1 with errno. */
int system_pipe(const char *path);

#endif
