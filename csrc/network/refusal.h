/* Why a model was refused, in words for the user of the file. */
#ifndef ZLLM_REFUSAL_H
#define ZLLM_REFUSAL_H

#include "zllm.h"

/* Remember a message for zllm_model_error(). Returns ZLLM_E_MODEL. */
zllm_result zllm_refuse(const char *format, ...) __attribute__((format(printf, 1, 2)));

#define CHECK(condition, ...)                           \
    do {                                                \
        if (!(condition)) return zllm_refuse(__VA_ARGS__);   \
    } while (0)

/* A name of the file that a message quotes: its first bytes, without control characters, or half a character at the end. */
typedef struct {
    char text[104];
} quoted_t;
quoted_t zllm_quoted(const char *name, size_t size);

#endif
