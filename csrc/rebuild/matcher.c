/* Positions are from the start of the data. zlib's are in a window that slides, where place 0 stands for nothing: so position 0
 * is never matched. What else the sliding forgets is farther away than a match may be. */
#include "rebuild/matcher.h"

#include <string.h>

#define TOO_FAR 4096u /* a match of three bytes is worth nothing from so far away */
#define MARGIN (LONGEST_MATCH + SHORTEST_MATCH + 1)
#define FREE_WORK ((uint64_t)1 << 20)
#define WORK_OF_BYTE 256u /* text takes up to 25 at level 9, letters of DNA 134 */

/* zlib's configuration table: matches that are good enough to search less, lazy, nice enough to stop, steps of a chain. Up to
 * level 3 `lazy` is how long a match may be whose positions are all inserted. */
static const uint16_t LEVELS[MOST_LEVEL + 1][4] = {
    {0, 0, 0, 0},       {4, 4, 8, 4},        {4, 5, 16, 8},        {4, 6, 32, 32},        {4, 4, 16, 16},
    {8, 16, 32, 32},    {8, 16, 128, 128},   {8, 32, 128, 256},    {32, 128, 258, 1024},  {32, 258, 258, 4096},
};

int zllm_form_valid(const deflate_form_t *f) {
    return f->level <= MOST_LEVEL && f->memory >= LEAST_MEMORY && f->memory <= MOST_MEMORY && f->window >= LEAST_WINDOW &&
           f->window <= MOST_WINDOW && f->strategy <= ALWAYS_FIXED;
}

uint64_t zllm_matcher_most_work(size_t size) { return FREE_WORK + WORK_OF_BYTE * (uint64_t)size; }

size_t zllm_matcher_memory(void) { return (((size_t)1 << (MOST_MEMORY + 7)) + ((size_t)1 << MOST_WINDOW)) * sizeof(uint32_t); }

int zllm_matcher_start(matcher_t *m, heap_t *heap, const deflate_form_t *f, const uint8_t *data, size_t size) {
    const uint32_t bits = f->memory + 7, window = 1u << f->window;
    const uint16_t *level = LEVELS[f->level];
    *m = (matcher_t){.good = level[0], .lazy = level[1], .nice = level[2], .chain = level[3]};
    m->is_slow = f->level > 3;
    m->strategy = f->level == 0 ? HUFFMAN_ONLY : f->strategy;
    m->shift = (bits + 2) / 3;
    m->mask = (1u << bits) - 1;
    m->window_mask = window - 1;
    m->most_distance = window > MARGIN ? window - MARGIN : 0;
    m->data = data;
    m->size = (uint32_t)size;
    m->most_work = zllm_matcher_most_work(size);
    m->heads = zllm_heap_zeroed(heap, (size_t)1 << bits, sizeof *m->heads);
    m->before = zllm_heap_zeroed(heap, window, sizeof *m->before);
    return m->heads != NULL && m->before != NULL;
}

void zllm_matcher_end(matcher_t *m, heap_t *heap) {
    zllm_heap_free(heap, m->heads);
    zllm_heap_free(heap, m->before);
}

/* All positions before `end` that three bytes follow. */
static void insert(matcher_t *m, uint32_t end) {
    if (m->size < SHORTEST_MATCH) return;
    if (end > m->size - 2) end = m->size - 2;
    for (; m->inserted < end; m->inserted++) {
        const uint8_t *p = m->data + m->inserted;
        uint32_t *head = &m->heads[(((uint32_t)p[0] << 2 * m->shift) ^ ((uint32_t)p[1] << m->shift) ^ p[2]) & m->mask];
        m->before[m->inserted & m->window_mask] = *head;
        *head = m->inserted;
    }
}

static uint32_t common(const uint8_t *a, const uint8_t *b, uint32_t most) {
    uint32_t n = 0;
    while (n < most && a[n] == b[n]) n++;
    return n;
}

/* The longest match at a position, if it is longer than `length`, which is what the position before it had; else `length`,
 * within what is left. */
static uint32_t longest(matcher_t *m, uint32_t at, uint32_t length, uint32_t *place) {
    const uint32_t left = m->size - at, most = left < LONGEST_MATCH ? left : LONGEST_MATCH;
    const uint32_t nice = m->nice < left ? m->nice : left;
    const uint32_t limit = at > m->most_distance ? at - m->most_distance : 0;
    const uint8_t *here = m->data + at;
    uint32_t chain = length >= m->good ? m->chain >> 2 : m->chain;
    uint32_t from = m->before[at & m->window_mask];
    if (length >= most) return length < left ? length : left;
    do {
        const uint8_t *there = m->data + from;
        m->work++;
        if (there[length] != here[length] || there[length - 1] != here[length - 1] || there[0] != here[0]) continue;
        const uint32_t n = common(there, here, most);
        m->work += n / 8;
        if (n <= length) continue;
        *place = from;
        length = n;
        if (n >= nice || n >= most) break;
    } while ((from = m->before[from & m->window_mask]) > limit && --chain != 0);
    return length;
}

/* The same with the conditions under which zlib searches, and what it thinks is worth nothing. At least 2. */
static uint32_t search(matcher_t *m, uint32_t at, uint32_t before, uint32_t *place) {
    uint32_t length = SHORTEST_MATCH - 1;
    insert(m, at + 1);
    if (m->size - at < SHORTEST_MATCH) return length;
    const uint32_t head = m->before[at & m->window_mask];
    if (head == 0 || at - head > m->most_distance) return length;
    length = longest(m, at, before, place);
    if (!m->is_slow) return length;
    if (length <= 5 && (m->strategy == FILTERED || (length == SHORTEST_MATCH && at - *place > TOO_FAR)))
        return SHORTEST_MATCH - 1;
    return length;
}

static token_t predict_lazily(matcher_t *m) {
    uint32_t length = m->ahead, place = m->ahead_at, next_place = 0;
    m->next = 0;
    if (length == 0) length = search(m, m->at, SHORTEST_MATCH - 1, &place);
    if (length < SHORTEST_MATCH) return LITERAL;
    if (length < m->lazy && m->at + 1 < m->size) {
        const uint32_t next = search(m, m->at + 1, length, &next_place);
        if (next > length) {
            m->next = next;
            m->next_at = next_place;
            return LITERAL;
        }
    }
    return match_of(length, m->at - place);
}

static token_t predict_run(const matcher_t *m) {
    const uint8_t *here = m->data + m->at;
    const uint32_t left = m->size - m->at, most = left < LONGEST_MATCH ? left : LONGEST_MATCH;
    if (m->at == 0 || most < SHORTEST_MATCH) return LITERAL;
    const uint32_t n = common(here - 1, here, most);
    return n < SHORTEST_MATCH ? LITERAL : match_of(n, 1);
}

token_t zllm_matcher_predict(matcher_t *m) {
    uint32_t place = 0;
    if (m->strategy == HUFFMAN_ONLY) return LITERAL;
    if (m->strategy == RUNS_ONLY) return predict_run(m);
    if (m->is_slow) return predict_lazily(m);
    const uint32_t length = search(m, m->at, SHORTEST_MATCH - 1, &place);
    return length < SHORTEST_MATCH ? LITERAL : match_of(length, m->at - place);
}

void zllm_matcher_advance(matcher_t *m, token_t predicted, token_t actual) {
    const uint32_t length = length_of(actual), end = m->at + length;
    m->ahead = predicted == actual && actual == LITERAL ? m->next : 0;
    m->ahead_at = m->next_at;
    m->next = 0;
    if (m->strategy != HUFFMAN_ONLY && m->strategy != RUNS_ONLY) {
        const int all = m->is_slow || actual == LITERAL || (length <= m->lazy && m->size - end >= SHORTEST_MATCH);
        insert(m, all ? end : m->at + 1);
        if (m->inserted < end) m->inserted = end;
    }
    m->at = end;
}
