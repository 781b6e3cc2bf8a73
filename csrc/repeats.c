/* Long repeats in a text, found before the model sees it: they need not cost its time.
 *
 * Blocks at multiples of BLOCK are remembered by a hash; every position's next BLOCK bytes are looked up by a rolling
 * hash (Karp and Rabin 1987, Efficient randomized pattern-matching algorithms), and what is found is compared and
 * extended both ways. Of blocks with the same bucket the newest is remembered; there are eight times as many buckets as
 * blocks, and a repeat of 1 KiB holds 15 whole blocks, one of which is enough. Decoders need none of this. */
#include <string.h>

#include "heap.h"

#define BLOCK 64u
#define FACTOR UINT64_C(0x9e3779b97f4a7c15)

typedef struct {
    const uint8_t *text;
    size_t n, least;
    uint32_t *table; /* position of a block, plus 1 */
    uint32_t bits;
} finder_t;

static uint32_t *bucket(const finder_t *f, uint64_t hash) { return &f->table[(hash * FACTOR) >> (64 - f->bits)]; }

static uint64_t hash_block(const uint8_t *p) {
    uint64_t h = 0;
    for (uint32_t i = 0; i < BLOCK; i++) h = h * FACTOR + p[i] + 1;
    return h;
}

/* The repeat through position `at` of what stands at `source`, begun no earlier than `from`; 0 if it is too short. */
static int extend(const finder_t *f, size_t from, size_t at, size_t source, zllm_repeat *r) {
    size_t before = 0, after = 0;
    if (memcmp(f->text + at, f->text + source, BLOCK) != 0) return 0;
    while (before < at - from && before < source && f->text[at - before - 1] == f->text[source - before - 1]) before++;
    while (at + after < f->n && f->text[at + after] == f->text[source + after]) after++;
    *r = (zllm_repeat){at - before, before + after, at - source};
    return before + after >= f->least;
}

static size_t find(const finder_t *f, zllm_repeat *out, size_t room) {
    size_t found = 0, from = 0, remembered = 0; /* text before `from` is part of a repeat, or was coded */
    uint64_t leaving = 1;
    for (uint32_t i = 1; i < BLOCK; i++) leaving *= FACTOR;
    uint64_t hash = hash_block(f->text);
    for (size_t at = 0; found < room;) {
        for (; remembered + BLOCK <= at; remembered += BLOCK)
            *bucket(f, hash_block(f->text + remembered)) = (uint32_t)remembered + 1;
        const uint32_t source = *bucket(f, hash);
        size_t next = at + 1;
        if (source != 0 && extend(f, from, at, source - 1, &out[found])) {
            next = from = out[found].at + out[found].length;
            found++;
        }
        if (next + BLOCK > f->n) break;
        if (next > at + 1) hash = hash_block(f->text + next);
        else hash = (hash - leaving * (f->text[at] + UINT64_C(1))) * FACTOR + f->text[at + BLOCK] + 1;
        at = next;
    }
    return found;
}

zllm_result zllm_repeats(const uint8_t *text, size_t n, size_t least, zllm_repeat *out, size_t *count,
                         const zllm_options *options) {
    heap_t *heap;
    finder_t f = {.text = text, .n = n, .least = least, .bits = 8};
    if (least < 2 * BLOCK || n >= UINT32_MAX) return ZLLM_E_ARGUMENT;
    if (n < 2 * BLOCK) {
        *count = 0;
        return ZLLM_OK;
    }
    while (f.bits < 24 && ((size_t)BLOCK << f.bits) < 8 * n) f.bits++;
    const zllm_result rc = zllm_heap_open(options, &heap);
    if (rc != ZLLM_OK) return rc;
    f.table = zllm_heap_zeroed(heap, (size_t)1 << f.bits, sizeof *f.table);
    if (f.table != NULL) *count = find(&f, out, *count);
    zllm_heap_free(heap, f.table);
    zllm_heap_close(heap);
    return f.table != NULL ? ZLLM_OK : ZLLM_E_MEMORY;
}
