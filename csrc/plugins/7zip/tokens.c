#include "plugins/7zip/tokens.h"

#include <stdlib.h>
#include <string.h>

#include "network/json.h"

#define LONGEST_PIECE 256u /* merging takes time in proportion to the square */
#define NONE UINT32_MAX

/* The pre-tokenizers of zllm's models (zllm/models/tokenizer.py); they differ in digits and in line ends. */
#define WORD "[ \\t!-/:-@\\[-`{-~]?[A-Za-z\\x{80}-\\x{ff}]+"
#define SIGNS "| ?[!-/:-@\\[-`{-~]+| +(?= )|[ \\t]+|[\\x{00}-\\x{1f}\\x{7f}]"
static const char SPLIT[] = WORD "| ?[0-9]{1,3}|(?:\\r?\\n)+[ \\t]*" SIGNS;
static const char SPLIT_FINE[] = WORD "| ?[0-9]|(?:\\r?\\n)+" SIGNS;

typedef struct {
    uint64_t pair; /* left token, right token */
    uint32_t rank, merged; /* merged is NONE in empty slots */
} merge_t;

struct tokens {
    const zllm_model *model;
    merge_t *merges; /* open addressing; NULL: the longest tokens */
    size_t mask;
    size_t longest;  /* bytes of a token */
    int fine;
};

size_t tokens_length(const tokens_t *t, uint32_t token) {
    return t->model->token_offsets[token + 1] - t->model->token_offsets[token];
}

/* The token of exactly these bytes. */
static uint32_t find(const tokens_t *t, const uint8_t *bytes, size_t size) {
    uint32_t low = 0, high = t->model->vocab;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        const size_t own = tokens_length(t, middle), common = own < size ? own : size;
        const int order = memcmp(t->model->token_bytes + t->model->token_offsets[middle], bytes, common);
        if (order == 0 && own == size) return middle;
        if (order < 0 || (order == 0 && own < size)) low = middle + 1;
        else high = middle;
    }
    return NONE;
}

static merge_t *slot(const tokens_t *t, uint64_t pair) {
    size_t at = (size_t)((pair * 0x9e3779b97f4a7c15u) >> 32) & t->mask;
    while (t->merges[at].merged != NONE && t->merges[at].pair != pair) at = (at + 1) & t->mask;
    return &t->merges[at];
}

/* Characters below 256, in UTF-8, to bytes; 0 if there are others, or too many. */
static size_t latin1(const json_value_t *text, uint8_t *out, size_t room) {
    size_t n = 0;
    if (text->kind != JSON_STRING) return 0;
    for (uint32_t i = 0; i < text->size; i++) {
        uint32_t c = (uint8_t)text->as.string[i];
        if (c >= 0x80) {
            if ((c != 0xc2 && c != 0xc3) || ++i == text->size) return 0;
            c = (c & 3) << 6 | ((uint8_t)text->as.string[i] & 0x3f);
        }
        if (n == room) return 0;
        out[n++] = (uint8_t)c;
    }
    return n;
}

static int add_merge(tokens_t *t, const json_value_t *pair, uint32_t rank) {
    uint8_t bytes[512];
    if (pair->kind != JSON_ARRAY || pair->size != 2) return 0;
    const size_t left = latin1(&pair->as.values[0], bytes, 256), right = latin1(&pair->as.values[1], bytes + left, 256);
    if (left == 0 || right == 0) return 0;
    const uint32_t a = find(t, bytes, left), b = find(t, bytes + left, right), whole = find(t, bytes, left + right);
    if (a == NONE || b == NONE || whole == NONE) return 0;
    merge_t *m = slot(t, (uint64_t)a << 32 | b);
    if (m->merged == NONE) *m = (merge_t){(uint64_t)a << 32 | b, rank, whole};
    return 1;
}

static const json_value_t *member(const json_value_t *object, const char *name, json_kind_t kind) {
    return object == NULL ? NULL : zllm_json_member_of_kind(object, name, kind);
}

static int is_text(const json_value_t *value, const char *text) {
    return value != NULL && value->size == strlen(text) && memcmp(value->as.string, text, value->size) == 0;
}

/* Whether it is a tokenizer that this file knows; its merges are taken over then. */
static int read_tokenizer(tokens_t *t, const json_value_t *root) {
    const json_value_t *split = member(root, "pre_tokenizer", JSON_OBJECT), *model = member(root, "model", JSON_OBJECT);
    const json_value_t *regex = member(member(split, "pattern", JSON_OBJECT), "Regex", JSON_STRING);
    const json_value_t *merges = member(model, "merges", JSON_ARRAY);
    if (!is_text(member(split, "type", JSON_STRING), "Split") || !is_text(member(model, "type", JSON_STRING), "BPE")) return 0;
    if (merges == NULL || (!is_text(regex, SPLIT) && !is_text(regex, SPLIT_FINE))) return 0;
    t->fine = is_text(regex, SPLIT_FINE);
    for (t->mask = 1; t->mask < 2 * (size_t)merges->size + 2; t->mask *= 2) {}
    t->merges = malloc(t->mask * sizeof *t->merges);
    if (t->merges == NULL) return 0;
    for (size_t i = 0; i < t->mask; i++) t->merges[i].merged = NONE;
    t->mask--;
    for (uint32_t i = 0; i < merges->size; i++)
        if (!add_merge(t, &merges->as.values[i], i)) return 0;
    return 1;
}

tokens_t *tokens_new(const zllm_model *model, const char *json, size_t size) {
    tokens_t *t = calloc(1, sizeof *t);
    heap_t *heap;
    json_t parsed;
    if (t == NULL) return NULL;
    t->model = model;
    for (uint32_t i = 0; i < model->vocab; i++)
        if (tokens_length(t, i) > t->longest) t->longest = tokens_length(t, i);
    if (zllm_heap_open(NULL, &heap) != ZLLM_OK) return t;
    if (zllm_json_parse(&parsed, heap, json, size) != JSON_OK || !read_tokenizer(t, &parsed.root)) {
        free(t->merges);
        t->merges = NULL;
    }
    zllm_json_free(&parsed);
    zllm_heap_close(heap);
    return t;
}

void tokens_free(tokens_t *t) {
    if (t != NULL) free(t->merges);
    free(t);
}

static int is_letter(uint8_t c) { return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c >= 0x80; }
static int is_digit(uint8_t c) { return c >= '0' && c <= '9'; }
static int is_sign(uint8_t c) { return c > ' ' && c < 0x7f && !is_letter(c) && !is_digit(c); }
static int is_blank(uint8_t c) { return c == ' ' || c == '\t'; }

static size_t run_of(const uint8_t *text, size_t size, int (*belongs)(uint8_t)) {
    size_t n = 0;
    while (n < size && belongs(text[n])) n++;
    return n;
}

static size_t line_ends(const uint8_t *text, size_t size) {
    size_t n = 0;
    for (;;) {
        if (n < size && text[n] == '\n') n++;
        else if (n + 1 < size && text[n] == '\r' && text[n + 1] == '\n') n += 2;
        else return n;
    }
}

/* How long the piece is that the text begins with: the alternatives of the pattern, in order. */
static size_t piece(const tokens_t *t, const uint8_t *text, size_t size) {
    const size_t before = is_blank(text[0]) || is_sign(text[0]) ? 1 : 0, space = text[0] == ' ' ? 1 : 0;
    size_t n = run_of(text + before, size - before, is_letter);
    if (n > 0) return before + n;
    n = run_of(text + space, size - space, is_digit);
    if (n > 0) return space + (t->fine ? 1 : n < 3 ? n : 3);
    n = line_ends(text, size);
    if (n > 0) return t->fine ? n : n + run_of(text + n, size - n, is_blank);
    n = run_of(text + space, size - space, is_sign);
    if (n > 0) return space + n;
    for (n = 0; n < size && text[n] == ' '; n++) {}
    if (n > 1) return n - 1;
    n = run_of(text, size, is_blank);
    return n > 0 ? n : 1;
}

/* Byte-pair encoding of a piece: of all neighbours, those whose merge was learnt first become one, the leftmost first. */
static size_t merge_piece(const tokens_t *t, const uint8_t *text, size_t size, uint32_t *out) {
    uint32_t ranks[LONGEST_PIECE], merged[LONGEST_PIECE];
    size_t n = size;
    for (size_t i = 0; i < n; i++) out[i] = find(t, text + i, 1); /* every byte is a token */
    for (size_t i = 0; i < n; i++) {
        const merge_t *m = i + 1 < n ? slot(t, (uint64_t)out[i] << 32 | out[i + 1]) : NULL;
        ranks[i] = m != NULL && m->merged != NONE ? m->rank : NONE;
        merged[i] = m != NULL ? m->merged : NONE;
    }
    for (;;) {
        size_t best = 0;
        for (size_t i = 1; i < n; i++)
            if (ranks[i] < ranks[best]) best = i;
        if (ranks[best] == NONE) return n;
        out[best] = merged[best];
        n--;
        memmove(out + best + 1, out + best + 2, (n - best - 1) * sizeof *out);
        memmove(ranks + best + 1, ranks + best + 2, (n - best - 1) * sizeof *ranks);
        memmove(merged + best + 1, merged + best + 2, (n - best - 1) * sizeof *merged);
        for (size_t i = best > 0 ? best - 1 : 0; i <= best; i++) {
            const merge_t *m = i + 1 < n ? slot(t, (uint64_t)out[i] << 32 | out[i + 1]) : NULL;
            ranks[i] = m != NULL && m->merged != NONE ? m->rank : NONE;
            merged[i] = m != NULL ? m->merged : NONE;
        }
    }
}

static size_t longest_tokens(const tokens_t *t, const uint8_t *text, size_t size, uint32_t *out) {
    size_t n = 0;
    for (size_t at = 0; at < size; n++) {
        size_t length = size - at < t->longest ? size - at : t->longest;
        while ((out[n] = find(t, text + at, length)) == NONE) length--;
        at += length;
    }
    return n;
}

size_t tokens_of(const tokens_t *t, const uint8_t *text, size_t size, uint32_t *out) {
    size_t n = 0;
    if (t->merges == NULL) return longest_tokens(t, text, size, out);
    for (size_t at = 0; at < size;) {
        const size_t left = size - at, own = piece(t, text + at, left), length = own < LONGEST_PIECE ? own : LONGEST_PIECE;
        n += merge_piece(t, text + at, length, out + n);
        at += length;
    }
    return n;
}
