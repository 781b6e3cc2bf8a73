#include "archive/headercolumns.h"

uint32_t zllm_header_byte(headers_t *h, int column) {
    bytes_t *b = &h->column[column];
    if (b->at == b->size) {
        h->bad = 1;
        return 0;
    }
    return b->data[b->at++];
}

uint64_t zllm_header_number(headers_t *h, int column) {
    const uint64_t value = bytes_varint(&h->column[column], UINT64_MAX);
    h->bad |= h->column[column].bad;
    return value;
}

const uint8_t *zllm_header_bytes(headers_t *h, int column, uint64_t size) {
    static const uint8_t none[NUMBER_SIZE];
    const uint8_t *p = bytes_take(&h->column[column], size);
    if (p == NULL) h->bad = 1;
    return p == NULL ? none : p;
}

uint32_t zllm_header_plane(headers_t *h, int column, uint32_t planes) {
    const size_t at = h->plane[column]++;
    uint32_t value = 0;
    if (at >= h->column[column].size) {
        h->bad = 1;
        return 0;
    }
    for (uint32_t i = 0; i < planes; i++) value |= (uint32_t)h->column[(uint32_t)column + i].data[at] << 8 * i;
    return value;
}

static size_t unescape(uint8_t *text, size_t size) {
    size_t to = 0;
    for (size_t i = 0; i < size; i++, to++) {
        const int escape = text[i] == 1 && i + 1 < size && (text[i + 1] == 2 || text[i + 1] == 3);
        text[to] = escape ? (text[i + 1] == 2 ? 0 : 1) : text[i];
        i += (size_t)escape;
    }
    return to;
}

text_t zllm_header_text(headers_t *h, int column, uint64_t most) {
    bytes_t *b = &h->column[column];
    const uint8_t *from = b->data + b->at, *end = bytes_left(b) > 0 ? memchr(from, 0, bytes_left(b)) : NULL;
    if (end == NULL) {
        h->bad = 1;
        return (text_t){(const uint8_t *)"", 0};
    }
    text_t text = {from, (size_t)(end - from)};
    b->at += text.size + 1;
    if (h->shown[column] != NULL) text.size = unescape(h->shown[column] + (from - b->data), text.size);
    if (text.size > most) h->bad = 1;
    return h->bad ? (text_t){(const uint8_t *)"", 0} : text;
}

/* Writing blocks. */

zllm_result zllm_header_reserve(headers_t *h, uint64_t size, problem_t *p) {
    if (size > h->room - h->used) return DAMAGED(p, "%s is damaged: more headers than a section can hold", WHAT);
    if (size <= h->out_room - h->used) return ZLLM_OK;
    const uint64_t doubled = 2 * (uint64_t)h->out_room + 4096, least = h->used + size;
    const size_t room = (size_t)lesser(doubled > least ? doubled : least, h->room);
    uint8_t *out = zllm_heap_take(h->heap, room);
    if (out == NULL) return NO_MEMORY(p);
    if (h->used > 0) memcpy(out, h->out, h->used);
    zllm_heap_free(h->heap, h->out);
    h->out = out;
    h->out_room = room;
    return ZLLM_OK;
}

zllm_result zllm_header_put(headers_t *h, const void *data, size_t size, problem_t *p) {
    const zllm_result rc = zllm_header_reserve(h, size, p);
    if (rc != ZLLM_OK) return rc;
    if (size > 0) memcpy(h->out + h->used, data, size);
    h->used += size;
    return ZLLM_OK;
}

zllm_result zllm_header_zeros(headers_t *h, size_t size, problem_t *p) {
    const zllm_result rc = zllm_header_reserve(h, size, p);
    if (rc != ZLLM_OK) return rc;
    if (size > 0) memset(h->out + h->used, 0, size);
    h->used += size;
    return ZLLM_OK;
}

/* Times. */

static uint64_t next_seconds(headers_t *h, int key) {
    const uint32_t coded = zllm_header_plane(h, SECONDS, 4);
    const uint32_t change = coded & 1 ? ~(coded >> 1) : coded >> 1;
    return h->last[key] += change;
}

int zllm_header_time_key(text_t key) {
    static const struct {
        const char *name;
        int key;
    } KNOWN[] = {{"mtime", TIME_MTIME}, {"atime", TIME_ATIME}, {"ctime", TIME_CTIME},
                 {"LIBARCHIVE.creationtime", TIME_CREATION}};
    for (size_t i = 0; i < sizeof KNOWN / sizeof *KNOWN; i++)
        if (strlen(KNOWN[i].name) == key.size && memcmp(KNOWN[i].name, key.data, key.size) == 0) return KNOWN[i].key;
    return -1;
}

int zllm_header_read_time(text_t text, uint64_t *floor, uint64_t *rounded) {
    size_t at = 0;
    *floor = 0;
    for (; at < text.size && at < 10 && text.data[at] >= '0' && text.data[at] <= '9'; at++)
        *floor = 10 * *floor + (uint64_t)(text.data[at] - '0');
    if (at == 0 || (text.data[0] == '0' && at > 1)) return 0;
    *rounded = *floor;
    if (at == text.size) return 1;
    const size_t digits = text.size - at - 1;
    if (text.data[at] != '.' || digits < 1 || digits > MAX_DIGITS) return 0;
    for (size_t i = at + 1; i < text.size; i++)
        if (text.data[i] < '0' || text.data[i] > '9') return 0;
    *rounded += text.data[at + 1] >= '5';
    return 1;
}

size_t zllm_header_decimal(char *out, uint64_t value, size_t least) {
    char digits[20];
    size_t n = 0;
    do digits[n++] = (char)('0' + value % 10);
    while ((value /= 10) > 0 || n < least);
    for (size_t i = 0; i < n; i++) out[i] = digits[n - 1 - i];
    return n;
}

text_t zllm_header_time(headers_t *h, int key, char room[32], problem_t *p) {
    const uint32_t form = zllm_header_byte(h, DIGITS);
    if (form == 0) return zllm_header_text(h, VALUES, h->longest);
    const size_t digits = form - 1;
    if (digits > MAX_DIGITS) {
        (void)malformed_headers(p);
        h->bad = 1;
        return (text_t){(const uint8_t *)room, 0};
    }
    size_t size = zllm_header_decimal(room, next_seconds(h, key), 1);
    if (digits > 0) {
        room[size++] = '.';
        size += zllm_header_decimal(room + size, zllm_header_plane(h, FRACTIONS, 4), digits);
    }
    return (text_t){(const uint8_t *)room, size};
}

zllm_result zllm_header_mtime(headers_t *h, uint32_t form, int key, int are_known, const uint64_t known[2],
                              uint8_t out[NUMBER_SIZE], problem_t *p) {
    if (form == LITERAL) {
        memcpy(out, zllm_header_bytes(h, LITERALS, NUMBER_SIZE), NUMBER_SIZE);
        return ZLLM_OK;
    }
    uint64_t value;
    if (form == NUL_END || form == SPACE_END) value = next_seconds(h, key);
    else {
        value = form == FOLLOWS ? known[0] : known[1];
        if ((form == FOLLOWS && !(are_known & 1)) || (form == ROUNDED && !(are_known & 2)) || value > MAX_OCTAL)
            return DAMAGED(p, "%s is damaged: a time that repeats nothing", WHAT);
    }
    zllm_octal(out, value, form == SPACE_END ? ' ' : 0);
    return ZLLM_OK;
}
