#define _POSIX_C_SOURCE 200809L /* strnlen */
#include "archive/member.h"

#include <string.h>

/* Texts of a member, as pieces of its headers. */
typedef struct {
    text_t name, prefix, link, user, group;
} found_t;

void zllm_members_free(members_t *m) {
    for (global_t *g = m->globals; g != NULL;) {
        global_t *next = g->next;
        zllm_heap_free(m->heap, g->text);
        zllm_heap_free(m->heap, g);
        g = next;
    }
    zllm_heap_free(m->heap, m->texts);
}

static int is_key(text_t key, const char *name) { return key.size == strlen(name) && memcmp(key.data, name, key.size) == 0; }

static uint64_t decimal(text_t text, uint64_t otherwise) {
    uint64_t value = 0;
    if (text.size == 0) return otherwise;
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9' || value > UINT64_MAX / 10 - 1) return otherwise;
        value = 10 * value + (uint64_t)(text.data[i] - '0');
    }
    return value;
}

/* A pax time: a sign, whole seconds, perhaps a point and digits; cut off towards the past after nine of them. */
static void read_time(text_t text, int64_t *seconds, uint32_t *nanoseconds) {
    size_t at = 0, digits = 0;
    const int negative = text.size > 0 && text.data[0] == '-';
    uint64_t whole = 0, rest = 0, below = 0;
    if (text.size > 0 && (text.data[0] == '-' || text.data[0] == '+')) at++;
    const size_t first = at;
    for (; at < text.size && text.data[at] >= '0' && text.data[at] <= '9'; at++) {
        if (whole > (uint64_t)INT64_MAX / 10 - 1) return;
        whole = 10 * whole + (uint64_t)(text.data[at] - '0');
    }
    if (at == first || (at < text.size && text.data[at] != '.')) return;
    for (at++; at < text.size; at++, digits++) {
        if (text.data[at] < '0' || text.data[at] > '9') return;
        if (digits < 9) rest = 10 * rest + (uint64_t)(text.data[at] - '0');
        else below |= text.data[at] != '0';
    }
    for (; digits < 9; digits++) rest *= 10;
    if (!negative) {
        *seconds = (int64_t)whole;
        *nanoseconds = (uint32_t)rest;
        return;
    }
    rest += below != 0;
    *seconds = -(int64_t)whole - (rest > 0);
    *nanoseconds = rest > 0 ? (uint32_t)(1000000000 - rest) : 0;
}

/* What one pax record says. An empty name is none. */
static void apply(text_t key, text_t value, found_t *f, zllm_member *out) {
    if (key.size > 11 && memcmp(key.data, "GNU.sparse.", 11) == 0) out->sparse = 1;
    if (is_key(key, "path") || is_key(key, "GNU.sparse.name")) {
        f->name = value;
        if (value.size > 0) f->prefix.size = 0;
    } else if (is_key(key, "linkpath")) f->link = value;
    else if (is_key(key, "uname")) f->user = value;
    else if (is_key(key, "gname")) f->group = value;
    else if (is_key(key, "uid")) out->uid = decimal(value, out->uid);
    else if (is_key(key, "gid")) out->gid = decimal(value, out->gid);
    else if (is_key(key, "mtime")) read_time(value, &out->mtime, &out->mtime_ns);
}

static void apply_all(text_t text, found_t *f, zllm_member *out) {
    text_t key, value;
    if (!zllm_pax_valid(text)) return;
    for (size_t at = 0; zllm_pax_next(text, &at, &key, &value) > 0;) apply(key, value, f, out);
}

static text_t field(const uint8_t *data, size_t size) { return (text_t){data, strnlen((const char *)data, size)}; }

static uint64_t number(const uint8_t *data, size_t size) {
    const int64_t value = zllm_field(data, size);
    return value < 0 ? 0 : (uint64_t)value;
}

static zllm_kind kind_of(const uint8_t *block, text_t name) {
    switch (block[156]) {
        case 0: return name.size > 0 && name.data[name.size - 1] == '/' ? ZLLM_FOLDER : ZLLM_FILE;
        case '0':
        case '7':
        case 'S': return ZLLM_FILE;
        case '1': return ZLLM_HARD_LINK;
        case '2': return ZLLM_SYMBOLIC_LINK;
        case '3': return ZLLM_CHARACTER_DEVICE;
        case '4': return ZLLM_BLOCK_DEVICE;
        case '5':
        case 'D': return ZLLM_FOLDER;
        case '6': return ZLLM_FIFO;
        default: return ZLLM_OTHER;
    }
}

/* A base-256 time may be before 1970. */
static int64_t time_of(const uint8_t *data) {
    if (data[0] != 0xff) return (int64_t)number(data, NUMBER_SIZE);
    uint64_t value = 0;
    for (int i = 4; i < 12; i++) value = value << 8 | data[i];
    return value >> 63 ? (int64_t)value : 0;
}

static void read_block(const uint8_t *b, found_t *f, zllm_member *out) {
    const int ustar = memcmp(b + 257, "ustar", 5) == 0, gnu = b[156] == 'S' || memcmp(b + 257, "ustar ", 6) == 0;
    f->name = field(b, NAME_SIZE);
    if (ustar && !gnu && b[262] == 0) f->prefix = field(b + 345, 155);
    f->link = field(b + 157, 100);
    f->user = ustar ? field(b + 265, 32) : (text_t){b, 0};
    f->group = ustar ? field(b + 297, 32) : (text_t){b, 0};
    out->mode = (uint32_t)number(b + 100, 8) & 07777;
    out->uid = number(b + 108, 8);
    out->gid = number(b + 116, 8);
    out->mtime = time_of(b + 136);
    out->device_major = (uint32_t)number(b + 329, 8);
    out->device_minor = (uint32_t)number(b + 337, 8);
    out->type = (char)b[156];
    out->sparse = b[156] == 'S';
    out->kind = kind_of(b, f->name);
}

static text_t without(text_t text, uint8_t last) {
    while (text.size > 0 && text.data[text.size - 1] == last) text.size--;
    return text;
}

static char *copy_text(char **to, text_t text) {
    char *start = *to;
    if (text.size > 0) memcpy(start, text.data, text.size);
    start[text.size] = 0;
    *to += text.size + 1;
    return start;
}

/* Give the member texts of its own. */
static zllm_result copy_texts(members_t *m, const found_t *f, zllm_member *out, problem_t *p) {
    char *to;
    zllm_heap_free(m->heap, m->texts);
    m->texts = to = zllm_heap_take(m->heap, f->name.size + f->prefix.size + f->link.size + f->user.size + f->group.size + 8);
    if (m->texts == NULL) return NO_MEMORY(p);
    out->name = to;
    if (f->prefix.size > 0) {
        (void)copy_text(&to, f->prefix);
        to[-1] = '/';
    }
    (void)copy_text(&to, f->name);
    out->name_size = (size_t)(to - out->name) - 1;
    out->link_name = copy_text(&to, f->link);
    out->link_name_size = f->link.size;
    out->user = copy_text(&to, f->user);
    out->group = copy_text(&to, f->group);
    return ZLLM_OK;
}

/* All that are kept are looked at for every member: the newest few kilobytes, which is more than anybody writes. */
#define GLOBALS_KEPT ((size_t)16 << 10)

static void forget_oldest(members_t *m) {
    global_t *first = m->globals;
    m->globals = first->next;
    if (m->globals == NULL) m->last = NULL;
    m->globals_size -= first->size;
    zllm_heap_free(m->heap, first->text);
    zllm_heap_free(m->heap, first);
}

static zllm_result add_global(members_t *m, text_t text, uint64_t place, problem_t *p) {
    if (text.size > GLOBALS_KEPT || (m->last != NULL && m->last->place >= place)) return ZLLM_OK; /* or seen before */
    while (m->globals_size + text.size > GLOBALS_KEPT) forget_oldest(m);
    global_t *g = zllm_heap_zeroed(m->heap, 1, sizeof *g);
    uint8_t *copy = zllm_heap_take(m->heap, text.size + 1);
    if (g == NULL || copy == NULL) {
        zllm_heap_free(m->heap, g);
        zllm_heap_free(m->heap, copy);
        return NO_MEMORY(p);
    }
    if (text.size > 0) memcpy(copy, text.data, text.size);
    *g = (global_t){.place = place, .size = text.size, .text = copy};
    if (m->last == NULL) m->globals = g;
    else m->last->next = g;
    m->last = g;
    m->globals_size += text.size;
    return ZLLM_OK;
}

zllm_result zllm_members_read(members_t *m, const uint8_t *headers, size_t size, uint64_t place, zllm_member *out,
                              problem_t *p) {
    found_t f = {0};
    size_t at = 0;
    uint8_t type;
    text_t text;
    *out = (zllm_member){.headers = headers, .headers_size = size, .place = place};
    out->size = zllm_data_size(headers, size);
    while (zllm_extended_next(headers, size, &at, &type, &text)) {
        const zllm_result rc = type == 'g' ? add_global(m, text, place, p) : ZLLM_OK;
        if (rc != ZLLM_OK) return rc;
    }
    if (at + BLOCK > size) at = size >= BLOCK ? size - BLOCK : 0;
    if (size < BLOCK) return DAMAGED(p, "the section map is damaged: header blocks that are none");
    read_block(headers + at, &f, out);
    for (const global_t *g = m->globals; g != NULL && g->place <= place; g = g->next)
        apply_all((text_t){g->text, g->size}, &f, out);
    for (at = 0; zllm_extended_next(headers, size, &at, &type, &text);) {
        if (type == 'x' || type == 'X') apply_all(text, &f, out);
        else if (type == 'L') {
            f.name = without(text, 0);
            f.prefix.size = 0;
        } else if (type == 'K') f.link = without(text, 0);
    }
    if (out->kind == ZLLM_FOLDER) f.name = without(f.name, '/');
    return copy_texts(m, &f, out, p);
}

int zllm_member_pax(const zllm_member *member, size_t *at, const char **key, size_t *key_size, const char **value,
                    size_t *value_size) {
    size_t header = 0, passed = 0;
    uint8_t type;
    text_t text, k, v;
    while (zllm_extended_next(member->headers, member->headers_size, &header, &type, &text)) {
        if (type == 'L' || type == 'K' || !zllm_pax_valid(text)) continue;
        size_t inside = *at > passed ? *at - passed : 0;
        passed += text.size;
        if (inside > text.size || zllm_pax_next(text, &inside, &k, &v) <= 0) continue;
        *at = passed - text.size + inside;
        *key = (const char *)k.data;
        *key_size = k.size;
        *value = (const char *)v.data;
        *value_size = v.size;
        return 1;
    }
    return 0;
}
