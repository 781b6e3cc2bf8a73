/* What the predictor looks at: contexts made of the bytes before the next one, and the match model's search. */
#include "state.h"

#define MATCH_LEAST 5u    /* bytes that are hashed to find a match */
#define MATCH_VERIFY 400u /* bytes compared at most */

static void context_restart(cursor_t *c) {
    c->trail = (trail_t){0};
    c->line = c->line_before = c->at;
    c->field = c->fields_before = 0;
    c->fields[0][0] = c->fields[1][0] = c->at;
    c->match = (match_t){.expected = -1};
}

static int is_letter(uint32_t b) { return (b | 32) - 'a' < 26 || b >= 128; }
static int ends_field(uint32_t b) { return b == '\t' || b == ',' || b == ' ' || b == ';' || b == '|'; }

static void read_line(cursor_t *c, uint32_t byte) {
    if (byte == '\n') {
        c->line_before = c->line;
        c->line = c->at;
        for (uint32_t i = 0; i < FIELDS; i++) c->fields[1][i] = c->fields[0][i];
        c->fields_before = c->field + 1;
        c->field = 0;
        c->fields[0][0] = c->at;
    } else if (ends_field(byte) && c->field + 1 < FIELDS) {
        c->fields[0][++c->field] = c->at;
    }
}

static void read_word(trail_t *t, uint32_t byte) {
    if (is_letter(byte)) {
        t->word = hash32(((uint64_t)t->word << 8) + (byte - 'A' < 26 ? byte + 32 : byte) + 1);
    } else if (t->word) {
        if (t->line_word == 0) t->line_word = t->word;
        t->word_before = t->word;
        t->word = 0;
    }
}

void zllm_trail_byte(trail_t *t, uint32_t byte) {
    t->last = t->last << 8 | byte;
    t->token_hash = hash32(((uint64_t)t->token_hash << 8) + byte + 1);
    t->token_length++;
    t->classes = t->classes << 3 | char_class(byte);
    read_word(t, byte);
    if (byte == '\n') t->line_word = 0;
}

/* Where the newest bytes were seen last. */
static uint32_t *recent_of(const predictor_t *p, const trail_t *t) {
    return p->recent + (hash32(t->last << (64 - 8 * MATCH_LEAST)) >> (32 - p->recent_bits));
}

/* The stream that has the position; ranges ascend. */
static uint32_t owner(const predictor_t *p, uint32_t position) {
    uint32_t low = 0, high = p->streams;
    while (high - low > 1) {
        const uint32_t middle = (low + high) / 2;
        if (p->cursors[middle].start <= position) low = middle;
        else high = middle;
    }
    return low;
}

static void find_match(predictor_t *p, cursor_t *c) {
    match_t *m = &c->match;
    uint32_t *recent = recent_of(p, &c->trail);
    const uint32_t at = *recent;
    *recent = c->at + 1;
    if (at == 0 || (m->expected >= 0 && m->length >= 16)) return;
    const uint32_t position = at - 1, stream = owner(p, position), start = p->cursors[stream].start;
    uint32_t length = 0;
    while (length < MATCH_VERIFY && length < position - start && length < c->at - c->start &&
           p->text[position - 1 - length] == p->text[c->at - 1 - length])
        length++;
    if (length < MATCH_LEAST || length <= m->length || position >= p->cursors[stream].at) return;
    *m = (match_t){.position = position, .stream = stream, .length = length};
    m->expected = p->text[position];
}

static void follow_match(predictor_t *p, cursor_t *c, uint32_t byte) {
    match_t *m = &c->match;
    if (m->expected >= 0) {
        const int miss = (uint32_t)m->expected != byte;
        m->misses = (m->misses << 1 | (uint32_t)miss) & 255;
        m->recent = 0;
        for (uint32_t k = 0; k < 8 && m->recent < 3; k++) m->recent += m->misses >> k & 1;
        if (miss) m->length = 0;
        else if (m->length < 65535) m->length++;
        m->position++;
        m->expected = -1;
        if (m->position < p->cursors[m->stream].at && m->misses != 255) m->expected = p->text[m->position];
        else m->length = 0;
    }
    if (c->at - c->start >= MATCH_LEAST) find_match(p, c);
}

/* The byte at an offset from a line's or field's start, 0 from `limit` on. */
static uint32_t above(const predictor_t *p, uint32_t from, uint32_t offset, uint32_t limit) {
    const uint32_t at = from + offset;
    return at < limit ? p->text[at] : 0;
}

static void hash_contexts(predictor_t *p, cursor_t *c) {
    const uint64_t l = c->trail.last;
    const uint32_t c1 = l & 255, column = c->at - c->line, in_field = c->at - c->fields[0][c->field];
    const uint32_t up = above(p, c->line_before, column, c->line);
    const uint32_t field_up = c->field < c->fields_before ? above(p, c->fields[1][c->field], in_field, c->line) : 0;
    const uint32_t follow = p->lm ? 0 : p->follow[l & 0xffff];
    uint64_t v[HASHED] = {
        l & 0xffffff,
        l & 0xffff00,
        (uint64_t)follow << 8 | c1,
        l & 0xffff,
        l & 0xffffffff,
        l & 0xffffffffffff,
        (uint64_t)c->trail.word << 8 | c1,
        (uint64_t)c->trail.word << 32 | c->trail.word_before,
        (uint64_t)up << 16 | (column < 255 ? column : 255) << 8 | c1,
        (uint64_t)field_up << 24 | c->field << 16 | c1 << 8 | (in_field < 255 ? in_field : 255),
        (uint64_t)c->trail.line_word << 16 | c->field << 8 | c1,
        (uint64_t)(uint32_t)(c->match.expected + 1) << 8 | (c->match.length < 15 ? c->match.length : 15),
        (uint64_t)c->trail.classes << 8 | c1,
    };
    if (!p->lm) {
        c->slot[0] = p->direct;
        c->slot[1] = p->direct + 256 + 256 * c1;
    }
    for (uint32_t i = first_hashed(p->lm); i < HASHED; i++) {
        const uint32_t h = hash32((v[i] + i + 1) * UINT64_C(0xd6e8feb86659fd93) + i * UINT64_C(0x632be59bd9b4e019));
        c->hash[i] = h;
        prefetch_line(p, h);
        prefetch_line(p, h ^ 1);
        prefetch_line(p, h ^ 2);
    }
}

void zllm_context_byte(predictor_t *p, cursor_t *c, uint32_t byte) {
    if (c->at < c->end) p->text[c->at++] = (uint8_t)byte;
    if (!p->lm) p->follow[c->trail.last & 0xffff] = (uint16_t)(p->follow[c->trail.last & 0xffff] << 8 | byte);
    zllm_trail_byte(&c->trail, byte);
    read_line(c, byte);
    follow_match(p, c, byte);
    hash_contexts(p, c);
    c->partial = 1;
    c->bits = 0;
    c->found = 0;
}

void zllm_cursor_cut(predictor_t *p, cursor_t *c) {
    context_restart(c);
    hash_contexts(p, c);
    c->partial = 1;
    c->bits = 0;
    c->found = 0;
    c->learning = 0;
}

void zllm_context_expect(const predictor_t *p, const trail_t *t) { __builtin_prefetch(recent_of(p, t)); }
