/* Residuals are differences modulo 2^bits, so that samples of any value come back. */
#include "samples.h"

#include "lms.h"
#include "ols.h"
#include "quick.h"

#define CONTEXTS 6u
#define STAGES 3u
#define EQUAL_LIMIT 250u
#define SIZE_MOST ((1u << 23) - 1) /* of magnitudes that are averaged */

/* How a form predicts: inputs of the least squares of one channel, or of several; samples between two solutions; how fast
 * they forget. (bench/results/media.csv; 8 samples instead of 16 gain 0.3% and take half as long again.) */
typedef struct {
    uint32_t alone, own, other, every, fade, stages;
} form_t;
static const form_t STRONG = {32, 20, 12, 16, 5, STAGES}, FAST = {14, 10, 4, 192, 2, 0};

/* Of the cascade. */
static const uint16_t LENGTHS[STAGES] = {512, 32, 16}, STEPS[STAGES] = {8, 4, 4};

typedef struct {
    ols_t ols;
    lms_t lms[STAGES];
    int32_t newest;    /* the last sample */
    uint32_t mean[3];  /* of residuals' magnitudes, in 2^-8: over about 4, 32 and 256 samples */
    uint32_t last[2];  /* magnitudes, the newest first */
    uint32_t signs;    /* of the last residuals, the newest lowest */
    uint32_t equals;   /* of the last samples: whether they were the same as the channel's before */
    counter_t equal[256];
} channel_t;

struct samples {
    sample_format_t format;
    const tables_t *tables;
    const form_t *form;
    uint32_t bits, own, other;
    uint32_t scale; /* lowest bits that least squares leave out */
    uint32_t loud;  /* lowest bits that the filters leave out */
    int32_t most;
    residual_t *residual; /* of the strong form */
    quick_t *quick;       /* of the fast one */
    channel_t channel[MOST_CHANNELS];
};

static int channel_start(heap_t *heap, const samples_t *p, channel_t *c) {
    int made = 1;
    for (uint32_t k = 0; k < 256; k++) c->equal[k] = COUNTER_START;
    zllm_ols_start(&c->ols, p->own + p->other, p->own, p->form->every, p->form->fade);
    for (uint32_t k = 0; k < p->form->stages; k++) made &= zllm_lms_new(heap, &c->lms[k], LENGTHS[k], STEPS[k]);
    return made;
}

samples_t *zllm_samples_new(heap_t *heap, const tables_t *tables, const sample_format_t *format, int fast) {
    samples_t *p = zllm_heap_zeroed(heap, 1, sizeof *p);
    if (p == NULL) return NULL;
    p->format = *format;
    p->tables = tables;
    p->form = fast ? &FAST : &STRONG;
    p->bits = 8 * format->width - format->shift;
    p->most = (int32_t)((1u << (p->bits - 1)) - 1);
    p->scale = p->bits > 24 ? p->bits - 24 : 0;
    p->loud = p->bits > 16 ? (p->bits - 16) / 2 : 0;
    p->own = format->channels > 1 ? p->form->own : p->form->alone;
    p->other = format->channels > 1 ? p->form->other : 0;
    if (fast) p->quick = zllm_quick_new(heap, tables);
    else p->residual = zllm_residual_new(heap, tables, CONTEXTS);
    int made = p->quick != NULL || p->residual != NULL;
    for (uint32_t c = 0; c < format->channels; c++) made &= channel_start(heap, p, &p->channel[c]);
    if (made) return p;
    zllm_samples_free(heap, p);
    return NULL;
}

void zllm_samples_free(heap_t *heap, samples_t *p) {
    if (p == NULL) return;
    zllm_residual_free(heap, p->residual);
    zllm_quick_free(heap, p->quick);
    for (uint32_t c = 0; c < p->format.channels; c++)
        for (uint32_t k = 0; k < STAGES; k++) zllm_lms_free(heap, &p->channel[c].lms[k]);
    zllm_heap_free(heap, p);
}

size_t zllm_samples_memory(int fast) {
    return sizeof(samples_t) + (fast ? zllm_quick_memory() : zllm_residual_memory(CONTEXTS) + MOST_CHANNELS * (16u << 10));
}

/* The lowest `bits` of x as a signed number. */
static int32_t signed_of(uint32_t x, uint32_t bits) { return (int32_t)(x << (32 - bits)) >> (32 - bits); }

static uint32_t sample_word(const sample_format_t *f, const uint8_t *from) {
    uint32_t x = 0;
    for (uint32_t i = 0; i < f->width; i++) x = x << 8 | from[f->big ? i : f->width - 1 - i];
    return f->centred ? x ^ 1u << (8 * f->width - 1) : x;
}

int32_t zllm_sample_get(const sample_format_t *f, const uint8_t *from) {
    return signed_of(sample_word(f, from), 8 * f->width) >> f->shift;
}

static void sample_put(const sample_format_t *f, uint8_t *to, int32_t value) {
    uint32_t x = (uint32_t)value << f->shift;
    if (f->centred) x ^= 1u << (8 * f->width - 1);
    for (uint32_t i = 0; i < f->width; i++) to[f->big ? f->width - 1 - i : i] = (uint8_t)(x >> 8 * i);
}

int zllm_samples_fit(const sample_format_t *format, const uint8_t *samples, size_t count) {
    const uint32_t mask = (1u << format->shift) - 1;
    for (size_t i = 0; i < count; i++)
        if (sample_word(format, samples + i * format->width) & mask) return 0;
    return 1;
}

static uint32_t least(uint32_t a, uint32_t b) { return a < b ? a : b; }

static uint32_t size_of(int32_t x) { return x < 0 ? 0u - (uint32_t)x : (uint32_t)x; }

static channel_t *before(samples_t *p, uint32_t number) {
    return &p->channel[number ? number - 1 : p->format.channels - 1];
}

/* How many quarters of an octave a is above 16 quarters below b; below 32. */
static uint32_t against(uint32_t a, uint32_t b) {
    const int32_t d = (int32_t)log_quarters(a) - (int32_t)log_quarters(b) + 16;
    return d < 0 ? 0 : least((uint32_t)d, 31);
}

/* Steps of 2^k are the mean magnitude, or half of it. */
static uint32_t step_of(uint32_t quarters) { return quarters < 32 ? 0 : quarters / 4 - 8; }

/* A mean within its steps of 2^k, or below the smallest of them: up to 19. */
static uint32_t fine_of(uint32_t quarters) { return quarters < 32 ? quarters / 2 : least(quarters - 16, 19); }

static void know(samples_t *p, uint32_t number, int32_t added, known_t *known) {
    const channel_t *c = &p->channel[number], *other = before(p, number);
    const uint32_t unit = c->mean[1] + 1, quarters = log_quarters(unit), k = step_of(quarters);
    const uint32_t fine = fine_of(quarters - 4 * k), quick = against(c->mean[0] + 1, unit);
    *known = (known_t){
        .k = k,
        .context =
            {
                fine * 32 + quick,
                fine * 32 + against(c->mean[2] + 1, unit),
                against(c->last[0] << 8, unit) * 32 + against(c->last[1] << 8, unit),
                against(other->last[0] << 8, other->mean[1] + 1) * 32 + quick,
                k * 32 + fine,
                against(least(size_of(added), SIZE_MOST) << 8, unit) * 32 + quick,
            },
        .select = quick,
        .sign = (c->signs & 7) | (other->signs & 1) << 3,
    };
}

static int32_t code_quickly(samples_t *p, string_t *s, const channel_t *c, int32_t residual) {
    const uint32_t unit = c->mean[1] + 1, quarters = log_quarters(unit), k = step_of(quarters);
    const uint32_t fine = fine_of(quarters - 4 * k), part = fine < 12 ? fine / 2 : fine - 6;
    return zllm_quick_code(p->quick, s, k, part * 4 + against(c->mean[0] + 1, unit) / 8, residual);
}

static int32_t code_residual(samples_t *p, string_t *s, uint32_t number, int32_t added, int32_t residual) {
    channel_t *c = &p->channel[number];
    if (p->quick) return code_quickly(p, s, c, residual);
    known_t known;
    know(p, number, added, &known);
    return zllm_residual_code(p->residual, s, &known, residual);
}

static void note(channel_t *c, int32_t residual) {
    static const uint32_t SPEED[3] = {2, 5, 8};
    const uint32_t size = least(size_of(residual), SIZE_MOST);
    for (uint32_t i = 0; i < 3; i++)
        c->mean[i] += (uint32_t)((int32_t)((size << 8) - c->mean[i]) >> SPEED[i]);
    c->last[1] = c->last[0];
    c->last[0] = size;
    c->signs = c->signs << 1 | (residual < 0);
}

static void shift_in(int32_t *x, uint32_t n, int32_t newest) {
    for (uint32_t i = n - 1; i > 0; i--) x[i] = x[i - 1];
    x[0] = newest;
}

static void learn(const samples_t *p, channel_t *c, int32_t sample, int32_t base, const int32_t part[STAGES]) {
    int32_t left = (sample >> p->loud) - (base >> p->loud);
    for (uint32_t k = 0; k < p->form->stages; k++) {
        const int32_t input = left;
        left -= part[k];
        zllm_lms_learn(&c->lms[k], left, input);
    }
    zllm_ols_learn(&c->ols, sample >> p->scale);
    shift_in(c->ols.x, p->own, sample >> p->scale);
    c->newest = sample;
}

static int32_t code_sample(samples_t *p, string_t *s, uint32_t number, int32_t value) {
    channel_t *c = &p->channel[number];
    int32_t part[STAGES] = {0}, added = 0, residual;
    if (p->other) shift_in(c->ols.x + p->own, p->other, before(p, number)->newest >> p->scale);
    for (uint32_t k = 0; k < p->form->stages; k++) added += part[k] = zllm_lms_predict(&c->lms[k]);
    added = within((int64_t)added * (1 << p->loud), p->most);
    const int32_t base = within(zllm_ols_predict(&c->ols) >> (OLS_FRACTION - p->scale), p->most);
    const int32_t predicted = within((int64_t)base + added, p->most);
    if (number) { /* both sides of a stereo recording are often the same */
        const int32_t same = p->channel[number - 1].newest;
        const int equal = decide_alone(p->tables, s, &c->equal[c->equals & 255], EQUAL_LIMIT, value == same);
        c->equals = c->equals << 1 | (uint32_t)equal;
        if (equal) {
            note(c, signed_of((uint32_t)same - (uint32_t)predicted, p->bits));
            learn(p, c, same, base, part);
            return same;
        }
    }
    residual = signed_of((uint32_t)value - (uint32_t)predicted, p->bits);
    residual = code_residual(p, s, number, added, residual);
    const int32_t sample = signed_of((uint32_t)predicted + (uint32_t)residual, p->bits);
    note(c, residual);
    learn(p, c, sample, base, part);
    return sample;
}

void zllm_samples_code(samples_t *p, string_t *s, uint8_t *samples) {
    for (uint32_t c = 0; c < p->format.channels; c++, samples += p->format.width) {
        const int32_t value = s->decoding ? 0 : zllm_sample_get(&p->format, samples);
        const int32_t sample = code_sample(p, s, c, value);
        if (s->decoding) sample_put(&p->format, samples, sample);
    }
}
