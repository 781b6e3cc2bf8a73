/* Bounds. |x|, |y| < 2^24, so a product is below 2^48; sums lose 2^-fade of them after every `every` samples, so they are
 * below 2^48 * every * 2^fade, and every * 2^fade <= 2^12. Scaled so that all diagonals are in [2^28, 2^30), the matrix is
 * that of a positive form, its entries and its factor's are up to 2^30, and every sum of products has a true value up to 2^60.
 * Rounding may break that, so what is stored is clamped, and sums of products of clamped numbers are modulo 2^64. Weights of
 * scaled inputs are clamped to 2^27: with OLS_MOST entries up to 2^30 their sums stay below 2^63.
 */
#include "ols.h"

#include <string.h>

#define ONE 30          /* bits of the factor below one */
#define LEAST ((int64_t)1 << 36) /* a pivot below it, in 2^-2ONE, counts as none */
#define RIDGE 24                 /* diagonals gain 2^-RIDGE of them */
#define WEIGHT_MOST ((int64_t)1 << 27)
#define TRUE_WEIGHT_MOST ((int64_t)1 << 32)

typedef struct {
    int32_t matrix[OLS_MOST][OLS_MOST];
    int32_t factor[OLS_MOST][OLS_MOST];
    int32_t right[OLS_MOST];
    int32_t scale[OLS_MOST], target_scale;
} system_t;

void zllm_ols_start(ols_t *o, uint32_t n, uint32_t lead, uint32_t every, uint32_t fade) {
    memset(o, 0, sizeof *o);
    o->n = n;
    o->lead = lead;
    o->every = every;
    o->fade = fade;
}

int64_t zllm_ols_predict(const ols_t *o) {
    int64_t sum = 0;
    for (uint32_t i = 0; i < o->n; i++) sum += o->weight[i] * o->x[i];
    return sum;
}

static int64_t clamp64(int64_t x, int64_t most) { return x > most ? most : x < -most ? -most : x; }

static int64_t shifted(int64_t x, int32_t by) { /* to the right, or for negative numbers to the left */
    return by >= 0 ? x >> (by < 63 ? by : 63) : (int64_t)((uint64_t)x << -by);
}

static uint32_t root(uint64_t x) { /* floor of the square root, of numbers below 2^62 */
    uint64_t result = 0;
    for (uint64_t bit = (uint64_t)1 << 60; bit; bit >>= 2) {
        if (x >= result + bit) {
            x -= result + bit;
            result = (result >> 1) + bit;
        } else {
            result >>= 1;
        }
    }
    return (uint32_t)result;
}

/* s such that x / 2^2s is in [2^28, 2^30); x > 0. */
static int32_t scale_of(int64_t x) {
    const int32_t top = 63 - __builtin_clzll((uint64_t)x);
    return (top - 28) >> 1;
}

static void scale_system(const ols_t *o, system_t *m) {
    m->target_scale = scale_of(o->energy + 1);
    for (uint32_t i = 0; i < o->n; i++) m->scale[i] = scale_of(o->products[i][i] + 1);
    for (uint32_t i = 0; i < o->n; i++) {
        for (uint32_t j = 0; j <= i; j++)
            m->matrix[i][j] = (int32_t)clamp64(shifted(o->products[i][j], m->scale[i] + m->scale[j]), (1 << 30) - 1);
        m->matrix[i][i] += m->matrix[i][i] >> RIDGE;
        m->right[i] = (int32_t)clamp64(shifted(o->targets[i], m->scale[i] + m->target_scale), (1 << 30) - 1);
    }
}

static int64_t dot(const int32_t *a, const int32_t *b, uint32_t n) {
    uint64_t sum = 0;
    for (uint32_t k = 0; k < n; k++) sum += (uint64_t)((int64_t)a[k] * b[k]);
    return (int64_t)sum;
}

/* x in 2^-ONE, less a sum of products; modulo 2^64, for the sum of what was clamped may be beyond. */
static int64_t rest_of(int32_t x, int64_t sum) { return (int64_t)((uint64_t)((int64_t)x * (1 << ONE)) - (uint64_t)sum); }

/* The lower factor in 2^-ONE; 0 on the diagonal of an input that others make up for. */
static void decompose(system_t *m, uint32_t n) {
    for (uint32_t j = 0; j < n; j++) {
        const int64_t pivot = rest_of(m->matrix[j][j], dot(m->factor[j], m->factor[j], j));
        const int32_t top = pivot < LEAST ? 0 : (int32_t)root((uint64_t)pivot);
        m->factor[j][j] = top;
        for (uint32_t i = j + 1; i < n; i++) {
            const int64_t rest = rest_of(m->matrix[i][j], dot(m->factor[i], m->factor[j], j));
            m->factor[i][j] = top ? (int32_t)clamp64(rest / top, 1 << ONE) : 0;
        }
    }
}

/* Weights of the scaled inputs, in 2^-OLS_FRACTION. */
static void substitute(const system_t *m, uint32_t n, int64_t *weight) {
    int32_t y[OLS_MOST];
    for (uint32_t i = 0; i < n; i++) {
        const int64_t rest = rest_of(m->right[i], dot(m->factor[i], y, i));
        y[i] = m->factor[i][i] ? (int32_t)clamp64(rest / m->factor[i][i], 1 << ONE) : 0;
    }
    for (uint32_t i = n; i-- > 0;) {
        int64_t rest = (int64_t)y[i] * (1 << OLS_FRACTION);
        for (uint32_t k = i + 1; k < n; k++) rest -= m->factor[k][i] * weight[k];
        weight[i] = m->factor[i][i] ? clamp64(rest / m->factor[i][i], WEIGHT_MOST) : 0;
    }
}

static void solve(ols_t *o) {
    system_t m;
    scale_system(o, &m);
    decompose(&m, o->n);
    substitute(&m, o->n, o->weight);
    for (uint32_t i = 0; i < o->n; i++)
        o->weight[i] = clamp64(shifted(o->weight[i], m.scale[i] - m.target_scale), TRUE_WEIGHT_MOST);
}

/* The sums since the last solution. Those of x[i] x[j] over samples a to b - 1 are those of x[i - 1] x[j - 1] over samples
 * a - 1 to b - 2, where both windows have moved: one product more, that of a, and one less, that of b - 1. */
static void gather(ols_t *o) {
    int64_t block[OLS_MOST][OLS_MOST];
    for (uint32_t i = 0; i < o->n; i++)
        for (uint32_t j = 0; j <= i; j++) {
            if (j == 0) block[i][j] = o->newest[0][i];
            else if (i == o->lead) block[i][j] = o->newest[1][j];
            else if (j == o->lead) block[i][j] = o->newest[1][i];
            else
                block[i][j] = block[i - 1][j - 1] + (int64_t)o->first[i] * o->first[j] - (int64_t)o->x[i - 1] * o->x[j - 1];
            o->products[i][j] += block[i][j];
        }
    for (uint32_t i = 0; i < o->n; i++) o->newest[0][i] = o->newest[1][i] = 0;
}

static void learn_any(ols_t *o, int32_t y) {
    for (uint32_t i = 0; i < o->n; i++) {
        const int64_t x = o->x[i];
        for (uint32_t j = 0; j <= i; j++) o->products[i][j] += x * o->x[j];
        o->targets[i] += x * y;
    }
}

static void learn_windows(ols_t *o, int32_t y) {
    if (o->since == 0) memcpy(o->first, o->x, sizeof o->first);
    const int64_t a = o->x[0], b = o->lead < o->n ? o->x[o->lead] : 0;
    for (uint32_t i = 0; i < o->n; i++) {
        const int64_t x = o->x[i];
        o->newest[0][i] += a * x;
        o->newest[1][i] += b * x;
        o->targets[i] += y * x;
    }
}

void zllm_ols_learn(ols_t *o, int32_t y) {
    if (o->lead) learn_windows(o, y);
    else learn_any(o, y);
    o->energy += (int64_t)y * y;
    if (++o->since < o->every) return;
    o->since = 0;
    if (o->lead) gather(o);
    solve(o);
    for (uint32_t i = 0; i < o->n; i++) {
        for (uint32_t j = 0; j <= i; j++) o->products[i][j] -= o->products[i][j] >> o->fade;
        o->targets[i] -= o->targets[i] >> o->fade;
    }
    o->energy -= o->energy >> o->fade;
}
