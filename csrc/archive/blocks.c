#define _POSIX_C_SOURCE 200809L /* strnlen */
#include "archive/blocks.h"

#include <string.h>

#define TYPE_AT 156u
#define SIZE_AT 124u
#define SUM_AT 148u

void zllm_block_write(uint8_t *b, const uint8_t *profile, text_t link, text_t rest, const uint8_t *size,
                      const uint8_t *mtime) {
    memset(b, 0, BLOCK);
    memcpy(b + 100, profile, 24);
    memcpy(b + SIZE_AT, size, NUMBER_SIZE);
    memcpy(b + 136, mtime, NUMBER_SIZE);
    b[TYPE_AT] = profile[24];
    if (link.size > 0) memcpy(b + 157, link.data, link.size);
    memcpy(b + 257, profile + 25, PROFILE_SIZE - 25);
    if (rest.size > 0) memcpy(b + 345, rest.data, rest.size);
}

void zllm_block_sum(uint8_t *b) {
    uint32_t sum = SUM_SIZE * 0x20; /* as if spaces were in its own place */
    memset(b + SUM_AT, 0, SUM_SIZE);
    for (uint32_t i = 0; i < BLOCK; i++) sum += b[i];
    for (int i = 5; i >= 0; i--, sum >>= 3) b[SUM_AT + (uint32_t)i] = (uint8_t)('0' + (sum & 7));
    b[SUM_AT + 7] = ' ';
}

void zllm_octal(uint8_t out[NUMBER_SIZE], uint64_t value, uint8_t end) {
    for (int i = 10; i >= 0; i--, value >>= 3) out[i] = (uint8_t)('0' + (value & 7));
    out[11] = end;
}

static size_t digits_of(size_t value) {
    size_t n = 1;
    while (value /= 10) n++;
    return n;
}

size_t zllm_pax_size(size_t key, size_t value) {
    const size_t rest = key + value + 3;
    return rest + digits_of(rest + digits_of(rest));
}

size_t zllm_name_beside(text_t name, text_t folder, uint8_t out[NAME_SIZE]) {
    size_t size = name.size, base, used = 0;
    while (size > 0 && name.data[size - 1] == '/') size--;
    for (base = size; base > 0 && name.data[base - 1] != '/'; base--) continue;
    const size_t whole = size + folder.size + 1;
    if (whole > NAME_SIZE) return whole;
    if (base > 0) memcpy(out, name.data, base);
    used = base;
    if (folder.size > 0) memcpy(out + used, folder.data, folder.size);
    used += folder.size;
    out[used++] = '/';
    if (size > base) memcpy(out + used, name.data + base, size - base);
    return whole;
}

static size_t without_nuls(const uint8_t *text, size_t size) {
    while (size > 0 && text[size - 1] == 0) size--;
    return size;
}

/* Bytes of the UTF-8 character that stands here; 1 of what is none. */
static size_t character(const uint8_t *p, size_t left) {
    const uint8_t lead = p[0];
    const size_t n = lead < 0xc2 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf5 ? 4 : 1;
    if (n > left) return 1;
    for (size_t i = 1; i < n; i++)
        if ((p[i] & 0xc0) != 0x80) return 1;
    if ((lead == 0xe0 && p[1] < 0xa0) || (lead == 0xed && p[1] > 0x9f)) return 1;
    if ((lead == 0xf0 && p[1] < 0x90) || (lead == 0xf4 && p[1] > 0x8f)) return 1;
    return n;
}

size_t zllm_name_cut(text_t name, int ascii, uint8_t out[NAME_SIZE]) {
    size_t used = 0;
    for (size_t at = 0; at < name.size && used < NAME_SIZE;) {
        const uint8_t byte = name.data[at];
        out[used++] = ascii && byte >= 0x80 ? '?' : byte;
        at += ascii && byte >= 0x80 ? character(name.data + at, name.size - at) : 1;
    }
    return without_nuls(out, used);
}

static int is_space(uint8_t c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

static int64_t base256(const uint8_t *field, size_t size) {
    uint64_t value = 0;
    if (field[0] == 0xff) return -1;
    for (size_t i = 1; i < size; i++) {
        if (value >> 55) return -1;
        value = value << 8 | field[i];
    }
    return value >> 63 ? -1 : (int64_t)value;
}

int64_t zllm_field(const uint8_t *field, size_t size) {
    uint64_t value = 0;
    size_t end = 0, from = 0;
    if (field[0] == 0x80 || field[0] == 0xff) return base256(field, size);
    while (end < size && field[end] != 0) end++;
    while (from < end && is_space(field[from])) from++;
    while (end > from && is_space(field[end - 1])) end--;
    for (; from < end; from++) {
        if (field[from] < '0' || field[from] > '7') return -1;
        value = value << 3 | (uint64_t)(field[from] - '0');
    }
    return (int64_t)value; /* of twelve digits at most */
}

int zllm_pax_next(text_t text, size_t *at, text_t *key, text_t *value) {
    const size_t from = *at;
    size_t space = from, size = 0;
    if (from >= text.size) return 0;
    for (; space < text.size && space < from + 10 && text.data[space] != ' '; space++) {
        if (text.data[space] < '0' || text.data[space] > '9') return -1;
        size = 10 * size + (size_t)(text.data[space] - '0');
    }
    if (space == from || space >= text.size || text.data[space] != ' ') return -1;
    if (size > text.size - from || from + size <= space + 2) return -1;
    const size_t end = from + size, start = space + 1;
    const uint8_t *equals = memchr(text.data + start, '=', end - 1 - start);
    if (text.data[end - 1] != '\n' || equals == NULL) return -1;
    *key = (text_t){text.data + start, (size_t)(equals - text.data) - start};
    *value = (text_t){equals + 1, end - 1 - (size_t)(equals + 1 - text.data)};
    *at = end;
    return 1;
}

int zllm_pax_valid(text_t text) {
    text_t key, value;
    size_t at = 0;
    int rc;
    do rc = zllm_pax_next(text, &at, &key, &value);
    while (rc > 0);
    return rc == 0;
}

int zllm_extended_next(const uint8_t *headers, size_t size, size_t *at, uint8_t *type, text_t *text) {
    if (size < BLOCK || *at > size - BLOCK || !is_extended(headers[*at + TYPE_AT])) return 0;
    const int64_t length = zllm_field(headers + *at + SIZE_AT, NUMBER_SIZE);
    const size_t left = size - *at - BLOCK;
    const uint64_t wanted = length < 0 ? 0 : (uint64_t)length;
    if (left == 0) return 0;
    *type = headers[*at + TYPE_AT];
    *text = (text_t){headers + *at + BLOCK, (size_t)lesser(wanted, left)};
    *at += BLOCK + (size_t)lesser(padded(wanted), left);
    return 1;
}

static int all_digits(text_t text, uint64_t *value) {
    if (text.size == 0 || text.size >= 20) return 0;
    *value = 0;
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') return 0;
        *value = 10 * *value + (uint64_t)(text.data[i] - '0');
    }
    return 1;
}

uint64_t zllm_data_size(const uint8_t *headers, size_t size) {
    size_t at = 0, pax_at;
    uint64_t said = 0, value;
    uint8_t type;
    int has = 0;
    text_t text, key, given;
    while (zllm_extended_next(headers, size, &at, &type, &text)) {
        if ((type != 'x' && type != 'X') || !zllm_pax_valid(text)) continue;
        for (pax_at = 0; zllm_pax_next(text, &pax_at, &key, &given) > 0;)
            if (key.size == 4 && memcmp(key.data, "size", 4) == 0 && all_digits(given, &value)) {
                said = value;
                has = 1;
            }
    }
    if (size < BLOCK || at > size - BLOCK) return 0;
    const uint8_t *block = headers + at;
    const uint8_t kind = block[TYPE_AT];
    const size_t name = strnlen((const char *)block, NAME_SIZE);
    if ((kind >= '1' && kind <= '6') || (kind == 0 && name > 0 && block[name - 1] == '/')) return 0;
    if (has && !is_extended(kind)) return said >> 63 ? 0 : said;
    const int64_t own = zllm_field(block + SIZE_AT, NUMBER_SIZE);
    return own < 0 ? 0 : (uint64_t)own;
}
