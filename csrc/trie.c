/* The byte trie of a sorted vocabulary as a binary tree (docs/arithmetic.md, section 5). */
#include "model.h"

typedef struct {
    const uint8_t *bytes;
    const uint32_t *offsets;
    decision_t *decisions;
    uint32_t used, level, deepest; /* decisions made; those above the one in hand, now and at most */
} builder_t;

/* Tokens [low, high) share their first `depth` bytes and, if bit < 8, the upper `bit` bits of the next byte.
 * bit == 8 asks whether a token ends at `depth`: only the first of a sorted range can. The recursion is at most
 * 9 * (longest token + 1) deep, which model.c bounds. */
static int32_t build(builder_t *b, uint32_t low, uint32_t high, uint32_t depth, uint32_t bit) {
    uint32_t split = low;
    if (high - low == 1) return ~(int32_t)low;
    if (bit == 8) {
        if (b->offsets[low + 1] - b->offsets[low] != depth) return build(b, low, high, depth, 0);
        split = low + 1;
    } else {
        while (split < high && !(b->bytes[b->offsets[split] + depth] >> (7 - bit) & 1)) split++;
        if (split == low || split == high)
            return bit == 7 ? build(b, low, high, depth + 1, 8) : build(b, low, high, depth, bit + 1);
    }
    const uint32_t at = b->used++;
    b->decisions[at].split = split;
    b->decisions[at].depth = (uint16_t)depth;
    b->decisions[at].bit = (uint8_t)bit;
    b->decisions[at].opens = 0;
    if (++b->level > b->deepest) b->deepest = b->level;
    const int32_t first = bit == 8 ? ~(int32_t)low
                          : bit == 7 ? build(b, low, split, depth + 1, 8)
                                     : build(b, low, split, depth, bit + 1);
    const int32_t second = bit == 8 ? build(b, split, high, depth, 0)
                           : bit == 7 ? build(b, split, high, depth + 1, 8)
                                      : build(b, split, high, depth, bit + 1);
    b->decisions[at].low = first;
    b->decisions[at].high = second;
    b->level--;
    return (int32_t)at;
}

uint32_t zllm_trie_build(const uint8_t *bytes, const uint32_t *offsets, uint32_t vocab, decision_t *decisions) {
    builder_t b = {.bytes = bytes, .offsets = offsets, .decisions = decisions};
    (void)build(&b, 0, vocab, 0, 0);
    return b.deepest;
}

/* A decision is about several classes, and then its split has to be between two of them; about one whole class, which it
 * opens; or about a part of one (within). The recursion is as deep as the tree. */
static int mark(decision_t *decisions, int32_t at, uint32_t low, uint32_t high, const uint16_t *class_of, int within) {
    if (at < 0) return 1;
    decision_t *d = &decisions[at];
    const int one = class_of[low] == class_of[high - 1];
    d->opens = (uint8_t)(one && !within);
    if (!one && class_of[d->split - 1] == class_of[d->split]) return 0;
    return mark(decisions, d->low, low, d->split, class_of, one) &&
           mark(decisions, d->high, d->split, high, class_of, one);
}

int zllm_trie_mark(decision_t *decisions, uint32_t vocab, const uint16_t *class_of) {
    return mark(decisions, 0, 0, vocab, class_of, 0);
}
