#include "network/json.h"

#include <stdlib.h>
#include <string.h>

/* Values whose array or object is still open are on a stack; when it closes, they move to where they stay. Neither place
 * grows: there is at most one value behind each opening bracket and comma, so their number bounds both. */
typedef struct {
    const char *at, *end;
    json_value_t *stack, *done;
    uint32_t stacked, stored, room, depth;
    char *strings; /* next free; a string takes no more bytes than its text with the quotes */
    json_result_t failure;
} parser_t;

static int bad(parser_t *p) {
    p->failure = JSON_BAD;
    return 0;
}

static int too_large(parser_t *p) {
    p->failure = JSON_TOO_LARGE;
    return 0;
}

static void skip_space(parser_t *p) {
    while (p->at < p->end && (*p->at == ' ' || *p->at == '\t' || *p->at == '\n' || *p->at == '\r')) p->at++;
}

static int take(parser_t *p, char c) {
    if (p->at == p->end || *p->at != c) return 0;
    p->at++;
    return 1;
}

static int digits(parser_t *p) {
    const char *from = p->at;
    while (p->at < p->end && *p->at >= '0' && *p->at <= '9') p->at++;
    return p->at > from;
}

static void put_utf8(parser_t *p, uint32_t code) {
    char *s = p->strings;
    if (code < 0x80) {
        *s++ = (char)code;
    } else if (code < 0x800) {
        *s++ = (char)(0xc0 | code >> 6);
        *s++ = (char)(0x80 | (code & 63));
    } else if (code < 0x10000) {
        *s++ = (char)(0xe0 | code >> 12);
        *s++ = (char)(0x80 | (code >> 6 & 63));
        *s++ = (char)(0x80 | (code & 63));
    } else {
        *s++ = (char)(0xf0 | code >> 18);
        *s++ = (char)(0x80 | (code >> 12 & 63));
        *s++ = (char)(0x80 | (code >> 6 & 63));
        *s++ = (char)(0x80 | (code & 63));
    }
    p->strings = s;
}

/* Four hexadecimal digits. */
static int hex4(parser_t *p, uint32_t *code) {
    if (p->end - p->at < 4) return bad(p);
    *code = 0;
    for (int i = 0; i < 4; i++) {
        const char c = *p->at++;
        const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                                     : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
        if (digit < 0) return bad(p);
        *code = *code << 4 | (uint32_t)digit;
    }
    return 1;
}

/* What follows a backslash. Half a surrogate pair is not a character. */
static int escape(parser_t *p) {
    static const char letters[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
    uint32_t code, low;
    if (p->at == p->end) return bad(p);
    const char c = *p->at++;
    if (c != 'u') {
        const char *found = c ? strchr(letters, c) : NULL;
        if (found == NULL) return bad(p);
        *p->strings++ = meant[found - letters];
        return 1;
    }
    if (!hex4(p, &code)) return 0;
    if (code >= 0xd800 && code < 0xe000) {
        if (code >= 0xdc00 || !take(p, '\\') || !take(p, 'u') || !hex4(p, &low) || low < 0xdc00 || low >= 0xe000)
            return bad(p);
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    }
    put_utf8(p, code);
    return 1;
}

/* A character of two to four bytes, whose first was seen: its shortest form, and no surrogate. */
static int character(parser_t *p) {
    const uint8_t first = (uint8_t)*p->at++;
    const int more = first >= 0xf0 ? 3 : first >= 0xe0 ? 2 : 1;
    static const uint32_t least[4] = {0, 0x80, 0x800, 0x10000};
    uint32_t code = first & (0x3fu >> more);
    if (first < 0xc2 || first > 0xf4 || p->end - p->at < more) return bad(p);
    for (int i = 0; i < more; i++) {
        const uint8_t next = (uint8_t)*p->at++;
        if ((next & 0xc0) != 0x80) return bad(p);
        code = code << 6 | (next & 63u);
    }
    if (code < least[more] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) return bad(p);
    put_utf8(p, code);
    return 1;
}

/* Behind its opening quote. */
static int string(parser_t *p, const char **out, uint32_t *size) {
    char *from = p->strings;
    while (p->at < p->end && *p->at != '"') {
        const uint8_t c = (uint8_t)*p->at;
        if (c < 0x20) return bad(p);
        if (c >= 0x80) {
            if (!character(p)) return 0;
        } else {
            p->at++;
            if (c != '\\') *p->strings++ = (char)c;
            else if (!escape(p)) return 0;
        }
    }
    if (!take(p, '"')) return bad(p);
    *out = from;
    *size = (uint32_t)(p->strings - from);
    *p->strings++ = 0;
    return 1;
}

static int number(parser_t *p, json_value_t *v) {
    const char *from = p->at;
    const int negative = take(p, '-');
    const char *first = p->at;
    if (!digits(p) || (*first == '0' && p->at - first > 1)) return bad(p);
    const char *last = p->at;
    if (take(p, '.') && !digits(p)) return bad(p);
    if (p->at < p->end && (*p->at == 'e' || *p->at == 'E')) {
        p->at++;
        if (!take(p, '-')) (void)take(p, '+');
        if (!digits(p)) return bad(p);
    }
    if (p->at - from > (ptrdiff_t)JSON_NUMBER_BYTES) return too_large(p);
    v->kind = JSON_NUMBER;
    if (p->at != last || last - first > 18) return 1; /* 18 digits are below 2^63 */
    v->kind = JSON_INTEGER;
    v->as.integer = 0;
    for (; first < last; first++) v->as.integer = 10 * v->as.integer + (*first - '0');
    if (negative) v->as.integer = -v->as.integer;
    return 1;
}

static int by_key(const void *left, const void *right) {
    const json_value_t *a = left, *b = right;
    if (a->key_size != b->key_size) return a->key_size < b->key_size ? -1 : 1;
    return memcmp(a->key, b->key, a->key_size);
}

/* The values that were stacked since `from` are all of v's. */
static int close_values(parser_t *p, uint32_t from, json_value_t *v) {
    json_value_t *out = p->done + p->stored;
    v->size = p->stacked - from;
    v->as.values = out;
    if (v->size == 0) return 1;
    memcpy(out, p->stack + from, v->size * sizeof *out);
    p->stored += v->size;
    p->stacked = from;
    if (v->kind != JSON_OBJECT) return 1;
    qsort(out, v->size, sizeof *out, by_key);
    for (uint32_t i = 1; i < v->size; i++)
        if (by_key(&out[i - 1], &out[i]) == 0) return bad(p);
    return 1;
}

static int value(parser_t *p, json_value_t *v);

/* Behind its opening bracket. */
static int values(parser_t *p, json_value_t *v, char closing) {
    const uint32_t from = p->stacked;
    if (++p->depth > JSON_DEPTH) return too_large(p);
    skip_space(p);
    for (int more = !take(p, closing); more;) {
        json_value_t inner = {0};
        if (v->kind == JSON_OBJECT) {
            skip_space(p);
            if (!take(p, '"')) return bad(p);
            if (!string(p, &inner.key, &inner.key_size)) return 0;
            skip_space(p);
            if (!take(p, ':')) return bad(p);
        }
        if (!value(p, &inner)) return 0;
        if (p->stacked + p->stored == p->room) return too_large(p);
        p->stack[p->stacked++] = inner;
        skip_space(p);
        more = take(p, ',');
        if (!more && !take(p, closing)) return bad(p);
    }
    p->depth--;
    return close_values(p, from, v);
}

static int word(parser_t *p, const char *expected) {
    const size_t size = strlen(expected);
    if ((size_t)(p->end - p->at) < size || memcmp(p->at, expected, size) != 0) return bad(p);
    p->at += size;
    return 1;
}

static int value(parser_t *p, json_value_t *v) {
    skip_space(p);
    if (p->at == p->end) return bad(p);
    switch (*p->at) {
    case '{':
    case '[':
        v->kind = *p->at == '{' ? JSON_OBJECT : JSON_ARRAY;
        p->at++;
        return values(p, v, v->kind == JSON_OBJECT ? '}' : ']');
    case '"':
        p->at++;
        v->kind = JSON_STRING;
        return string(p, &v->as.string, &v->size);
    case 't': return word(p, "true");
    case 'f': return word(p, "false");
    case 'n': return word(p, "null");
    default: return number(p, v);
    }
}

json_result_t zllm_json_parse(json_t *json, heap_t *heap, const char *text, size_t size) {
    parser_t p = {.at = text, .end = text + size, .room = 1};
    *json = (json_t){.heap = heap};
    if (size >= UINT32_MAX) return JSON_TOO_LARGE;
    for (size_t i = 0; i < size && p.room < JSON_VALUES; i++) p.room += text[i] == ',' || text[i] == '[' || text[i] == '{';
    json->values = p.done = zllm_heap_zeroed(heap, p.room, sizeof *p.done);
    json->strings = p.strings = zllm_heap_take(heap, size + 1);
    p.stack = zllm_heap_zeroed(heap, p.room, sizeof *p.stack);
    const int whole = p.done != NULL && p.strings != NULL && p.stack != NULL;
    if (whole && value(&p, &json->root)) {
        skip_space(&p);
        if (p.at != p.end) (void)bad(&p);
    }
    zllm_heap_free(heap, p.stack);
    return whole ? p.failure : JSON_NO_MEMORY;
}

void zllm_json_free(json_t *json) {
    zllm_heap_free(json->heap, json->values);
    zllm_heap_free(json->heap, json->strings);
    *json = (json_t){0};
}

const json_value_t *zllm_json_member(const json_value_t *object, const char *name, size_t size) {
    const json_value_t wanted = {.key = name, .key_size = (uint32_t)size};
    if (object->kind != JSON_OBJECT || object->size == 0 || size >= UINT32_MAX) return NULL;
    return bsearch(&wanted, object->as.values, object->size, sizeof wanted, by_key);
}

const json_value_t *zllm_json_member_of_kind(const json_value_t *object, const char *name, json_kind_t kind) {
    const json_value_t *found = zllm_json_member(object, name, strlen(name));
    return found != NULL && found->kind == kind ? found : NULL;
}
