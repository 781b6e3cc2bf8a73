/* The file that an archive is in. */
#ifndef ZLLM_FILE_OF_ARCHIVE_H
#define ZLLM_FILE_OF_ARCHIVE_H

#include <stddef.h>
#include <stdint.h>

/* Open a regular file for reading, and store its size. Returns a descriptor, or -1; *why then says why. On Windows paths are
 * UTF-8. */
int zllm_file_open(const char *path, uint64_t *size, const char **why);
/* Up to *size bytes at `offset`, fewer at the end; stores in *size how many. 0, or 1 if reading failed. Threads may call it at
 * the same time. */
int zllm_file_read(int file, uint64_t offset, void *data, size_t *size);
/* Close it, or -1. */
void zllm_file_close(int file);

#endif
