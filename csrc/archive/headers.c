#include "archive/headercolumns.h"

/* Extended headers. */

static int is_key(text_t key, const char *name) { return key.size == strlen(name) && memcmp(key.data, name, key.size) == 0; }

static zllm_result put_record(headers_t *h, text_t key, text_t value, problem_t *p) {
    char number[20];
    const size_t size = zllm_pax_size(key.size, value.size), digits = zllm_header_decimal(number, size, 1);
    zllm_result rc = zllm_header_reserve(h, size, p);
    if (rc != ZLLM_OK) return rc;
    number[digits] = ' ';
    rc = zllm_header_put(h, number, digits + 1, p);
    if (rc == ZLLM_OK) rc = zllm_header_put(h, key.data, key.size, p);
    if (rc == ZLLM_OK) rc = zllm_header_put(h, "=", 1, p);
    if (rc == ZLLM_OK) rc = zllm_header_put(h, value.data, value.size, p);
    return rc == ZLLM_OK ? zllm_header_put(h, "\n", 1, p) : rc;
}

/* The records of a pax header. */
static zllm_result put_records(headers_t *h, const pattern_t *pattern, heard_t *heard, problem_t *p) {
    const uint8_t *at = pattern->keys.data, *end = at + pattern->keys.size;
    char room[32];
    while (at < end) {
        const uint8_t *equals = memchr(at, '=', (size_t)(end - at));
        if (equals == NULL) break;
        const text_t key = {at, (size_t)(equals - at)};
        const int time = zllm_header_time_key(key);
        text_t value;
        if (time >= 0) {
            uint64_t floor, rounded;
            value = zllm_header_time(h, time, room, p);
            if (time == TIME_MTIME && zllm_header_read_time(value, &floor, &rounded)) {
                heard->timed = 1;
                heard->floor = floor;
                heard->rounded = rounded;
            }
        } else if (is_key(key, "path")) value = heard->name = zllm_header_text(h, NAMES, h->longest);
        else if (is_key(key, "linkpath")) value = heard->link = zllm_header_text(h, LINKS, h->longest);
        else value = zllm_header_text(h, VALUES, h->longest);
        if (h->bad) return malformed_headers(p);
        const zllm_result rc = put_record(h, key, value, p);
        if (rc != ZLLM_OK) return rc;
        at = equals + 1;
    }
    return ZLLM_OK;
}

static zllm_result add_pending(headers_t *h, pending_t one, problem_t *p) {
    if (h->n_pending == h->pending_room) {
        const size_t room = 2 * h->pending_room + 16;
        pending_t *more = zllm_heap_zeroed(h->heap, room, sizeof *more);
        if (more == NULL) return NO_MEMORY(p);
        if (h->n_pending > 0) memcpy(more, h->pending, h->n_pending * sizeof *more);
        zllm_heap_free(h->heap, h->pending);
        h->pending = more;
        h->pending_room = room;
    }
    h->pending[h->n_pending++] = one;
    return ZLLM_OK;
}

/* Size, time and checksum of an extended header's block, whose text has `length` bytes. */
static zllm_result put_extended_block(headers_t *h, size_t at, uint64_t length, const heard_t *own,
                                      const uint8_t *profile, text_t link, text_t rest, problem_t *p) {
    uint8_t size[NUMBER_SIZE], mtime[NUMBER_SIZE];
    const uint32_t form = zllm_header_byte(h, EXTENDED_FORM), of_size = form % BASE;
    const uint64_t known[2] = {own->floor, h->last[TIME_EXTENDED]};
    if (length > MAX_EXTENDED || form >= 2 * BASE * BASE || (of_size != LITERAL && of_size != FOLLOWS))
        return malformed_headers(p);
    if (of_size == LITERAL) memcpy(size, zllm_header_bytes(h, LITERALS, NUMBER_SIZE), NUMBER_SIZE);
    else zllm_octal(size, length, 0);
    const zllm_result rc = zllm_header_mtime(h, form / BASE % BASE, TIME_EXTENDED, own->timed ? 3 : 2, known, mtime, p);
    if (rc != ZLLM_OK) return rc;
    zllm_block_write(h->out + at, profile, link, rest, size, mtime);
    pending_t one = {.at = at, .summed = form < BASE * BASE};
    if (!one.summed) memcpy(h->out + at + 148, zllm_header_bytes(h, LITERALS, SUM_SIZE), SUM_SIZE);
    const text_t name = zllm_header_text(h, EXTENDED_NAMES, WINDOW);
    one.beside = name.size > 0 && name.data[0] == '/';
    one.name = name.size > 0 ? (text_t){name.data + 1, name.size - 1} : name;
    return add_pending(h, one, p);
}

static zllm_result next_profile(headers_t *h, int column, const uint8_t **out, problem_t *p) {
    const uint64_t number = zllm_header_number(h, column);
    if (number >= h->column[PROFILES].size / PROFILE_SIZE) return malformed_headers(p);
    *out = h->column[PROFILES].data + number * PROFILE_SIZE;
    return ZLLM_OK;
}

static zllm_result next_extended(headers_t *h, int is_long, heard_t *heard, problem_t *p) {
    const size_t at = h->used;
    const uint8_t *profile = NULL;
    heard_t own = {0};
    zllm_result rc = next_profile(h, EXTENDED_PROFILE, &profile, p);
    if (rc != ZLLM_OK) return rc;
    const text_t rest = zllm_header_text(h, RESTS, REST_SIZE), link = zllm_header_text(h, LINKS, h->longest);
    if (h->bad || link.size > NAME_SIZE) return malformed_headers(p);
    rc = zllm_header_zeros(h, BLOCK, p);
    if (rc == ZLLM_OK && is_long) {
        const int of_name = profile[24] == 'L';
        const text_t text = zllm_header_text(h, of_name ? NAMES : LINKS, h->longest);
        *(of_name ? &own.name : &own.link) = text;
        rc = zllm_header_put(h, text.data, text.size, p);
        if (rc == ZLLM_OK) rc = zllm_header_zeros(h, 1, p);
    } else if (rc == ZLLM_OK) {
        const uint64_t number = zllm_header_number(h, KEY_NUMBERS);
        rc = h->bad || number >= h->n_patterns ? malformed_headers(p) : put_records(h, &h->patterns[number], &own, p);
    }
    if (rc != ZLLM_OK) return rc;
    const size_t length = h->used - at - BLOCK;
    rc = zllm_header_zeros(h, (size_t)(padded(length) - length), p);
    if (rc == ZLLM_OK) rc = put_extended_block(h, at, length, &own, profile, link, rest, p);
    if (own.name.data != NULL) heard->name = own.name;
    if (own.link.data != NULL) heard->link = own.link;
    if (own.timed) {
        heard->timed = 1;
        heard->floor = own.floor;
        heard->rounded = own.rounded;
    }
    return rc;
}

/* Main blocks. */

static zllm_result next_short(headers_t *h, text_t of_header, uint32_t form, int column, uint8_t room[NAME_SIZE],
                              text_t *out, problem_t *p) {
    if (form == 0) {
        *out = zllm_header_text(h, column, h->longest);
        return out->size <= NAME_SIZE ? ZLLM_OK : malformed_headers(p);
    }
    if (form > 2 || of_header.data == NULL) return DAMAGED(p, "%s is damaged: a name that repeats nothing", WHAT);
    *out = (text_t){room, zllm_name_cut(of_header, form == 2, room)};
    return ZLLM_OK;
}

static zllm_result next_size(headers_t *h, uint32_t form, uint8_t out[NUMBER_SIZE], problem_t *p) {
    if (form == LITERAL) {
        memcpy(out, zllm_header_bytes(h, LITERALS, NUMBER_SIZE), NUMBER_SIZE);
        return ZLLM_OK;
    }
    if (form != NUL_END && form != SPACE_END) return malformed_headers(p);
    const uint64_t low = zllm_header_plane(h, SIZES, 2), top = zllm_header_number(h, SIZE_TOPS);
    if (top > MAX_OCTAL >> 16) return malformed_headers(p);
    zllm_octal(out, top << 16 | low, form == SPACE_END ? ' ' : 0);
    return ZLLM_OK;
}

/* The main block's place, behind extended ones; `name` is what stands in it. */
static zllm_result next_main(headers_t *h, const heard_t *heard, uint8_t room[NAME_SIZE], text_t *name, problem_t *p) {
    uint8_t size[NUMBER_SIZE], mtime[NUMBER_SIZE], link_room[NAME_SIZE];
    const uint64_t known[2] = {heard->floor, heard->rounded};
    const uint8_t *profile = NULL;
    text_t link = {0};
    zllm_result rc = next_profile(h, MAIN_PROFILE, &profile, p);
    if (rc != ZLLM_OK) return rc;
    const text_t rest = zllm_header_text(h, RESTS, REST_SIZE);
    const uint32_t form = zllm_header_byte(h, SHORT_FORM);
    rc = next_short(h, heard->name, form % 3, NAMES, room, name, p);
    if (rc == ZLLM_OK) rc = next_short(h, heard->link, form / 3, LINKS, link_room, &link, p);
    if (rc != ZLLM_OK) return rc;
    const uint32_t numbers = zllm_header_byte(h, MAIN_FORM);
    if (numbers >= 2 * BASE * BASE) return malformed_headers(p);
    rc = next_size(h, numbers % BASE, size, p);
    if (rc == ZLLM_OK) rc = zllm_header_mtime(h, numbers / BASE % BASE, TIME_MAIN, heard->timed ? 3 : 0, known, mtime, p);
    if (rc == ZLLM_OK) rc = h->bad ? malformed_headers(p) : zllm_header_reserve(h, BLOCK, p);
    if (rc != ZLLM_OK) return rc;
    uint8_t *block = h->out + h->used;
    zllm_block_write(block, profile, link, rest, size, mtime);
    if (name->size > 0) memcpy(block, name->data, name->size);
    if (numbers < BASE * BASE) zllm_block_sum(block);
    else memcpy(block + 148, zllm_header_bytes(h, LITERALS, SUM_SIZE), SUM_SIZE);
    h->used += BLOCK;
    return ZLLM_OK;
}

/* Names of extended headers, when that of the member is known. */
static zllm_result name_pending(headers_t *h, text_t member, problem_t *p) {
    for (size_t i = 0; i < h->n_pending; i++) {
        const pending_t *one = &h->pending[i];
        uint8_t *block = h->out + one->at;
        const size_t size = one->beside ? zllm_name_beside(member, one->name, block) : one->name.size;
        if (size > NAME_SIZE) return DAMAGED(p, "%s is damaged: a name is too long", WHAT);
        if (!one->beside && size > 0) memcpy(block, one->name.data, size);
        if (one->summed) zllm_block_sum(block);
    }
    return ZLLM_OK;
}

static zllm_result next_blob(headers_t *h, int sizes, int column, problem_t *p) {
    const uint64_t size = zllm_header_number(h, sizes);
    const uint8_t *data = bytes_take(&h->column[column], size);
    return data == NULL ? malformed_headers(p) : zllm_header_put(h, data, (size_t)size, p);
}

zllm_result zllm_headers_next(headers_t *h, size_t *size, problem_t *p) {
    const size_t start = h->used;
    uint8_t room[NAME_SIZE];
    heard_t heard = {0};
    text_t name = {0};
    zllm_result rc = ZLLM_OK;
    uint32_t part = zllm_header_byte(h, PARTS);
    h->n_pending = 0;
    if (part == PART_RAW && !h->bad) rc = next_blob(h, RAW_SIZES, RAW, p);
    else {
        for (; rc == ZLLM_OK && (part == PART_PAX || part == PART_LONG); part = zllm_header_byte(h, PARTS)) {
            rc = next_extended(h, part == PART_LONG, &heard, p);
            if (h->used - start > MAX_UNIT) rc = malformed_headers(p);
        }
        if (rc == ZLLM_OK && part != PART_MAIN && part != PART_TAIL)
            rc = DAMAGED(p, "%s is damaged: unknown kind of header", WHAT);
        if (rc == ZLLM_OK) rc = next_main(h, &heard, room, &name, p);
        if (rc == ZLLM_OK) rc = name_pending(h, heard.name.data != NULL ? heard.name : name, p);
        if (rc == ZLLM_OK && part == PART_TAIL) rc = next_blob(h, TAIL_SIZES, TAILS, p);
    }
    if (rc == ZLLM_OK && h->bad) rc = DAMAGED(p, "%s is damaged: a column is too short", WHAT);
    *size = h->used - start;
    return rc;
}

/* Beginning and end. */

static zllm_result read_patterns(headers_t *h, problem_t *p) {
    bytes_t *keys = &h->column[KEYS];
    size_t n = 0;
    for (size_t i = 0; i < keys->size; i++) n += keys->data[i] == 0;
    if (n > MAX_UNITS) return malformed_headers(p);
    h->patterns = zllm_heap_zeroed(h->heap, n + 1, sizeof *h->patterns);
    if (h->patterns == NULL) return NO_MEMORY(p);
    while (h->n_patterns < n) h->patterns[h->n_patterns++].keys = zllm_header_text(h, KEYS, MAX_EXTENDED);
    return h->bad || bytes_left(keys) > 0 ? malformed_headers(p) : ZLLM_OK;
}

static zllm_result show(headers_t *h, int column, problem_t *p) {
    bytes_t *b = &h->column[column];
    if (b->size == 0 || memchr(b->data, 1, b->size) == NULL) return ZLLM_OK;
    uint8_t *copy = zllm_heap_take(h->heap, b->size);
    if (copy == NULL) return NO_MEMORY(p);
    memcpy(copy, b->data, b->size);
    h->shown[column] = copy;
    b->data = copy;
    return ZLLM_OK;
}

static int planes_differ(const headers_t *h, int first, int n) {
    for (int i = 1; i < n; i++)
        if (h->column[first + i].size != h->column[first].size) return 1;
    return 0;
}

zllm_result zllm_headers_open(heap_t *heap, const bytes_t *columns, const zllm_limits *limits, uint64_t room,
                              headers_t **out, problem_t *p) {
    static const int TEXTS[] = {EXTENDED_NAMES, NAMES, LINKS, RESTS, KEYS, VALUES};
    headers_t *h = *out = zllm_heap_zeroed(heap, 1, sizeof *h);
    zllm_result rc = ZLLM_OK;
    if (h == NULL) return NO_MEMORY(p);
    h->heap = heap;
    h->longest = limits->name_bytes;
    h->room = room;
    memcpy(h->column, columns, sizeof h->column);
    const bytes_t *profiles = &h->column[PROFILES];
    if (profiles->size % PROFILE_SIZE != 0 || profiles->size > MAX_UNITS * PROFILE_SIZE || planes_differ(h, SECONDS, 4) ||
        planes_differ(h, FRACTIONS, 4) || planes_differ(h, SIZES, 2))
        return malformed_headers(p);
    for (size_t i = 0; i < sizeof TEXTS / sizeof *TEXTS && rc == ZLLM_OK; i++) rc = show(h, TEXTS[i], p);
    return rc == ZLLM_OK ? read_patterns(h, p) : rc;
}

void zllm_headers_close(headers_t *h) {
    if (h == NULL) return;
    for (size_t i = 0; i < HEADER_COLUMNS; i++) zllm_heap_free(h->heap, h->shown[i]);
    zllm_heap_free(h->heap, h->patterns);
    zllm_heap_free(h->heap, h->pending);
    zllm_heap_free(h->heap, h->out);
    zllm_heap_free(h->heap, h);
}

uint64_t zllm_headers_parts(const bytes_t *columns) {
    static const int TEXTS[] = {NAMES, LINKS, VALUES};
    uint64_t n = columns[PARTS].size + columns[DIGITS].size;
    for (size_t i = 0; i < sizeof TEXTS / sizeof *TEXTS; i++)
        for (size_t k = 0; k < columns[TEXTS[i]].size; k++) n += columns[TEXTS[i]].data[k] == 0;
    return n;
}

const uint8_t *zllm_headers_blocks(const headers_t *h) { return h->out; }

zllm_result zllm_headers_end(headers_t *h, uint8_t **blocks, size_t *size, problem_t *p) {
    static const int IN_PLANES[] = {SECONDS, FRACTIONS, SIZES};
    for (size_t i = 0; i < sizeof IN_PLANES / sizeof *IN_PLANES; i++)
        if (h->plane[IN_PLANES[i]] != h->column[IN_PLANES[i]].size)
            return DAMAGED(p, "%s is damaged: a column is too long", WHAT);
    for (int i = 0; i < (int)HEADER_COLUMNS; i++) {
        const int plane = i >= SECONDS && i < SIZE_TOPS;
        if (i != PROFILES && !plane && bytes_left(&h->column[i]) > 0)
            return DAMAGED(p, "%s is damaged: a column is too long", WHAT);
    }
    *blocks = h->out;
    *size = h->used;
    h->out = NULL;
    return ZLLM_OK;
}
