#include "rebuild/parse.h"

#include <string.h>

#define MOST_BITS 15u
#define FIRST_BLOCKS 16u

/* A canonical code: how many symbols have so many bits, and all symbols, ordered by their codes. */
typedef struct {
    uint16_t counts[MOST_BITS + 1], symbols[LITERALS + 2];
} code_t;

/* 0: there are more codes than fit, or, unless one alone is used, fewer. */
static int make_code(code_t *c, const uint8_t *lengths, uint32_t n) {
    uint16_t starts[MOST_BITS + 2] = {0};
    int32_t left = 1;
    uint32_t in_use = 0;
    memset(c->counts, 0, sizeof c->counts);
    for (uint32_t i = 0; i < n; i++) c->counts[lengths[i]]++;
    c->counts[0] = 0;
    for (uint32_t bits = 1; bits <= MOST_BITS; bits++) {
        left = 2 * left - c->counts[bits];
        if (left < 0) return 0;
        in_use += c->counts[bits];
        starts[bits + 1] = (uint16_t)(starts[bits] + c->counts[bits]);
    }
    for (uint32_t i = 0; i < n; i++)
        if (lengths[i]) c->symbols[starts[lengths[i]]++] = (uint16_t)i;
    return left == 0 || in_use <= 1;
}

static uint32_t get_symbol(bit_reader_t *in, const code_t *c) {
    int32_t code = 0, first = 0, index = 0;
    for (uint32_t bits = 1; bits <= MOST_BITS; bits++) {
        code |= (int32_t)get_bits(in, 1);
        const int32_t count = c->counts[bits];
        if (code - count < first) return c->symbols[index + (code - first)];
        index += count;
        first = (first + count) << 1;
        code <<= 1;
    }
    in->bad = 1;
    return END_OF_BLOCK;
}

int zllm_read_header(bit_reader_t *in, lengths_t *l) {
    uint8_t short_lengths[19] = {0}, all[LITERALS + 2 + DISTANCES + 2] = {0};
    const uint32_t literals = get_bits(in, 5) + 257, distances = get_bits(in, 5) + 1, sent = get_bits(in, 4) + 4;
    code_t code;
    if (literals > LITERALS || distances > DISTANCES) return 0;
    for (uint32_t i = 0; i < sent; i++) short_lengths[zllm_order_of_lengths[i]] = (uint8_t)get_bits(in, 3);
    if (in->bad || !make_code(&code, short_lengths, 19)) return 0;
    for (uint32_t i = 0; i < literals + distances;) {
        const uint32_t symbol = get_symbol(in, &code);
        if (in->bad) return 0;
        if (symbol < 16) {
            all[i++] = (uint8_t)symbol;
            continue;
        }
        if (symbol == 16 && i == 0) return 0;
        const uint8_t value = symbol == 16 ? all[i - 1] : 0;
        uint32_t count = symbol == 16 ? 3 + get_bits(in, 2) : symbol == 17 ? 3 + get_bits(in, 3) : 11 + get_bits(in, 7);
        if (in->bad || count > literals + distances - i) return 0;
        while (count--) all[i++] = value;
    }
    memset(l, 0, sizeof *l);
    memcpy(l->literals, all, literals);
    memcpy(l->distances, all + literals, distances);
    return l->literals[END_OF_BLOCK] != 0 && make_code(&code, l->literals, LITERALS) &&
           make_code(&code, l->distances, DISTANCES);
}

static int read_codes(stream_t *s, bit_reader_t *in, const lengths_t *l) {
    code_t literals, distances;
    if (!make_code(&literals, l->literals, LITERALS + 2) || !make_code(&distances, l->distances, DISTANCES + 2)) return 0;
    for (;;) {
        const uint32_t symbol = get_symbol(in, &literals);
        uint32_t length, distance, extra;
        if (in->bad || symbol >= LITERALS) return 0;
        if (symbol == END_OF_BLOCK) return 1;
        if (s->tokens.n == s->tokens.room) return 0;
        if (symbol < END_OF_BLOCK) {
            if (!zllm_tokens_add(&s->tokens, LITERAL)) return -1;
            continue;
        }
        zllm_length_range(symbol, &length, &extra);
        length += get_bits(in, extra);
        const uint32_t far = get_symbol(in, &distances);
        if (in->bad || far >= DISTANCES) return 0;
        zllm_distance_range(far, &distance, &extra);
        distance += get_bits(in, extra);
        /* 258 has a code of its own: as 227 + 31 nobody writes it, and it would not be written again. */
        if (in->bad || (length == LONGEST_MATCH && symbol != 285)) return 0;
        if (distance > s->farthest) s->farthest = distance;
        if (length > s->longest) s->longest = length;
        if (!zllm_tokens_add(&s->tokens, match_of(length, distance))) return -1;
    }
}

static int skip_padding(bit_reader_t *in) { return get_bits(in, (uint32_t)(0 - in->at) & 7) == 0; }

/* 1: read, 0: makes no sense, -1: out of memory. */
static int read_block(stream_t *s, bit_reader_t *in, block_t *b) {
    lengths_t lengths;
    b->last = (int)get_bits(in, 1);
    b->kind = get_bits(in, 2);
    if (in->bad || b->kind > DYNAMIC_BLOCK) return 0;
    if (b->kind == STORED_BLOCK) {
        if (!skip_padding(in)) return 0;
        b->size = get_bits(in, 16);
        if (get_bits(in, 16) != (~b->size & 0xffff) || in->bad || 8 * (uint64_t)b->size > in->size - in->at) return 0;
        in->at += 8 * (uint64_t)b->size;
        return 1;
    }
    const size_t before = s->tokens.n;
    zllm_fixed_lengths(&lengths);
    if (b->kind == DYNAMIC_BLOCK) {
        b->header = in->data;
        b->header_at = in->at;
        if (!zllm_read_header(in, &lengths)) return 0;
        b->header_bits = in->at - b->header_at;
        s->all_fixed = 0;
    }
    const int rc = read_codes(s, in, &lengths);
    b->size = s->tokens.n - before;
    return rc;
}

static block_t *new_block(stream_t *s) {
    if (s->n_blocks == s->room) {
        const size_t room = s->room ? 2 * s->room : FIRST_BLOCKS;
        block_t *all = zllm_heap_zeroed(s->heap, room, sizeof *all);
        if (all == NULL) return NULL;
        if (s->n_blocks) memcpy(all, s->blocks, s->n_blocks * sizeof *all);
        zllm_heap_free(s->heap, s->blocks);
        s->blocks = all;
        s->room = room;
    }
    return &s->blocks[s->n_blocks++];
}

zllm_result zllm_stream_read(stream_t *s, heap_t *heap, const uint8_t *coded, size_t size, size_t n) {
    bit_reader_t in = bits_of(coded, size);
    *s = (stream_t){.heap = heap, .tokens = {.heap = heap, .room = n}, .all_fixed = 1};
    /* Room for the most that there can be: pages that are not written to take no memory, and nothing is copied as it grows. */
    s->tokens.all = zllm_heap_take(heap, (n + 1) * sizeof *s->tokens.all);
    if (s->tokens.all == NULL) return ZLLM_E_MEMORY;
    for (int last = 0; !last;) {
        if (s->n_blocks == most_blocks(n)) return ZLLM_E_DATA;
        block_t *b = new_block(s);
        const int rc = b == NULL ? -1 : read_block(s, &in, b);
        if (rc <= 0) return rc < 0 ? ZLLM_E_MEMORY : ZLLM_E_DATA;
        last = b->last;
    }
    return skip_padding(&in) && in.at == in.size ? ZLLM_OK : ZLLM_E_DATA;
}

void zllm_stream_free(stream_t *s) {
    zllm_heap_free(s->heap, s->tokens.all);
    zllm_heap_free(s->heap, s->blocks);
}
