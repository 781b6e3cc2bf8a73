/* The recipe of a stream of deflate: zlib's parameters are those whose tokens are the stream's, or nearly. */
#include <string.h>

#include "cancel.h"
#include "media/payload.h"
#include "rebuild/parse.h"

#define SAMPLE 4096u        /* tokens by which parameters are compared first */
#define MOST_FORMS 64u
#define WHOLE 6u            /* parameters that are tried on a whole stream */
#define BLOCK_PENALTY 4u    /* differences that a strange block counts for */
#define WHOLE_WORK 2u       /* times what one stream may take, that all trials together may */
#define MOST_HEADER 512u    /* bytes of a dynamic block's header, about 320 at most */

typedef struct {
    heap_t *heap;
    const uint8_t *data;
    size_t size;
    stream_t stream;
    tokens_t tokens; /* of one block */
    uint8_t *blocks, *corrections; /* of the recipe in the making */
    size_t room;
    uint64_t work; /* steps that trials may take yet, all together */
    const volatile int32_t *cancel;
} finder_t;

/* A form on trial. */
typedef struct {
    finder_t *f;
    deflate_form_t form;
    matcher_t m;
    writer_t blocks, corrections;
    uint64_t since_block, since_correction, differences, most; /* most differences before it is given up */
    size_t left; /* tokens that are compared */
} trial_t;

static void write_strange(trial_t *t, const block_t *b, uint32_t kind) {
    write_number(&t->blocks, t->since_block);
    write_number(&t->blocks, (uint64_t)b->size << 3 | (uint64_t)(b->last != 0) << 2 | kind);
    t->since_block = 0;
    t->differences += BLOCK_PENALTY;
    if (kind != HEADER_GIVEN) return;
    bit_reader_t in = {b->header, b->header_at + b->header_bits, b->header_at, 0};
    write_number(&t->blocks, b->header_bits);
    if (t->blocks.room - t->blocks.at < (b->header_bits + 7) / 8) {
        t->blocks.full = 1;
        return;
    }
    while (in.at < in.size) {
        const uint32_t count = in.size - in.at < 8 ? (uint32_t)(in.size - in.at) : 8;
        t->blocks.out[t->blocks.at++] = (uint8_t)get_bits(&in, count);
    }
}

static void write_correction(trial_t *t, token_t token) {
    write_number(&t->corrections, t->since_correction);
    write_number(&t->corrections, token == LITERAL ? 0 : length_of(token) - 2);
    if (token != LITERAL) write_number(&t->corrections, distance_of(token));
    t->since_correction = 0;
    t->differences++;
}

/* Whether codes have the header that is there. */
static int header_equals(const block_t *b, const lengths_t *lengths) {
    uint8_t bytes[MOST_HEADER];
    bit_writer_t w = {.out = bytes, .room = sizeof bytes};
    zllm_put_header(&w, lengths);
    const uint64_t bits = 8 * (uint64_t)w.at + w.count;
    put_padding(&w);
    if (bits != b->header_bits) return 0;
    bit_reader_t there = {b->header, b->header_at + bits, b->header_at, 0}, here = {bytes, bits, 0, 0};
    while (here.at < here.size) {
        const uint32_t count = here.size - here.at < 16 ? (uint32_t)(here.size - here.at) : 16;
        if (get_bits(&here, count) != get_bits(&there, count)) return 0;
    }
    return 1;
}

/* Whether zlib would have ended a block with so many tokens here. */
static int ends_here(const trial_t *t, size_t tokens, int last) {
    const size_t most = most_tokens(&t->form);
    return (tokens == most && !last) || (tokens < most && last && t->m.at == t->m.size);
}

static zllm_result try_stored(trial_t *t, const block_t *b) {
    const uint8_t *data = t->m.data + t->m.at;
    lengths_t lengths;
    int cut;
    if (b->size > t->m.size - t->m.at) return ZLLM_E_DATA;
    const zllm_result rc = zllm_predict_block(&t->m, &t->f->tokens, b->size, b->size, &cut);
    if (rc != ZLLM_OK) return rc;
    const size_t n = t->f->tokens.n;
    if (!cut && ends_here(t, n, b->last) &&
        zllm_choose_block(t->f->tokens.all, n, data, b->size, t->form.strategy == ALWAYS_FIXED, &lengths) == STORED_BLOCK) {
        t->since_block++;
        t->since_correction += n;
    } else {
        write_strange(t, b, STORED_BLOCK);
    }
    return ZLLM_OK;
}

static zllm_result try_codes(trial_t *t, const block_t *b, const token_t *tokens) {
    const uint8_t *data = t->m.data + t->m.at;
    const size_t n = b->size < t->left ? b->size : t->left;
    lengths_t lengths;
    for (size_t i = 0; i < n; i++) {
        if (length_of(tokens[i]) > t->m.size - t->m.at || distance_of(tokens[i]) > t->m.at) return ZLLM_E_DATA;
        const token_t predicted = zllm_matcher_predict(&t->m);
        if (predicted != tokens[i]) write_correction(t, tokens[i]);
        else t->since_correction++;
        zllm_matcher_advance(&t->m, predicted, tokens[i]);
        if (took_too_long(&t->m) || t->differences > t->most) return ZLLM_E_SPACE;
    }
    t->left -= n;
    if (n < b->size) return ZLLM_OK;
    const block_kind_t kind = zllm_choose_block(tokens, n, data, (size_t)(t->m.data + t->m.at - data),
                                                t->form.strategy == ALWAYS_FIXED, &lengths);
    if (b->kind == DYNAMIC_BLOCK && kind != DYNAMIC_BLOCK) zllm_dynamic_lengths(tokens, n, data, &lengths);
    const int given = b->kind == DYNAMIC_BLOCK && !header_equals(b, &lengths);
    if (!given && kind == b->kind && ends_here(t, n, b->last)) t->since_block++;
    else write_strange(t, b, given ? HEADER_GIVEN : b->kind);
    return ZLLM_OK;
}

/* How many differences the stream has to what zlib makes with that form, in so many tokens. UINT64_MAX: more than `most`, or
 * no recipe of it. */
static uint64_t try_form(finder_t *f, trial_t *t, const deflate_form_t *form, size_t tokens, uint64_t most) {
    *t = (trial_t){.f = f, .form = *form, .most = most, .left = tokens, .blocks = {f->blocks, f->room, 0, 0},
                   .corrections = {f->corrections, f->room, 0, 0}};
    const token_t *next = f->stream.tokens.all;
    zllm_result rc = zllm_matcher_start(&t->m, f->heap, form, f->data, f->size) ? ZLLM_OK : ZLLM_E_MEMORY;
    if (t->m.most_work > f->work) t->m.most_work = f->work;
    for (size_t i = 0; i < f->stream.n_blocks && rc == ZLLM_OK && t->left > 0; i++) {
        const block_t *b = &f->stream.blocks[i];
        rc = b->kind == STORED_BLOCK ? try_stored(t, b) : try_codes(t, b, next);
        if (b->kind != STORED_BLOCK) next += b->size;
        if (cancelled(f->cancel)) rc = ZLLM_E_CANCELLED;
    }
    zllm_matcher_end(&t->m, f->heap);
    f->work -= t->m.work < f->work ? t->m.work : f->work;
    const int full = t->blocks.full || t->corrections.full || t->blocks.at + t->corrections.at > f->room;
    return rc != ZLLM_OK || full || t->differences > most ? UINT64_MAX : t->differences;
}

static void add_levels(deflate_form_t *forms, size_t *n, uint32_t least, deflate_form_t form) {
    static const uint8_t ORDER[] = {6, 9, 1, 5, 4, 7, 8, 3, 2};
    for (size_t i = 0; i < sizeof ORDER; i++) {
        form.level = ORDER[i];
        if (form.level >= least && *n < MOST_FORMS) forms[(*n)++] = form;
    }
}

/* The memory level that a first block's end proves; 0: none. */
static uint32_t memory_of(const stream_t *s) {
    const block_t *b = &s->blocks[0];
    if (b->kind == STORED_BLOCK || b->last) return 0;
    for (uint32_t memory = LEAST_MEMORY; memory <= MOST_MEMORY; memory++)
        if (b->size + 1 == (size_t)1 << (memory + 6)) return memory;
    return 0;
}

/* Forms that may have made it, likely ones first. */
static size_t list_forms(const finder_t *f, uint32_t window, deflate_form_t *forms) {
    const stream_t *s = &f->stream;
    const uint32_t proved = memory_of(s), least = proved ? proved : 8, most = proved ? proved : MOST_MEMORY;
    size_t n = 0;
    for (uint32_t memory = least; memory <= most; memory++) {
        const deflate_form_t form = {6, memory, window, BY_DEFAULT};
        if (s->tokens.n == 0) { /* all is stored: there is nothing to tell levels by */
            forms[n++] = form;
            forms[n++] = (deflate_form_t){0, memory, window, BY_DEFAULT};
            continue;
        }
        if (s->farthest == 0) forms[n++] = (deflate_form_t){6, memory, window, HUFFMAN_ONLY};
        if (s->farthest == 1) forms[n++] = (deflate_form_t){6, memory, window, RUNS_ONLY};
        add_levels(forms, &n, 1, form);
        if (s->all_fixed) add_levels(forms, &n, 1, (deflate_form_t){6, memory, window, ALWAYS_FIXED});
        else add_levels(forms, &n, 4, (deflate_form_t){6, memory, window, FILTERED});
    }
    return n;
}

/* The form that is tried next on the whole stream: the best one in the sample, not much worse than the best of all. n: none. */
static size_t next_form(const uint64_t *scores, size_t n, uint64_t best) {
    size_t next = n;
    for (size_t i = 0; i < n; i++)
        if (scores[i] != UINT64_MAX && (next == n || scores[i] < scores[next])) next = i;
    return next < n && scores[next] <= best + best / 4 + BLOCK_PENALTY ? next : n;
}

/* The best of the forms, in the trial. UINT64_MAX: none gives a recipe that fits. */
static uint64_t find_form(finder_t *f, trial_t *t, const deflate_form_t *forms, size_t n) {
    uint64_t scores[MOST_FORMS], best = UINT64_MAX, best_whole = UINT64_MAX;
    size_t chosen = n;
    for (size_t i = 0; i < n; i++) {
        scores[i] = try_form(f, t, &forms[i], SAMPLE, best == UINT64_MAX ? SAMPLE : best + best / 4 + BLOCK_PENALTY);
        if (scores[i] < best) best = scores[i];
        if (scores[i] == 0 && try_form(f, t, &forms[i], SIZE_MAX, 0) == 0) return 0;
    }
    for (size_t tries = 0, next; tries < WHOLE && (next = next_form(scores, n, best)) < n; tries++) {
        const uint64_t whole = try_form(f, t, &forms[next], SIZE_MAX, best_whole - 1);
        scores[next] = UINT64_MAX;
        if (whole == UINT64_MAX) continue;
        best_whole = whole;
        chosen = next;
    }
    f->work = UINT64_MAX; /* it was not too much the first time */
    return chosen == n ? UINT64_MAX : try_form(f, t, &forms[chosen], SIZE_MAX, UINT64_MAX - 1);
}

static zllm_result write_recipe(const trial_t *t, uint8_t *out, size_t *size) {
    writer_t w = {out, *size, 0, 0};
    write_number(&w, 0);
    write_number(&w, 0);
    write_number(&w, t->blocks.at);
    if (w.full || t->blocks.at + t->corrections.at > w.room - w.at) return ZLLM_E_SPACE;
    out[0] = (uint8_t)(t->form.level | t->form.strategy << 4);
    out[1] = (uint8_t)(t->form.memory | (MOST_WINDOW - t->form.window) << 4);
    memcpy(out + w.at, t->blocks.out, t->blocks.at);
    memcpy(out + w.at + t->blocks.at, t->corrections.out, t->corrections.at);
    *size = w.at + t->blocks.at + t->corrections.at;
    return ZLLM_OK;
}

static zllm_result find(finder_t *f, uint32_t window, const uint8_t *hint, uint8_t *recipe, size_t *size) {
    deflate_form_t forms[MOST_FORMS], like_last = {hint[0] & 15, hint[1] & 15, window, hint[0] >> 4};
    trial_t t;
    uint64_t score = UINT64_MAX;
    if (zllm_form_valid(&like_last)) score = try_form(f, &t, &like_last, SIZE_MAX, 0);
    if (score != 0) score = find_form(f, &t, forms, list_forms(f, window, forms));
    if (cancelled(f->cancel)) return ZLLM_E_CANCELLED;
    return score == UINT64_MAX ? ZLLM_E_SPACE : write_recipe(&t, recipe, size);
}

zllm_result zllm_deflate_find(const uint8_t *coded, size_t coded_size, const uint8_t *data, size_t n, uint32_t window,
                              const uint8_t *hint, uint8_t *recipe, size_t *recipe_size, const volatile int32_t *cancel,
                              const zllm_options *options) {
    finder_t f = {.data = data, .size = n, .room = *recipe_size, .cancel = cancel};
    f.work = WHOLE_WORK * zllm_matcher_most_work(n);
    if (n > INT32_MAX || window < LEAST_WINDOW || window > MOST_WINDOW) return ZLLM_E_ARGUMENT;
    zllm_result rc = zllm_heap_open(options, &f.heap);
    if (rc != ZLLM_OK) return rc;
    f.tokens.heap = f.heap;
    f.blocks = zllm_heap_take(f.heap, f.room + 1);
    f.corrections = zllm_heap_take(f.heap, f.room + 1);
    rc = f.blocks == NULL || f.corrections == NULL ? ZLLM_E_MEMORY : zllm_stream_read(&f.stream, f.heap, coded, coded_size, n);
    if (rc == ZLLM_OK) rc = find(&f, window, hint, recipe, recipe_size);
    if (rc == ZLLM_OK) { /* the proof: what the recipe makes is the stream */
        size_t made = coded_size;
        uint8_t *again = zllm_heap_take(f.heap, coded_size + 1);
        rc = again == NULL ? ZLLM_E_MEMORY
                           : zllm_deflate_make(f.heap, recipe, *recipe_size, data, n, again, &made, cancel);
        if (rc == ZLLM_E_DATA || (rc == ZLLM_OK && (made != coded_size || memcmp(again, coded, made) != 0)))
            rc = ZLLM_E_SPACE;
        zllm_heap_free(f.heap, again);
    }
    zllm_stream_free(&f.stream);
    zllm_heap_free(f.heap, f.tokens.all);
    zllm_heap_free(f.heap, f.blocks);
    zllm_heap_free(f.heap, f.corrections);
    zllm_heap_close(f.heap);
    return rc;
}
