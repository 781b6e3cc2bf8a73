/* The predictor where a language model and several streams come in: made-up tokens and probabilities, skipped bits,
 * cuts. Usage: predictor KERNEL. That kernel's predictor and the generic one agree step by step, and probabilities are in
 * range; a hash of them all is printed, which is the same for every kernel. Also: text past a stream's end is dropped, and
 * an output that is too small is not overrun. */
#include <stdio.h>

#include "kernels.h"
#include "predictor/predictor.h"
#include "zllm.h"

#define STREAMS 3u
#define SIZE 60000u

static heap_t *heap;
static const zllm_kernel *kernel;
static uint64_t seed = 1, hash = 14695981039346656037u;

static uint32_t draw(uint32_t below) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((seed >> 33) % below);
}

static int note(uint32_t p, uint32_t q) {
    hash = (hash ^ p) * 1099511628211u;
    return p >= 1 && p < 1u << 24 && p == q;
}

/* A text of repeating words, lines and fields, with some noise. */
static uint32_t text_byte(uint32_t at) {
    static const char WORDS[] = "the quick, brown fox\tjumps 0123 over\n  {\"lazy\": dogs}\n";
    return draw(16) ? (uint32_t)(uint8_t)WORDS[(at + at / 300) % (sizeof WORDS - 1)] : draw(256);
}

static int run_token(predictor_t *p, predictor_t *q, uint32_t s, uint32_t at, int lm) {
    cursor_t *c = zllm_predictor_cursor(p, s), *d = zllm_predictor_cursor(q, s);
    const uint32_t length = 1 + draw(5);
    int right = 1;
    for (uint32_t i = 0; i < length; i++) {
        const uint32_t byte = text_byte(at + i), known = lm ? draw(9) : 0;
        for (uint32_t k = 0; k < 8; k++) {
            const int bit = byte >> (7 - k) & 1;
            const uint32_t good = 1 + draw(4000000);
            const uint32_t guess = draw(4) == 0 ? 1 + draw(16777215) : bit ? (1u << 24) - good : good;
            if (k >= 8 - known) {
                zllm_cursor_skip(p, c, bit);
                zllm_cursor_skip(q, d, bit);
                continue;
            }
            right &= note(zllm_predictor_bit(p, c, guess), zllm_predictor_bit(q, d, guess));
            zllm_predictor_update(p, c, bit);
            zllm_predictor_update(q, d, bit);
        }
        if (lm && i + 1 < length && draw(2)) {
            const uint32_t guess = 1 + draw(16777215);
            right &= note(zllm_predictor_flag(p, c, guess), zllm_predictor_flag(q, d, guess));
            zllm_predictor_update_flag(p, c, 0);
            zllm_predictor_update_flag(q, d, 0);
        }
    }
    zllm_cursor_token(p, c, length);
    zllm_cursor_token(q, d, length);
    if (draw(500) == 0) {
        zllm_cursor_cut(p, c);
        zllm_cursor_cut(q, d);
    }
    return right;
}

static int run(uint32_t streams, int lm, uint32_t profile) {
    predictor_t *p = zllm_predictor_new(heap, kernel->predictor, SIZE, streams, lm);
    predictor_t *q = zllm_predictor_new(heap, &zllm_operations_generic, SIZE, streams, lm);
    int right = p && q && zllm_predictor_memory(SIZE, lm) > SIZE;
    if (right && !lm) {
        zllm_predictor_profile(p, profile);
        zllm_predictor_profile(q, profile);
    }
    for (uint32_t s = 0; right && s < streams; s++) {
        zllm_cursor_start(p, s, (uint64_t)SIZE * s / streams, (uint64_t)SIZE * (s + 1) / streams);
        zllm_cursor_start(q, s, (uint64_t)SIZE * s / streams, (uint64_t)SIZE * (s + 1) / streams);
    }
    /* 3 bytes a token: the streams run past their ends. */
    for (uint32_t i = 0; right && i < SIZE / 2; i++) right &= run_token(p, q, i % streams, i, lm);
    zllm_predictor_free(p);
    zllm_predictor_free(q);
    return right;
}

static int too_small(void) {
    uint8_t text[3000], room[200];
    for (uint32_t i = 0; i < sizeof text; i++) text[i] = (uint8_t)draw(256);
    for (size_t n = 0; n < sizeof room; n += 33) {
        size_t size = n;
        room[n] = 77;
        if (zllm_cm_encode(text, sizeof text, NULL, 0, room, &size, NULL, NULL, kernel->name, NULL) != ZLLM_E_SPACE) return 0;
        if (size > n || room[n] != 77) return 0;
    }
    return 1;
}

int main(int argc, char **argv) {
    if (argc != 2 || zllm_kernel_find(argv[1], &kernel) != ZLLM_OK) return 5;
    if (zllm_heap_open(NULL, &heap) != ZLLM_OK) return 4;
    int right = run(1, 0, PROFILE_TEXT) & run(1, 1, PROFILE_TEXT) & run(STREAMS, 1, PROFILE_TEXT);
    right &= run(STREAMS, 0, PROFILE_PROSE) & run(1, 0, PROFILE_RECORDS) & run(1, 0, 24) & run(STREAMS, 0, PROFILE_RECORDS_MOST);
    right &= run(1, 0, PROFILE_X86) & run(STREAMS, 0, PROFILE_ARM);
    if (zllm_predictor_new(heap, kernel->predictor, UINT32_MAX, 1, 0) || zllm_predictor_new(heap, kernel->predictor, 1, 0, 0)) return 2;
    if (!too_small()) return 3;
    printf("%016llx\n", (unsigned long long)hash);
    zllm_heap_close(heap);
    return right ? 0 : 1;
}
