/* A stream of deflate from its data and its recipe. */
#include <string.h>

#include "cancel.h"
#include "media/payload.h"
#include "rebuild/deflate.h"

#define FIRST_TOKENS 1024u

typedef struct {
    heap_t *heap;
    matcher_t m;
    deflate_form_t form;
    reader_t blocks, corrections;
    uint64_t next_block, next_correction; /* how many more come before */
    int has_block, has_correction;
    tokens_t tokens;
    bit_writer_t out;
    const volatile int32_t *cancel;
} maker_t;

int zllm_tokens_add(tokens_t *t, token_t token) {
    if (t->n == t->room) {
        const size_t room = t->room ? 2 * t->room : FIRST_TOKENS;
        token_t *all = zllm_heap_take(t->heap, room * sizeof *all);
        if (all == NULL) return 0;
        if (t->n) memcpy(all, t->all, t->n * sizeof *all);
        zllm_heap_free(t->heap, t->all);
        t->all = all;
        t->room = room;
    }
    t->all[t->n++] = token;
    return 1;
}

zllm_result zllm_predict_block(matcher_t *m, tokens_t *tokens, size_t most, size_t span, int *cut) {
    const uint32_t end = m->at + (uint32_t)span;
    *cut = 0;
    tokens->n = 0;
    while (m->at < end && tokens->n < most) {
        const token_t predicted = zllm_matcher_predict(m);
        const int beyond = length_of(predicted) > end - m->at;
        const token_t token = beyond ? LITERAL : predicted;
        *cut |= beyond;
        zllm_matcher_advance(m, predicted, token);
        if (!zllm_tokens_add(tokens, token)) return ZLLM_E_MEMORY;
        if (took_too_long(m)) return ZLLM_E_DATA;
    }
    return ZLLM_OK;
}

static void next_block(maker_t *k) {
    k->has_block = k->blocks.at < k->blocks.size;
    if (k->has_block) k->next_block = read_number(&k->blocks);
}

static void next_correction(maker_t *k) {
    k->has_correction = k->corrections.at < k->corrections.size;
    if (k->has_correction) k->next_correction = read_number(&k->corrections);
}

/* A block of the recipe. Whether it makes sense. */
static int read_block(maker_t *k, block_t *b) {
    const uint64_t packed = read_number(&k->blocks);
    *b = (block_t){.kind = packed & 3, .last = packed >> 2 & 1};
    if (k->blocks.bad || packed >> 3 > k->m.size - k->m.at) return 0;
    b->size = (size_t)(packed >> 3);
    if (b->kind == HEADER_GIVEN) {
        b->header_bits = read_number(&k->blocks);
        b->header = k->blocks.data + k->blocks.at;
        if (k->blocks.bad || b->header_bits > 8 * (uint64_t)(k->blocks.size - k->blocks.at)) return 0;
        k->blocks.at += (size_t)((b->header_bits + 7) / 8);
    }
    next_block(k);
    return !k->blocks.bad;
}

/* A token that differs from the predicted one. 0: no such token can be here. */
static token_t read_correction(maker_t *k, size_t left) {
    const uint64_t length = read_number(&k->corrections);
    token_t token = LITERAL;
    if (length > 0) {
        const uint64_t distance = read_number(&k->corrections);
        if (length + 2 > LONGEST_MATCH || length + 2 > left || distance < 1 || distance > 32768 || distance > k->m.at) return 0;
        token = match_of((uint32_t)length + 2, (uint32_t)distance);
        /* It has to be true: else the stream would not give the data. */
        const uint8_t *here = k->m.data + k->m.at;
        for (uint32_t i = 0; i < length_of(token); i++)
            if (here[i] != here[(ptrdiff_t)i - (ptrdiff_t)distance]) return 0;
    }
    next_correction(k);
    return k->corrections.bad ? 0 : token;
}

static zllm_result read_tokens(maker_t *k, size_t most) {
    k->tokens.n = 0;
    while (k->tokens.n < most && k->m.at < k->m.size) {
        const token_t predicted = zllm_matcher_predict(&k->m);
        token_t token = predicted;
        if (k->has_correction && k->next_correction-- == 0) {
            token = read_correction(k, k->m.size - k->m.at);
            if (token == 0) return ZLLM_E_DATA;
        }
        zllm_matcher_advance(&k->m, predicted, token);
        if (!zllm_tokens_add(&k->tokens, token)) return ZLLM_E_MEMORY;
        if (took_too_long(&k->m)) return ZLLM_E_DATA;
    }
    return ZLLM_OK;
}

static void put_stored(bit_writer_t *w, const uint8_t *data, size_t n) {
    put_padding(w);
    put_bits(w, (uint32_t)n, 16);
    put_bits(w, (uint32_t)~n & 0xffff, 16);
    for (size_t i = 0; i < n; i++) put_bits(w, data[i], 8);
}

static int put_given_header(bit_writer_t *w, const block_t *b, lengths_t *lengths) {
    bit_reader_t in = {b->header, b->header_bits, 0, 0}, again = in;
    if (!zllm_read_header(&in, lengths) || in.at != in.size) return 0;
    while (again.at < again.size) {
        const uint32_t count = again.size - again.at < 16 ? (uint32_t)(again.size - again.at) : 16;
        put_bits(w, get_bits(&again, count), count);
    }
    return 1;
}

/* Whether codes can say all tokens. */
static int codes_fit(const lengths_t *l, const tokens_t *t, const uint8_t *data) {
    if (l->literals[END_OF_BLOCK] == 0) return 0;
    for (size_t i = 0; i < t->n; i++) {
        const token_t token = t->all[i];
        if (token == LITERAL) {
            if (l->literals[*data] == 0) return 0;
        } else if (l->literals[zllm_length_symbol(length_of(token)).symbol] == 0 ||
                   l->distances[zllm_distance_symbol(distance_of(token)).symbol] == 0) {
            return 0;
        }
        data += length_of(token);
    }
    return 1;
}

static zllm_result write_block(maker_t *k, const block_t *b, const uint8_t *data, lengths_t *lengths) {
    put_bits(&k->out, (uint32_t)b->last | (b->kind == HEADER_GIVEN ? DYNAMIC_BLOCK : b->kind) << 1, 3);
    if (b->kind == STORED_BLOCK) {
        put_stored(&k->out, data, (size_t)(k->m.data + k->m.at - data));
    } else {
        if (b->kind == HEADER_GIVEN && !put_given_header(&k->out, b, lengths)) return ZLLM_E_DATA;
        if (b->kind == DYNAMIC_BLOCK) zllm_put_header(&k->out, lengths);
        if (!codes_fit(lengths, &k->tokens, data)) return ZLLM_E_DATA;
        zllm_put_tokens(&k->out, lengths, k->tokens.all, k->tokens.n, data);
    }
    return k->out.full ? ZLLM_E_DATA : ZLLM_OK;
}

/* One block. *last: whether it is the stream's last one. */
static zllm_result make_block(maker_t *k, int *last) {
    const uint8_t *data = k->m.data + k->m.at;
    const size_t most = most_tokens(&k->form);
    lengths_t lengths;
    block_t b = {0};
    const int strange = k->has_block && k->next_block-- == 0;
    int cut;
    zllm_result rc;
    if (cancelled(k->cancel)) return ZLLM_E_CANCELLED;
    if (strange && !read_block(k, &b)) return ZLLM_E_DATA;
    if (strange && b.kind == STORED_BLOCK) {
        if (b.size > MOST_STORED) return ZLLM_E_DATA;
        rc = zllm_predict_block(&k->m, &k->tokens, b.size, b.size, &cut);
    } else {
        rc = read_tokens(k, strange ? b.size : most);
    }
    if (rc != ZLLM_OK) return rc;
    const size_t span = (size_t)(k->m.data + k->m.at - data);
    if (strange && b.kind != STORED_BLOCK && k->tokens.n != b.size) return ZLLM_E_DATA;
    if (!strange || b.kind == DYNAMIC_BLOCK || b.kind == FIXED_BLOCK) {
        const block_kind_t kind = zllm_choose_block(k->tokens.all, k->tokens.n, data, span,
                                                    k->form.strategy == ALWAYS_FIXED, &lengths);
        if (!strange) b = (block_t){.kind = kind, .last = k->tokens.n < most};
        if (b.kind == FIXED_BLOCK) zllm_fixed_lengths(&lengths);
        else if (b.kind == DYNAMIC_BLOCK && kind != DYNAMIC_BLOCK) zllm_dynamic_lengths(k->tokens.all, k->tokens.n, data, &lengths);
    }
    *last = b.last;
    return write_block(k, &b, data, &lengths);
}

static zllm_result make_all(maker_t *k) {
    int last = 0;
    zllm_result rc = ZLLM_OK;
    size_t left = most_blocks(k->m.size);
    next_block(k);
    next_correction(k);
    while (rc == ZLLM_OK && !last) rc = left-- == 0 ? ZLLM_E_DATA : make_block(k, &last);
    put_padding(&k->out);
    if (rc != ZLLM_OK) return rc;
    return k->out.full || k->m.at < k->m.size || k->has_block || k->has_correction ? ZLLM_E_DATA : ZLLM_OK;
}

zllm_result zllm_deflate_make(heap_t *heap, const uint8_t *recipe, size_t recipe_size, const uint8_t *data, size_t n,
                              uint8_t *out, size_t *size, const volatile int32_t *cancel) {
    maker_t k = {.heap = heap, .tokens = {.heap = heap}, .cancel = cancel, .out = {.out = out, .room = *size}};
    reader_t in = {recipe, recipe_size, 2, recipe_size < 2};
    if (in.bad || n > INT32_MAX) return ZLLM_E_DATA;
    k.form = (deflate_form_t){recipe[0] & 15, recipe[1] & 15, MOST_WINDOW - (recipe[1] >> 4), recipe[0] >> 4};
    const uint64_t blocks = read_number(&in);
    if (in.bad || !zllm_form_valid(&k.form) || blocks > recipe_size - in.at) return ZLLM_E_DATA;
    k.blocks = (reader_t){recipe + in.at, (size_t)blocks, 0, 0};
    k.corrections = (reader_t){k.blocks.data + k.blocks.size, recipe_size - in.at - (size_t)blocks, 0, 0};
    zllm_result rc = zllm_matcher_start(&k.m, heap, &k.form, data, n) ? make_all(&k) : ZLLM_E_MEMORY;
    zllm_matcher_end(&k.m, heap);
    zllm_heap_free(heap, k.tokens.all);
    *size = k.out.at;
    return rc;
}
