#define _POSIX_C_SOURCE 200809L
#define _FILE_OFFSET_BITS 64
#include "archive/file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#if defined(_WIN32)
#define WIN32_LEAN_AND_MEAN
#define NOMINMAX
#include <io.h>
#include <windows.h>

#define LONGEST_PATH 4096 /* UTF-16 units */

static int open_path(const char *path) {
    wchar_t wide[LONGEST_PATH];
    if (MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, path, -1, wide, LONGEST_PATH) == 0) {
        errno = EINVAL;
        return -1;
    }
    return _wopen(wide, _O_RDONLY | _O_BINARY | _O_NOINHERIT);
}

/* Bytes at a place; the descriptor's own position does not matter. -1: it failed. */
static int64_t read_place(int file, void *data, size_t size, uint64_t offset) {
    DWORD got = 0;
    OVERLAPPED place = {.Offset = (DWORD)offset, .OffsetHigh = (DWORD)(offset >> 32)};
    const DWORD part = size < ((size_t)1 << 30) ? (DWORD)size : (DWORD)1 << 30;
    if (ReadFile((HANDLE)_get_osfhandle(file), data, part, &got, &place) || GetLastError() == ERROR_HANDLE_EOF) return got;
    errno = EIO;
    return -1;
}
#else
static int open_path(const char *path) { return open(path, O_RDONLY | O_CLOEXEC); }

static int64_t read_place(int file, void *data, size_t size, uint64_t offset) {
    return pread(file, data, size, (off_t)offset);
}
#endif

int zllm_file_open(const char *path, uint64_t *size, const char **why) {
    struct stat state;
    const int file = open_path(path);
    if (file >= 0 && fstat(file, &state) == 0 && S_ISREG(state.st_mode)) {
        *size = (uint64_t)state.st_size;
        return file;
    }
    *why = file < 0 ? strerror(errno) : "not a regular file";
    zllm_file_close(file);
    return -1;
}

int zllm_file_read(int file, uint64_t offset, void *data, size_t *size) {
    const size_t wanted = *size;
    *size = 0;
    while (*size < wanted) {
        const int64_t got = read_place(file, (char *)data + *size, wanted - *size, offset + *size);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return 1;
        if (got == 0) break;
        *size += (size_t)got;
    }
    return 0;
}

void zllm_file_close(int file) {
    if (file >= 0) (void)close(file);
}
