/* The predictor's fixed tables, made at start by integer rules. */
#include "state.h"

/* exp(-3 / 512) in 2^-32: one step of the stretched domain. */
#define STEP UINT64_C(4269875056)

/* What a weight vector's learning rate starts above its last one. */
#define RATE_DECAY 2500u

static void fill_squash(tables_t *t) {
    uint64_t e = (uint64_t)1 << 31; /* exp(-x) in 2^-31 */
    for (int32_t x = 0; x <= STRETCH_MAX; x++) {
        const uint32_t low = (uint32_t)((e << 24) / (((uint64_t)1 << 31) + e));
        t->squash[STRETCH_MAX + x] = (1u << 24) - low;
        t->squash[STRETCH_MAX - x] = low;
        e = (e * STEP + ((uint64_t)1 << 31)) >> 32;
    }
}

/* The least x whose squash is at least the middle of the entry's range of probabilities; odd about one half. */
static void fill_stretch(tables_t *t) {
    int32_t x = -STRETCH_MAX;
    for (uint32_t i = 0; i < 2048; i++) {
        while (x < 0 && t->squash[x + STRETCH_MAX] < i * 4096 + 2048) x++;
        t->input[i].stretched = (int16_t)x;
        t->input[4095 - i].stretched = (int16_t)-x;
    }
    for (int32_t i = 0; i < 4096; i++) t->input[i].plain = (int16_t)((i >> 2) - 512);
}

/* Bit histories. Up to four bits are kept as they are: state 2^n - 1 + bits. Longer ones are (zeros, ones, last bit),
 * the larger count at most LIMIT[the smaller]. (The idea of indirect bit histories is Mahoney's, 2002 and 2005; this
 * state machine is not.) */
#define EXACT 4u
#define SMALLER 6u
static const uint8_t LIMIT[SMALLER] = {34, 20, 12, 8, 6, 5};

typedef struct {
    uint8_t n[2], last;
} history_t;

static int allowed(uint32_t a, uint32_t b) {
    const uint32_t small = a < b ? a : b, large = a < b ? b : a;
    return small < SMALLER && large <= LIMIT[small];
}

/* What is left of a count when the other bit comes. */
static uint32_t discount(uint32_t n) {
    static const uint8_t LEFT[] = {0, 1, 2, 2, 3, 3, 4, 4, 5, 5, 5, 5, 6};
    return n < sizeof LEFT ? LEFT[n] : 6;
}

static uint32_t find(const history_t *h, uint32_t states, uint32_t n0, uint32_t n1, uint32_t last) {
    if (n0 + n1 <= EXACT) { /* the last bits are taken for the last ones */
        const uint32_t ones = (1u << n1) - 1;
        return (1u << (n0 + n1)) - 1 + (last ? ones : ones << n0);
    }
    for (uint32_t s = (2u << EXACT) - 1; s < states; s++)
        if (h[s].n[0] == n0 && h[s].n[1] == n1 && h[s].last == last) return s;
    return 0;
}

static uint32_t list_histories(history_t *h) {
    uint32_t states = 0;
    for (uint32_t n = 0; n <= EXACT; n++)
        for (uint32_t bits = 0; bits < 1u << n; bits++) {
            history_t *x = &h[states++];
            *x = (history_t){{0, 0}, bits & 1};
            for (uint32_t k = 0; k < n; k++) x->n[bits >> k & 1]++;
        }
    for (uint32_t total = EXACT + 1; total <= LIMIT[0]; total++)
        for (uint32_t n0 = 0; n0 <= total; n0++)
            for (uint32_t last = 0; last < 2; last++) {
                const uint32_t n1 = total - n0;
                if (!allowed(n0, n1) || (last ? n1 : n0) == 0) continue;
                h[states++] = (history_t){{(uint8_t)n0, (uint8_t)n1}, (uint8_t)last};
            }
    return states;
}

static void fill_next(tables_t *t) {
    history_t h[STATES] = {{{0, 0}, 0}};
    const uint32_t states = list_histories(h);
    for (uint32_t s = 0; s < states; s++)
        for (uint32_t bit = 0; bit < 2; bit++) {
            uint32_t n[2] = {h[s].n[0], h[s].n[1]};
            if (n[0] + n[1] < EXACT) {
                const uint32_t size = 1u << (n[0] + n[1]);
                t->next[s][bit] = (uint8_t)(2 * size - 1 + ((s - (size - 1)) << 1 | bit));
                continue;
            }
            n[bit]++;
            n[!bit] = discount(n[!bit]);
            while (!allowed(n[0], n[1])) n[n[!bit] > n[bit] ? !bit : bit]--;
            t->next[s][bit] = (uint8_t)find(h, states, n[0], n[1], bit);
        }
    for (uint32_t s = 0; s < states; s++) /* (ones + 0.4) / (all + 0.8) */
        t->prior[s] = (uint32_t)(((uint64_t)(h[s].n[1] * 10u + 4) << 22) / ((h[s].n[0] + h[s].n[1]) * 10u + 8)) << 10;
}

void zllm_tables_fill(tables_t *t) {
    fill_squash(t);
    fill_stretch(t);
    fill_next(t);
    for (uint32_t n = 0; n < 1024; n++) t->reciprocal[n] = (uint16_t)(131072 / (2 * n + 3));
    for (uint32_t n = 0; n < DECAYS; n++) t->decay[n] = (uint16_t)(RATE_DECAY / (1 + n));
}
