/* What the predictor looks at: contexts made of the bytes before the next one, and the match model's search. */
#include "state.h"

#define MATCH_LEAST 5u    /* bytes that are hashed to find a match, */
#define MATCH_PROSE 7u    /* and in long prose, where short ones are everywhere */
#define RECENT_LINE 4u    /* log2 of a line's entries */
#define MATCH_VERIFY 400u /* bytes compared at most */

static void context_restart(cursor_t *c) {
    c->trail = (trail_t){0};
    c->x86 = (x86_t){0};
    c->document = c->line = c->line_before = c->at;
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

/* A zero neither belongs to a word nor ends one: in UTF-16 every second byte is one. */
static void read_word(trail_t *t, uint32_t byte) {
    if (byte == 0) return;
    if (is_letter(byte)) {
        t->word = hash32(((uint64_t)t->word << 8) + (byte - 'A' < 26 ? byte + 32 : byte) + 1);
    } else if (t->word) {
        if (t->line_word == 0) t->line_word = t->word;
        t->word_before_that = t->word_before;
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

static uint32_t match_least(const predictor_t *p) {
    return p->profile == PROFILE_PROSE ? MATCH_PROSE : MATCH_LEAST;
}

/* The line of the table of what was seen last, by all of a match's least bytes but the newest: it can be prefetched when the
 * byte before that one has ended. */
static uint32_t *recent_line(const predictor_t *p, uint64_t older) {
    return p->recent + (hash32(older << (72 - 8 * match_least(p))) >> (32 + RECENT_LINE - p->recent_bits) << RECENT_LINE);
}

/* Where the newest bytes were seen last. */
static uint32_t *recent_of(const predictor_t *p, const trail_t *t) {
    return recent_line(p, t->last >> 8) + (hash32(t->last & 255) >> (32 - RECENT_LINE));
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
    if (length < match_least(p) || length <= m->length || position >= p->cursors[stream].at) return;
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
    if (c->at - c->start >= match_least(p)) find_match(p, c);
}

/* The byte at an offset from a line's or field's start, 0 from `limit` on. */
static uint32_t above(const predictor_t *p, uint32_t from, uint32_t offset, uint32_t limit) {
    const uint32_t at = from + offset;
    return at < limit ? p->text[at] : 0;
}

/* What the contexts are made of, apart from the bytes before. */
typedef struct {
    uint64_t last, word, word_before, word_before_that, line_word, classes;
    uint64_t column, up; /* in the line, at most 255; the byte above */
    uint64_t field, in_field, field_up;
    uint64_t follow, expected;
} seen_t;

static seen_t see(const predictor_t *p, const cursor_t *c) {
    const trail_t *t = &c->trail;
    const uint32_t column = c->at - c->line, in_field = c->at - c->fields[0][c->field], match = c->match.length;
    return (seen_t){
        .last = t->last,
        .word = t->word,
        .word_before = t->word_before,
        .word_before_that = t->word_before_that,
        .line_word = t->line_word,
        .classes = t->classes,
        .column = column < 255 ? column : 255,
        .up = above(p, c->line_before, column, c->line),
        .field = c->field,
        .in_field = in_field < 255 ? in_field : 255,
        .field_up = c->field < c->fields_before ? above(p, c->fields[1][c->field], in_field, c->line) : 0,
        .follow = p->lm ? 0 : p->follow[t->last & 0xffff],
        .expected = (uint64_t)(uint32_t)(c->match.expected + 1) << 8 | (match < 15 ? match : 15),
    };
}

static void read_text(const seen_t *s, uint64_t v[HASHED]) {
    const uint64_t l = s->last, c1 = l & 255;
    v[0] = l & 0xffffff;
    v[1] = l & 0xffff00;
    v[2] = s->follow << 8 | c1;
    v[3] = l & 0xffff;
    v[4] = l & 0xffffffff;
    v[5] = l & 0xffffffffffff;
    v[6] = s->word << 8 | c1;
    v[7] = s->word << 32 | s->word_before;
    v[8] = s->up << 16 | s->column << 8 | c1;
    v[9] = s->field_up << 24 | s->field << 16 | c1 << 8 | s->in_field;
    v[10] = s->line_word << 16 | s->field << 8 | c1;
    v[11] = s->expected;
    v[12] = s->classes << 8 | c1;
}

/* What is for tables and logs makes room for more of words. */
static void read_prose(const seen_t *s, uint64_t v[HASHED]) {
    read_text(s, v);
    v[1] = s->last & 0xe0e0e0e0ffff;
    v[2] = s->word << 32 | s->column;
    v[9] = s->word << 32 | (s->classes & 0x3ffff);
    v[10] = s->word << 32 | s->word_before_that;
}

/* The byte at that distance before the next one, 0 before the document's start. */
static uint64_t back(const predictor_t *p, const cursor_t *c, uint32_t distance) {
    return c->at - c->document < distance ? 0 : p->text[c->at - distance];
}

static void read_records(const predictor_t *p, const cursor_t *c, const seen_t *s, uint64_t v[HASHED],
                         uint32_t size) {
    const uint64_t above_1 = back(p, c, size), above_2 = back(p, c, 2 * size), c1 = s->last & 255;
    const uint64_t place = (c->at - c->document) % size;
    read_text(s, v);
    v[6] = place << 16 | above_1 << 8;
    v[7] = above_1 << 16 | above_2 << 8 | place;
    v[8] = place << 16 | above_1 << 8 | c1;
    v[9] = place << 8 | c1;
    v[10] = s->last & 0xff00;
    v[12] = s->last & 0xffff0000;
}

/* Instructions without their operands, and what comes next in this one. */
static void read_x86(const x86_t *x, const seen_t *s, uint64_t v[HASHED]) {
    const uint64_t c1 = s->last & 255, kind = zllm_x86_kind(x), seen = x->seen, history = x->history;
    read_text(s, v);
    v[2] = history << 4 | kind;
    v[6] = seen << 8 | kind;
    v[7] = seen << 32 | (history & 0xfff) << 8 | kind;
    v[8] = seen << 32 | (history & 0xffffff) << 4 | kind;
    v[9] = seen << 16 | c1 << 8 | kind;
    v[10] = (history & 0xfff) << 16 | kind << 8 | c1;
    v[12] = kind << 40 | (uint64_t)x->opcode << 24 | (s->last & 0xffff);
}

/* Words of four bytes, of which the last one tells most: with what there is of this one, that of the one before. */
static void read_arm(const predictor_t *p, const cursor_t *c, const seen_t *s, uint64_t v[HASHED]) {
    const uint64_t place = (c->at - c->document) % 4;
    read_records(p, c, s, v, 4);
    v[9] = (s->last & ((1u << 8 * place) - 1)) << 16 | (s->last >> 8 * place & 255) << 8 | place;
}

static void hash_contexts(predictor_t *p, cursor_t *c) {
    const seen_t s = see(p, c);
    uint64_t v[HASHED];
    if (p->profile == PROFILE_X86) read_x86(&c->x86, &s, v);
    else if (p->profile == PROFILE_ARM) read_arm(p, c, &s, v);
    else if (p->profile >= PROFILE_RECORDS) read_records(p, c, &s, v, p->profile);
    else if (p->profile == PROFILE_PROSE) read_prose(&s, v);
    else read_text(&s, v);
    if (!p->lm) {
        c->slot[0] = p->direct;
        c->slot[1] = p->direct + 256 + 256 * (s.last & 255);
    }
    for (uint32_t i = first_hashed(p->lm); i < HASHED; i++) {
        const uint32_t h = hash32((v[i] + i + 1) * UINT64_C(0xd6e8feb86659fd93) + i * UINT64_C(0x632be59bd9b4e019));
        c->hash[i] = h;
        prefetch_line(p, h);
        if (p->lm) prefetch_lower_lines(p, h); /* without a model there is time for it later */
    }
}

void zllm_context_byte(predictor_t *p, cursor_t *c, uint32_t byte) {
    if (c->at < c->end) p->text[c->at++] = (uint8_t)byte;
    if (!p->lm) p->follow[c->trail.last & 0xffff] = (uint16_t)(p->follow[c->trail.last & 0xffff] << 8 | byte);
    zllm_trail_byte(&c->trail, byte);
    if (p->profile == PROFILE_X86) zllm_x86_byte(&c->x86, byte);
    read_line(c, byte);
    follow_match(p, c, byte);
    if (!p->lm) __builtin_prefetch(recent_line(p, c->trail.last));
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
