#include "plugins/7zip/com.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ESCAPE 0xef00u /* 7-Zip's: and the byte */
#define MOST_AT_ONCE ((size_t)1 << 20)

int same_guid(const guid_t *a, const guid_t *b) { return memcmp(a, b, sizeof *a) == 0; }

/* The host frees it as free(pointer - 4). */
static void *bstr(size_t bytes) {
    if (bytes > UINT32_MAX - 4 - sizeof(wchar_t)) return NULL;
    uint8_t *memory = malloc(4 + bytes + sizeof(wchar_t));
    if (memory == NULL) return NULL;
    const uint32_t length = (uint32_t)bytes;
    memcpy(memory, &length, 4);
    memset(memory + 4 + bytes, 0, sizeof(wchar_t));
    return memory + 4;
}

result_t put_bytes(variant_t *out, const void *data, size_t size) {
    void *text = bstr(size);
    if (text == NULL) return E_OUTOFMEMORY;
    if (size > 0) memcpy(text, data, size);
    *out = (variant_t){.type = VT_BSTR, .as.text = text};
    return S_OK;
}

/* The character at the front of `text`, and how many bytes it has; a byte that begins none is an escape. */
static uint32_t character(const uint8_t *text, size_t size, size_t *length) {
    static const uint32_t LEAST[] = {0, 0x80, 0x800, 0x10000};
    const uint32_t first = text[0];
    const size_t more = first < 0x80 ? 0 : first < 0xc2 ? 4 : first < 0xe0 ? 1 : first < 0xf0 ? 2 : first < 0xf5 ? 3 : 4;
    uint32_t value = more == 0 ? first : first & (0x3fu >> more);
    *length = 1;
    if (more == 4 || more >= size) return ESCAPE + first;
    for (size_t i = 1; i <= more; i++) {
        if ((text[i] & 0xc0) != 0x80) return ESCAPE + first;
        value = value << 6 | (text[i] & 0x3f);
    }
    const int surrogate = value >= 0xd800 && value < 0xe000, escape = (value & 0xffffff80u) == ESCAPE + 0x80;
    if (value < LEAST[more] || surrogate || escape || value > 0x10ffff) return ESCAPE + first;
    *length = more + 1;
    return value;
}

result_t put_text(variant_t *out, const char *text, size_t size) {
    const uint8_t *bytes = (const uint8_t *)text;
    wchar_t *wide = malloc((size + 1) * sizeof *wide);
    size_t n = 0, length;
    if (wide == NULL) return E_OUTOFMEMORY;
    for (size_t at = 0; at < size; at += length) {
        const uint32_t c = character(bytes + at, size - at, &length);
        wide[n++] = (wchar_t)c;
    }
    const result_t rc = put_bytes(out, wide, n * sizeof *wide);
    free(wide);
    return rc;
}

result_t put_u32(variant_t *out, uint32_t value) {
    *out = (variant_t){.type = VT_UI4, .as.u32 = value};
    return S_OK;
}

result_t put_u64(variant_t *out, uint64_t value) {
    *out = (variant_t){.type = VT_UI8, .as.u64 = value};
    return S_OK;
}

result_t put_truth(variant_t *out, int value) {
    *out = (variant_t){.type = VT_BOOL, .as.truth = (int16_t)(value ? -1 : 0)};
    return S_OK;
}

void narrow(const wchar_t *text, char *out, size_t room) {
    size_t used = 0;
    for (; *text != 0 && used + 5 < room; text++) {
        const uint32_t c = (uint32_t)*text;
        if ((c & 0xffffff80u) == ESCAPE + 0x80) out[used++] = (char)(c & 0xff);
        else if (c < 0x80) out[used++] = (char)c;
        else if (c < 0x800) {
            out[used++] = (char)(0xc0 | c >> 6);
            out[used++] = (char)(0x80 | (c & 0x3f));
        } else {
            if (c >= 0x10000) {
                out[used++] = (char)(0xf0 | (c >> 18 & 7));
                out[used++] = (char)(0x80 | (c >> 12 & 0x3f));
            } else out[used++] = (char)(0xe0 | c >> 12);
            out[used++] = (char)(0x80 | (c >> 6 & 0x3f));
            out[used++] = (char)(0x80 | (c & 0x3f));
        }
    }
    out[used] = 0;
}

result_t read_fully(in_stream_t *stream, void *data, size_t *size) {
    const size_t wanted = *size;
    for (*size = 0; *size < wanted;) {
        const size_t rest = wanted - *size;
        uint32_t done = 0;
        const result_t rc = stream->table->read(stream, (uint8_t *)data + *size,
                                                (uint32_t)(rest < MOST_AT_ONCE ? rest : MOST_AT_ONCE), &done);
        if (rc != S_OK) return rc;
        if (done == 0) break;
        *size += done;
    }
    return S_OK;
}

result_t write_fully(out_stream_t *stream, const void *data, size_t size) {
    for (size_t at = 0; at < size;) {
        const size_t rest = size - at;
        uint32_t done = 0;
        const result_t rc = stream->table->write(stream, (const uint8_t *)data + at,
                                                 (uint32_t)(rest < MOST_AT_ONCE ? rest : MOST_AT_ONCE), &done);
        if (rc != S_OK) return rc;
        if (done == 0) return E_FAIL;
        at += done;
    }
    return S_OK;
}

void complain(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    (void)fputs("ZLLM: ", stderr);
    (void)vfprintf(stderr, format, arguments);
    (void)fputc('\n', stderr);
    va_end(arguments);
}
