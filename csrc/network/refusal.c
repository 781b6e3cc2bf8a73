#include "network/refusal.h"

#include <stdarg.h>
#include <stdio.h>

static _Thread_local char message[256];

const char *zllm_model_error(void) { return message; }

zllm_result zllm_refuse(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    return ZLLM_E_MODEL;
}

quoted_t zllm_quoted(const char *name, size_t size) {
    quoted_t out;
    size_t n = size < sizeof out.text - 1 ? size : sizeof out.text - 1;
    if (n < size)
        while (n > 0 && ((uint8_t)name[n] & 0xc0) == 0x80) n--;
    for (size_t i = 0; i < n; i++) out.text[i] = name[i];
    for (size_t i = 0; i < n; i++)
        if ((uint8_t)name[i] < 0x20 || name[i] == 0x7f) out.text[i] = '?';
    out.text[n] = 0;
    return out;
}
