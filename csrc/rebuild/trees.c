/* Huffman codes as zlib makes them: which of several optimal codes it takes follows from how its heap breaks ties, and how it
 * shortens codes that are too long. */
#include "rebuild/trees.h"

#include <string.h>

#define MOST_BITS 15u
#define MOST_LENGTH_BITS 7u
#define LENGTH_CODES 19u
#define MOST_NODES (2 * (LITERALS + 2) + 1)
#define COPY 16u
#define ZEROS 17u
#define MANY_ZEROS 18u

const uint8_t zllm_order_of_lengths[LENGTH_CODES] = {16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15};

/* Lengths 3 to 10 have a symbol each, then four symbols share each number of extra bits; 258 has one alone. */
void zllm_length_range(uint32_t symbol, uint32_t *least, uint32_t *extra_bits) {
    const uint32_t k = symbol - 257;
    *extra_bits = k < 8 || k == 28 ? 0 : k / 4 - 1;
    *least = k < 8 ? k + 3 : k == 28 ? LONGEST_MATCH : ((4 + (k & 3)) << *extra_bits) + 3;
}

void zllm_distance_range(uint32_t symbol, uint32_t *least, uint32_t *extra_bits) {
    *extra_bits = symbol < 4 ? 0 : symbol / 2 - 1;
    *least = symbol < 4 ? symbol + 1 : ((2 + (symbol & 1)) << *extra_bits) + 1;
}

symbol_t zllm_length_symbol(uint32_t length) {
    const uint32_t value = length - SHORTEST_MATCH;
    if (length == LONGEST_MATCH) return (symbol_t){285, 0, 0};
    if (value < 8) return (symbol_t){257 + value, 0, 0};
    uint32_t bits = 1;
    while (value >> (bits + 3)) bits++;
    return (symbol_t){257 + 4 * bits + (value >> bits), bits, value & ((1u << bits) - 1)};
}

symbol_t zllm_distance_symbol(uint32_t distance) {
    const uint32_t value = distance - 1;
    if (value < 4) return (symbol_t){value, 0, 0};
    uint32_t bits = 1;
    while (value >> (bits + 2)) bits++;
    return (symbol_t){2 * bits + (value >> bits), bits, value & ((1u << bits) - 1)};
}

void zllm_fixed_lengths(lengths_t *l) {
    memset(l->literals, 8, 144);
    memset(l->literals + 144, 9, 112);
    memset(l->literals + 256, 7, 24);
    memset(l->literals + 280, 8, 8);
    memset(l->distances, 5, sizeof l->distances);
}

static uint16_t reversed(uint32_t code, uint32_t bits) {
    uint32_t out = 0;
    for (uint32_t i = 0; i < bits; i++, code >>= 1) out = out << 1 | (code & 1);
    return (uint16_t)out;
}

void zllm_codes_of(const uint8_t *lengths, uint32_t n, uint16_t *codes) {
    uint32_t counts[MOST_BITS + 1] = {0}, next[MOST_BITS + 2] = {0};
    for (uint32_t i = 0; i < n; i++) counts[lengths[i]]++;
    counts[0] = 0;
    for (uint32_t bits = 1; bits <= MOST_BITS; bits++) next[bits] = (next[bits - 1] + counts[bits - 1]) << 1;
    for (uint32_t i = 0; i < n; i++) codes[i] = lengths[i] ? reversed(next[lengths[i]]++, lengths[i]) : 0;
}

/* A tree in the making. Leaves are symbols, inner nodes follow them. */
typedef struct {
    uint32_t weights[MOST_NODES];
    uint8_t depths[MOST_NODES];
    uint16_t parents[MOST_NODES], bits[MOST_NODES];
    uint16_t heap[MOST_NODES]; /* from 1; then, from the end downwards, nodes in the order in which they were taken */
    uint32_t size, taken, last; /* of the heap; where taken nodes begin; the last symbol that is used */
} tree_t;

static int lighter(const tree_t *t, uint32_t a, uint32_t b) {
    if (t->weights[a] != t->weights[b]) return t->weights[a] < t->weights[b];
    return t->depths[a] <= t->depths[b];
}

static void sift_down(tree_t *t, uint32_t at) {
    const uint16_t node = t->heap[at];
    for (uint32_t below = 2 * at; below <= t->size; below = 2 * at) {
        if (below < t->size && lighter(t, t->heap[below + 1], t->heap[below])) below++;
        if (lighter(t, node, t->heap[below])) break;
        t->heap[at] = t->heap[below];
        at = below;
    }
    t->heap[at] = node;
}

/* The symbols that are used, at least two of them. */
static void fill_heap(tree_t *t, const uint32_t *counts, uint32_t n) {
    t->size = 0;
    t->taken = MOST_NODES;
    int last = -1;
    for (uint32_t i = 0; i < n; i++) {
        t->weights[i] = counts[i];
        t->depths[i] = 0;
        if (counts[i] == 0) continue;
        last = (int)i;
        t->heap[++t->size] = (uint16_t)i;
    }
    while (t->size < 2) {
        const uint32_t node = last < 2 ? (uint32_t)++last : 0;
        t->heap[++t->size] = (uint16_t)node;
        t->weights[node] = 1;
    }
    t->last = (uint32_t)last;
    for (uint32_t i = t->size / 2; i >= 1; i--) sift_down(t, i);
}

/* Join the two lightest nodes until one is left. */
static void join_nodes(tree_t *t, uint32_t n) {
    for (uint32_t node = n; t->size >= 2; node++) {
        const uint16_t first = t->heap[1];
        t->heap[1] = t->heap[t->size--];
        sift_down(t, 1);
        const uint16_t second = t->heap[1];
        t->heap[--t->taken] = first;
        t->heap[--t->taken] = second;
        t->weights[node] = t->weights[first] + t->weights[second];
        t->depths[node] = (uint8_t)((t->depths[first] > t->depths[second] ? t->depths[first] : t->depths[second]) + 1);
        t->parents[first] = t->parents[second] = (uint16_t)node;
        t->heap[1] = (uint16_t)node;
        sift_down(t, 1);
    }
    t->heap[--t->taken] = t->heap[1];
}

/* Bits of the n leaves, none above `most`: where some would be, leaves that are less deep make room, and lengths are given out
 * anew from the rarest symbol on. */
static void limit_bits(tree_t *t, uint32_t n, uint32_t most) {
    uint32_t counts[MOST_BITS + 1] = {0}, at = t->taken;
    int excess = 0;
    t->bits[t->heap[at]] = 0;
    for (at++; at < MOST_NODES; at++) {
        const uint32_t node = t->heap[at], bits = t->bits[t->parents[node]] + 1u;
        t->bits[node] = (uint16_t)(bits > most ? most : bits);
        excess += bits > most;
        if (node < n) counts[t->bits[node]]++;
    }
    if (excess == 0) return;
    for (; excess > 0; excess -= 2) {
        uint32_t bits = most - 1;
        while (counts[bits] == 0) bits--;
        counts[bits]--;
        counts[bits + 1] += 2;
        counts[most]--;
    }
    for (uint32_t bits = most; bits > 0; bits--)
        for (uint32_t left = counts[bits]; left > 0;) {
            const uint32_t node = t->heap[--at];
            if (node >= n) continue;
            t->bits[node] = (uint16_t)bits;
            left--;
        }
}

static void make_lengths(const uint32_t *counts, uint32_t n, uint32_t most, uint8_t *lengths) {
    tree_t t;
    fill_heap(&t, counts, n);
    for (uint32_t i = 0; i < n; i++) t.bits[i] = 0;
    join_nodes(&t, n);
    limit_bits(&t, n, most);
    for (uint32_t i = 0; i < n; i++) lengths[i] = (uint8_t)(t.weights[i] ? t.bits[i] : 0);
}

/* Lengths of codes as symbols: (symbol, extra). */
typedef struct {
    uint8_t symbols[LITERALS + DISTANCES], extras[LITERALS + DISTANCES];
    uint32_t n;
} run_lengths_t;

static void add_run(run_lengths_t *r, uint32_t symbol, uint32_t extra) {
    r->symbols[r->n] = (uint8_t)symbol;
    r->extras[r->n++] = (uint8_t)extra;
}

/* One table of lengths; the two of a block do not share runs. */
static void find_runs(run_lengths_t *r, const uint8_t *lengths, uint32_t n) {
    int before = -1;
    for (uint32_t i = 0, end; i < n; i = end) {
        const uint8_t now = lengths[i];
        const uint32_t most = now == 0 ? 138 : (int)now == before ? 6 : 7;
        for (end = i + 1; end < n && end - i < most && lengths[end] == now;) end++;
        const uint32_t count = end - i;
        if (now == 0 && count > 10) add_run(r, MANY_ZEROS, count - 11);
        else if (now == 0 && count >= 3) add_run(r, ZEROS, count - 3);
        else if (now != 0 && count >= ((int)now == before ? 3u : 4u)) {
            if ((int)now != before) add_run(r, now, 0);
            add_run(r, COPY, count - 3 - ((int)now != before));
        } else
            for (uint32_t k = 0; k < count; k++) add_run(r, now, 0);
        before = now;
    }
}

static const uint8_t EXTRA_OF_RUN[3] = {2, 3, 7};

typedef struct {
    run_lengths_t runs;
    uint8_t lengths[LENGTH_CODES];
    uint32_t literals, distances, sent; /* how many of each are written */
    uint64_t bits;
} header_t;

static uint32_t used(const uint8_t *lengths, uint32_t n, uint32_t least) {
    while (n > least && lengths[n - 1] == 0) n--;
    return n;
}

static void make_header(header_t *h, const lengths_t *l) {
    uint32_t counts[LENGTH_CODES] = {0};
    h->runs.n = 0;
    h->literals = used(l->literals, LITERALS, 257);
    h->distances = used(l->distances, DISTANCES, 1);
    find_runs(&h->runs, l->literals, h->literals);
    find_runs(&h->runs, l->distances, h->distances);
    for (uint32_t i = 0; i < h->runs.n; i++) counts[h->runs.symbols[i]]++;
    make_lengths(counts, LENGTH_CODES, MOST_LENGTH_BITS, h->lengths);
    h->sent = LENGTH_CODES;
    while (h->sent > 4 && h->lengths[zllm_order_of_lengths[h->sent - 1]] == 0) h->sent--;
    h->bits = 5 + 5 + 4 + 3 * h->sent;
    for (uint32_t i = 0; i < LENGTH_CODES; i++)
        h->bits += (uint64_t)counts[i] * (h->lengths[i] + (i >= COPY ? EXTRA_OF_RUN[i - COPY] : 0));
}

void zllm_put_header(bit_writer_t *w, const lengths_t *lengths) {
    header_t h;
    uint16_t codes[LENGTH_CODES];
    make_header(&h, lengths);
    zllm_codes_of(h.lengths, LENGTH_CODES, codes);
    put_bits(w, h.literals - 257, 5);
    put_bits(w, h.distances - 1, 5);
    put_bits(w, h.sent - 4, 4);
    for (uint32_t i = 0; i < h.sent; i++) put_bits(w, h.lengths[zllm_order_of_lengths[i]], 3);
    for (uint32_t i = 0; i < h.runs.n; i++) {
        const uint32_t symbol = h.runs.symbols[i];
        put_bits(w, codes[symbol], h.lengths[symbol]);
        if (symbol >= COPY) put_bits(w, h.runs.extras[i], EXTRA_OF_RUN[symbol - COPY]);
    }
}

void zllm_put_tokens(bit_writer_t *w, const lengths_t *l, const token_t *tokens, size_t n, const uint8_t *data) {
    uint16_t literals[LITERALS + 2], distances[DISTANCES + 2];
    zllm_codes_of(l->literals, LITERALS + 2, literals);
    zllm_codes_of(l->distances, DISTANCES + 2, distances);
    for (size_t i = 0; i < n; i++) {
        if (tokens[i] == LITERAL) {
            put_bits(w, literals[*data], l->literals[*data]);
        } else {
            const symbol_t length = zllm_length_symbol(length_of(tokens[i]));
            const symbol_t distance = zllm_distance_symbol(distance_of(tokens[i]));
            put_bits(w, literals[length.symbol], l->literals[length.symbol]);
            put_bits(w, length.extra, length.extra_bits);
            put_bits(w, distances[distance.symbol], l->distances[distance.symbol]);
            put_bits(w, distance.extra, distance.extra_bits);
        }
        data += length_of(tokens[i]);
    }
    put_bits(w, literals[END_OF_BLOCK], l->literals[END_OF_BLOCK]);
}

typedef struct {
    uint32_t literals[LITERALS + 2], distances[DISTANCES + 2];
    uint64_t extra_bits;
} counts_t;

static void count_tokens(counts_t *c, const token_t *tokens, size_t n, const uint8_t *data) {
    memset(c, 0, sizeof *c);
    c->literals[END_OF_BLOCK] = 1;
    for (size_t i = 0; i < n; i++) {
        if (tokens[i] == LITERAL) {
            c->literals[*data]++;
        } else {
            const symbol_t length = zllm_length_symbol(length_of(tokens[i]));
            const symbol_t distance = zllm_distance_symbol(distance_of(tokens[i]));
            c->literals[length.symbol]++;
            c->distances[distance.symbol]++;
            c->extra_bits += length.extra_bits + distance.extra_bits;
        }
        data += length_of(tokens[i]);
    }
}

static uint64_t bits_of_codes(const counts_t *c, const lengths_t *l) {
    uint64_t bits = c->extra_bits;
    for (uint32_t i = 0; i < LITERALS; i++) bits += (uint64_t)c->literals[i] * l->literals[i];
    for (uint32_t i = 0; i < DISTANCES; i++) bits += (uint64_t)c->distances[i] * l->distances[i];
    return bits;
}

static void best_lengths(const counts_t *c, lengths_t *lengths) {
    memset(lengths, 0, sizeof *lengths);
    make_lengths(c->literals, LITERALS, MOST_BITS, lengths->literals);
    make_lengths(c->distances, DISTANCES, MOST_BITS, lengths->distances);
}

void zllm_dynamic_lengths(const token_t *tokens, size_t n, const uint8_t *data, lengths_t *lengths) {
    counts_t c;
    count_tokens(&c, tokens, n, data);
    best_lengths(&c, lengths);
}

block_kind_t zllm_choose_block(const token_t *tokens, size_t n, const uint8_t *data, size_t span, int always_fixed,
                               lengths_t *lengths) {
    counts_t c;
    lengths_t fixed;
    header_t h;
    count_tokens(&c, tokens, n, data);
    best_lengths(&c, lengths);
    zllm_fixed_lengths(&fixed);
    make_header(&h, lengths);
    const uint64_t by_codes = (bits_of_codes(&c, lengths) + h.bits + 3 + 7) >> 3;
    const uint64_t by_fixed = (bits_of_codes(&c, &fixed) + 3 + 7) >> 3;
    const int is_fixed = by_fixed <= by_codes || always_fixed;
    if (span <= MOST_STORED && span + 4 <= (is_fixed ? by_fixed : by_codes)) return STORED_BLOCK;
    if (is_fixed) *lengths = fixed;
    return is_fixed ? FIXED_BLOCK : DYNAMIC_BLOCK;
}
