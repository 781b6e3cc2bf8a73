#define _POSIX_C_SOURCE 200809L
#define _FILE_OFFSET_BITS 64
#include "tools/system.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#if defined(_WIN32)
#define WIN32_LEAN_AND_MEAN
#define NOMINMAX
#include <io.h>
#include <windows.h>
#include <shellapi.h>

#include "archive/file.h"

static char *in_utf8(const wchar_t *wide) {
    const int size = WideCharToMultiByte(CP_UTF8, 0, wide, -1, NULL, 0, NULL, NULL);
    char *text = size > 0 ? malloc((size_t)size) : NULL;
    if (text != NULL) (void)WideCharToMultiByte(CP_UTF8, 0, wide, -1, text, size, NULL, NULL);
    return text;
}

int system_begin(int *count, char ***arguments) {
    static const int STREAMS[] = {0, 1, 2};
    wchar_t **wide = CommandLineToArgvW(GetCommandLineW(), count);
    char **texts = wide == NULL ? NULL : calloc((size_t)*count + 1, sizeof *texts);
    if (texts == NULL) return -1;
    for (int i = 0; i < *count; i++)
        if ((texts[i] = in_utf8(wide[i])) == NULL) return -1;
    (void)LocalFree(wide);
    for (size_t i = 0; i < sizeof STREAMS / sizeof *STREAMS; i++) (void)_setmode(STREAMS[i], _O_BINARY);
    (void)SetConsoleOutputCP(CP_UTF8);
    *arguments = texts;
    return 0;
}

uint8_t *system_map(const char *path, uint64_t *size, const char **why) {
    const int file = zllm_file_open(path, size, why);
    if (file < 0) return NULL;
    size_t got = (size_t)*size;
    uint8_t *data = malloc(got + 1);
    if (data == NULL) *why = strerror(ENOMEM);
    else if (zllm_file_read(file, 0, data, &got) != 0 || got != *size) {
        *why = strerror(EIO);
        free(data);
        data = NULL;
    }
    zllm_file_close(file);
    return data;
}

int system_pipe(const char *path) {
    (void)path; /* named pipes are not in folders there */
    return 0;
}
#else
#include <sys/mman.h>

int system_begin(int *count, char ***arguments) {
    (void)count;
    (void)arguments;
    return 0;
}

uint8_t *system_map(const char *path, uint64_t *size, const char **why) {
    struct stat state;
    const int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0 || fstat(file, &state) != 0 || state.st_size <= 0) {
        *why = file < 0 ? strerror(errno) : "not a model";
        return NULL;
    }
    void *data = mmap(NULL, (size_t)state.st_size, PROT_READ, MAP_PRIVATE, file, 0);
    (void)close(file);
    *size = (uint64_t)state.st_size;
    if (data != MAP_FAILED) return data;
    *why = strerror(errno);
    return NULL;
}

int system_pipe(const char *path) {
    struct stat state;
    if (stat(path, &state) != 0 || !S_ISFIFO(state.st_mode)) return 0;
    const int file = open(path, O_RDONLY | O_CLOEXEC);
    return file < 0 || dup2(file, STDIN_FILENO) < 0 ? -1 : 1;
}
#endif
