/* Tables, mixing and refining of decisions. */
#include "decide.h"

/* exp(-3 / 512) in 2^-32: one step of the stretched domain. */
#define STEP UINT64_C(4269875056)
#define RATE 15      /* of the weights: the error, in 2^-16, times the input, in 2^-RATE */
#define CURVE_RATE 7 /* of the curves: the error in 2^-CURVE_RATE */

void zllm_media_tables(tables_t *t) {
    uint64_t e = (uint64_t)1 << 31; /* exp(-x) in 2^-31 */
    for (int32_t x = 0; x <= STRETCHED; x++) {
        const uint32_t low = (uint32_t)((e << 24) / (((uint64_t)1 << 31) + e));
        t->squash[STRETCHED + x] = (1u << 24) - low;
        t->squash[STRETCHED - x] = low;
        e = (e * STEP + ((uint64_t)1 << 31)) >> 32;
    }
    int32_t x = -STRETCHED; /* the least whose squash is at least the middle of the entry's range */
    for (uint32_t i = 0; i < 2048; i++) {
        while (x < 0 && t->squash[x + STRETCHED] < i * 4096 + 2048) x++;
        t->stretch[i] = (int16_t)x;
        t->stretch[4095 - i] = (int16_t)-x;
    }
    for (uint32_t n = 0; n < 1024; n++) t->reciprocal[n] = (uint16_t)(131072 / (2 * n + 3));
}

void zllm_media_weights(int32_t *weights, size_t vectors, uint32_t inputs) {
    for (size_t i = 0; i < vectors * inputs; i++) weights[i] = (int32_t)((3u << 15) / inputs);
}

void zllm_media_curves(const tables_t *t, uint16_t *curves, size_t count) {
    for (size_t i = 0; i < count; i++)
        for (int32_t k = 0; k < KNOTS; k++) {
            const int32_t x = within((k - KNOTS / 2) * 128, STRETCHED);
            curves[i * KNOTS + (size_t)k] = (uint16_t)((t->squash[x + STRETCHED] - 1) >> 8);
        }
}

/* Between two knots, in 2^-24; both learn. */
typedef struct {
    uint16_t *low;
    uint32_t part; /* of the way to the upper one, in 2^-7 */
} place_t;

static uint32_t curve_at(uint16_t *curve, int32_t x, place_t *place) {
    const uint32_t at = (uint32_t)(x + 2048);
    place->low = curve + (at >> 7);
    place->part = at & 127;
    return (place->low[0] * (128 - place->part) + place->low[1] * place->part) << 1;
}

static void curve_learn(const place_t *place, int bit) {
    uint16_t *knot = place->low + (place->part >= 64);
    *knot = (uint16_t)(*knot + ((((bit ? 65535 : 0) - *knot)) >> CURVE_RATE));
}

int zllm_media_decide(const tables_t *t, string_t *s, const decision_t *d, uint32_t limit, int bit) {
    int32_t x[MOST_INPUTS], mixed[2];
    place_t place[2];
    int64_t sum[2] = {0, 0};
    for (uint32_t i = 0; i < d->inputs; i++) {
        x[i] = t->stretch[*d->counter[i] >> 20];
        sum[0] += (int64_t)x[i] * d->weights[0][i];
        sum[1] += (int64_t)x[i] * d->weights[1][i];
    }
    for (int m = 0; m < 2; m++) mixed[m] = within(sum[m] >> 16, STRETCHED);
    const int32_t mean = (mixed[0] + mixed[1]) >> 1;
    const uint32_t plain = t->squash[mean + STRETCHED];
    const uint32_t refined = curve_at(d->curve[0], mean, &place[0]) + curve_at(d->curve[1], mean, &place[1]);
    bit = string_bit(s, codable((2 * plain + refined) >> 2), bit);
    for (int m = 0; m < 2; m++) {
        const int32_t error = (int32_t)((bit ? 1u << 24 : 0) - t->squash[mixed[m] + STRETCHED]) >> 8;
        for (uint32_t i = 0; i < d->inputs; i++)
            d->weights[m][i] = within(d->weights[m][i] + (((int64_t)x[i] * error + (1 << (RATE - 1))) >> RATE), 1 << 20);
        curve_learn(&place[m], bit);
    }
    for (uint32_t i = 0; i < d->inputs; i++) counter_learn(t, d->counter[i], bit, limit);
    return bit;
}
