/* Neighbours are named by where they are: W(est), N(orth), NW, NE, WW, NN, ... At the edges the nearest pixel stands for
 * those outside. Residuals are differences modulo 2^bits.
 */
#include "pixels.h"

#include <string.h>

#include "ols.h"

#define CONTEXTS 8u
#define MARGIN 3u     /* pixels beside a row */
#define FITS 2u       /* least squares: of few pixels, of many */
#define GUESSES 5u    /* the fits, and simpler predictions */
#define HALF 3u       /* bits of a guess below one */
#define SEEN_BITS 16u /* of the table of neighbourhoods */

static const uint8_t EVERY[FITS] = {8, 8}, FADE[FITS] = {5, 9};

/* A neighbourhood that was seen: the pixel that came last, and how often it came in a row. */
typedef struct {
    uint64_t pixel;
    uint32_t check;
    uint32_t times;
} seen_t;

typedef struct {
    ols_t fit[FITS];
    uint32_t *wrong[2][GUESSES]; /* magnitudes of the row before, and of this one, by column, in 2^-HALF */
    int32_t *residual[2];
} plane_t;

struct pixels {
    pixel_format_t format;
    const tables_t *tables;
    uint32_t bits, row, stride; /* rows done; samples of a row with its margins */
    uint16_t *line[3];          /* this row's samples, and those of two rows before */
    plane_t plane[MOST_PLANES];
    residual_t *residual;
    seen_t *seen;
    counter_t again[16][16];
    uint32_t hits; /* of the last pixels: whether they were foretold */
};

/* A sample's place and neighbours. */
typedef struct {
    uint32_t column, plane;
    const uint16_t *here, *up, *up2; /* this sample's place in each row */
    int32_t n, w, nw, ne, ww, nn, nne;
    int32_t before, before_n, before_w, before_nw; /* the plane before: this pixel's, and neighbours' */
    int32_t guess[GUESSES];                        /* in 2^-HALF */
    int32_t blend;                                 /* the same */
} site_t;

static size_t columns_of(const pixel_format_t *f) { return (size_t)f->columns + 2 * MARGIN; }

size_t zllm_pixels_memory(const pixel_format_t *f) {
    const size_t column = 3 * f->planes * sizeof(uint16_t) + (size_t)f->planes * 2 * (GUESSES + 1) * sizeof(uint32_t);
    return sizeof(pixels_t) + zllm_residual_memory(CONTEXTS) + (sizeof(seen_t) << SEEN_BITS) + columns_of(f) * column;
}

static uint32_t inputs_of(uint32_t planes, uint32_t plane) { return 10 + 5 * plane + 3 * (planes - 1 - plane); }

static int plane_start(heap_t *heap, const pixel_format_t *f, uint32_t number, plane_t *plane) {
    const size_t columns = columns_of(f);
    int made = 1;
    for (uint32_t k = 0; k < FITS; k++) zllm_ols_start(&plane->fit[k], inputs_of(f->planes, number), 0, EVERY[k], FADE[k]);
    for (uint32_t row = 0; row < 2; row++) {
        for (uint32_t g = 0; g < GUESSES; g++)
            made &= (plane->wrong[row][g] = zllm_heap_zeroed(heap, columns, sizeof(uint32_t))) != NULL;
        made &= (plane->residual[row] = zllm_heap_zeroed(heap, columns, sizeof(int32_t))) != NULL;
    }
    return made;
}

pixels_t *zllm_pixels_new(heap_t *heap, const tables_t *tables, const pixel_format_t *format) {
    pixels_t *p = zllm_heap_zeroed(heap, 1, sizeof *p);
    if (p == NULL) return NULL;
    p->format = *format;
    p->tables = tables;
    p->bits = 8 * format->width;
    p->stride = (uint32_t)columns_of(format) * format->planes;
    p->residual = zllm_residual_new(heap, tables, CONTEXTS);
    p->seen = zllm_heap_pages(heap, sizeof(seen_t) << SEEN_BITS);
    int made = p->residual != NULL && p->seen != NULL;
    if (p->seen) memset(p->seen, 0, sizeof(seen_t) << SEEN_BITS);
    for (uint32_t i = 0; i < 3; i++) made &= (p->line[i] = zllm_heap_zeroed(heap, p->stride, sizeof(uint16_t))) != NULL;
    for (uint32_t c = 0; c < format->planes; c++) made &= plane_start(heap, format, c, &p->plane[c]);
    counter_t *again = p->again[0];
    for (uint32_t i = 0; i < 16 * 16; i++) again[i] = COUNTER_START;
    if (made) return p;
    zllm_pixels_free(heap, p);
    return NULL;
}

void zllm_pixels_free(heap_t *heap, pixels_t *p) {
    if (p == NULL) return;
    zllm_residual_free(heap, p->residual);
    if (p->seen) zllm_heap_free_pages(heap, p->seen, sizeof(seen_t) << SEEN_BITS);
    for (uint32_t i = 0; i < 3; i++) zllm_heap_free(heap, p->line[i]);
    for (uint32_t c = 0; c < p->format.planes; c++)
        for (uint32_t row = 0; row < 2; row++) {
            for (uint32_t g = 0; g < GUESSES; g++) zllm_heap_free(heap, p->plane[c].wrong[row][g]);
            zllm_heap_free(heap, p->plane[c].residual[row]);
        }
    zllm_heap_free(heap, p);
}

static uint32_t least(uint32_t a, uint32_t b) { return a < b ? a : b; }

static int32_t middle(int32_t a, int32_t b, int32_t c) { /* of three */
    const int32_t low = a < b ? a : b, high = a < b ? b : a;
    return c < low ? low : c > high ? high : c;
}

static uint32_t size_of(int32_t x) { return x < 0 ? 0u - (uint32_t)x : (uint32_t)x; }

static site_t site_of(const pixels_t *p, uint32_t column, uint32_t plane) {
    const int32_t step = (int32_t)p->format.planes;
    const size_t at = (size_t)(column + MARGIN) * p->format.planes + plane;
    site_t s = {.column = column + MARGIN, .plane = plane};
    s.here = p->line[0] + at;
    s.up = p->line[1] + at;
    s.up2 = p->line[2] + at;
    s.n = s.up[0];
    s.w = s.here[-step];
    s.nw = s.up[-step];
    s.ne = s.up[step];
    s.ww = s.here[-2 * step];
    s.nn = s.up2[0];
    s.nne = s.up2[step];
    if (plane) {
        s.before = s.here[-1];
        s.before_n = s.up[-1];
        s.before_w = s.here[-step - 1];
        s.before_nw = s.up[-step - 1];
    }
    return s;
}

/* Inputs of the fits: differences from the middle of W and N, in each plane; that middle is returned. */
static int32_t set_inputs(const pixels_t *p, const site_t *s, int32_t *x) {
    const int32_t step = (int32_t)p->format.planes, base = (s->w + s->n) >> 1;
    const uint16_t *h = s->here, *u = s->up, *v = s->up2;
    const int32_t own[10] = {s->w, s->n, s->nw, s->ne, s->ww, s->nn, s->nne, u[-2 * step], u[2 * step], v[-step]};
    for (uint32_t i = 0; i < 10; i++) *x++ = own[i] - base;
    for (uint32_t c = 0; c < p->format.planes; c++) {
        const int32_t d = (int32_t)c - (int32_t)s->plane;
        if (d == 0) continue;
        const int32_t there = (h[d - step] + u[d]) >> 1;
        if (d < 0) *x++ = h[d] - there;
        if (d < 0) *x++ = u[d + step] - there;
        *x++ = h[d - step] - there;
        *x++ = u[d] - there;
        *x++ = u[d - step] - there;
    }
    return base;
}

static void guess(pixels_t *p, site_t *s) {
    plane_t *plane = &p->plane[s->plane];
    const int32_t most = ((1 << p->bits) - 1) << HALF;
    const int32_t base = set_inputs(p, s, plane->fit[0].x);
    memcpy(plane->fit[1].x, plane->fit[0].x, sizeof plane->fit[0].x);
    for (uint32_t k = 0; k < FITS; k++) {
        const int64_t fitted = (zllm_ols_predict(&plane->fit[k]) >> (OLS_FRACTION - HALF)) + base * (1 << HALF);
        s->guess[k] = fitted < 0 ? 0 : fitted > most ? most : (int32_t)fitted;
    }
    const int32_t med = middle(s->w, s->n, s->w + s->n - s->nw), d = s->before;
    const int32_t dw = s->w - s->before_w, dn = s->n - s->before_n, dnw = s->nw - s->before_nw;
    const int32_t across = d + middle(dw, dn, dw + dn - dnw);
    s->guess[2] = med * (1 << HALF);
    s->guess[3] = (int32_t)least(size_of(across > 0 ? across : 0), (1u << p->bits) - 1) * (1 << HALF);
    const int32_t slope = (s->w + s->ne) * 4 + (s->ne - s->nne) * 2 + (s->n - s->nn) * 2; /* in 2^-HALF */
    s->guess[4] = slope < 0 ? 0 : slope > most ? most : slope;
}

/* How wrong a guess was nearby, in 2^-HALF, about 8 times. */
static uint32_t wrong_near(const plane_t *plane, uint32_t g, uint32_t column) {
    const uint32_t *here = plane->wrong[0][g] + column, *up = plane->wrong[1][g] + column;
    return 2 * (here[-1] + up[0]) + up[1] + up[-1] + here[-2];
}

/* Guesses weigh by the inverse cube of how wrong they were. */
static void blend(const pixels_t *p, site_t *s) {
    const plane_t *plane = &p->plane[s->plane];
    uint64_t total = 0, sum = 0;
    for (uint32_t g = 0; g < GUESSES; g++) {
        const uint64_t wrong = wrong_near(plane, g, s->column) + 4;
        const uint64_t weight = ((uint64_t)1 << 40) / (wrong * wrong) / wrong + 1;
        total += weight;
        sum += weight * (uint32_t)s->guess[g];
    }
    s->blend = (int32_t)((sum + total / 2) / total);
}

/* How many quarters of an octave a is above 16 quarters below b; below 32. */
static uint32_t against(uint32_t a, uint32_t b) {
    const int32_t d = (int32_t)log_quarters(a) - (int32_t)log_quarters(b) + 16;
    return d < 0 ? 0 : least((uint32_t)d, 31);
}

static uint32_t texture(const site_t *s) {
    const int32_t x = s->blend >> HALF;
    return (uint32_t)(s->w > x) | (uint32_t)(s->n > x) << 1 | (uint32_t)(s->nw > x) << 2 | (uint32_t)(s->ne > x) << 3 |
           (uint32_t)(s->ww > x) << 4;
}

static void know(const pixels_t *p, const site_t *s, known_t *known) {
    const plane_t *plane = &p->plane[s->plane];
    const int32_t *here = plane->residual[0] + s->column, *up = plane->residual[1] + s->column;
    const uint32_t w = size_of(here[-1]), n = size_of(up[0]), nw = size_of(up[-1]), ne = size_of(up[1]), ww = size_of(here[-2]);
    const uint32_t unit = ((2 * (w + n) + nw + ne + ww) << 8) / 7 + 16, quarters = log_quarters(unit);
    const uint32_t k = quarters < 34 ? 0 : (quarters - 34) / 4, level = quarters - 4 * k;
    const uint32_t fine = level < 32 ? level / 2 : least(level - 16, 31);
    const uint32_t edge = size_of(s->w - s->nw) + size_of(s->n - s->nw) + size_of(s->n - s->ne);
    const int32_t *last = s->plane ? p->plane[s->plane - 1].residual[0] + s->column : &here[-1];
    const uint32_t apart = size_of(s->guess[0] - s->guess[1]), off = size_of(s->blend - s->guess[2]);
    const uint32_t side = (uint32_t)s->blend >> (HALF - 2) & 3;
    *known = (known_t){
        .k = k,
        .context =
            {
                fine * 32 + against(w << 8, unit),
                fine * 32 + against(n << 8, unit),
                fine * 32 + against(size_of(*last) << 8, unit),
                fine * 32 + least(log_quarters(edge), 31),
                fine * 32 + against(apart << 5, unit),
                against(off << 5, unit) * 32 + fine,
                (fine / 2 * 2 + s->plane / 2) * 32 + texture(s),
                least((uint32_t)s->blend >> (p->bits + HALF - 5), 31) * 32 + fine,
            },
        .select = side * 16 + fine / 2,
        .sign = side << 4 | (uint32_t)(*last < 0) << 3 | (uint32_t)(s->guess[0] > s->blend) << 2 |
                (uint32_t)(s->guess[2] > s->blend) << 1 | (uint32_t)(here[-1] < 0),
    };
}

static void learn(pixels_t *p, const site_t *s, int32_t value, int32_t residual) {
    plane_t *plane = &p->plane[s->plane];
    const int32_t base = (s->w + s->n) >> 1;
    for (uint32_t k = 0; k < FITS; k++) zllm_ols_learn(&plane->fit[k], value - base);
    for (uint32_t g = 0; g < GUESSES; g++) plane->wrong[0][g][s->column] = size_of(s->guess[g] - value * (1 << HALF));
    plane->residual[0][s->column] = residual;
}

static int32_t code_sample(pixels_t *p, string_t *s, uint32_t column, uint32_t plane, int32_t value) {
    site_t site = site_of(p, column, plane);
    known_t known;
    guess(p, &site);
    blend(p, &site);
    know(p, &site, &known);
    const int32_t predicted = (site.blend + (1 << (HALF - 1))) >> HALF, unused = 32 - (int32_t)p->bits;
    int32_t residual = (int32_t)((uint32_t)(value - predicted) << unused) >> unused;
    residual = zllm_residual_code(p->residual, s, &known, residual);
    value = (int32_t)((uint32_t)(predicted + residual) & ((1u << p->bits) - 1));
    learn(p, &site, value, (int32_t)((uint32_t)(value - predicted) << unused) >> unused);
    return value;
}

static uint64_t pixel_at(const uint16_t *at, uint32_t planes) {
    uint64_t pixel = 0;
    for (uint32_t c = 0; c < planes; c++) pixel = pixel << 16 | at[c];
    return pixel;
}

static uint64_t mixed(uint64_t h, uint64_t v) {
    h = (h ^ v) * UINT64_C(0x9e3779b97f4a7c15);
    return h ^ h >> 29;
}

/* What came after these neighbours. */
static seen_t *find_seen(pixels_t *p, uint32_t column) {
    const uint32_t n = p->format.planes;
    const size_t at = (size_t)(column + MARGIN) * n;
    uint64_t h = 1;
    const uint16_t *near[6] = {p->line[0] + at - n,     p->line[1] + at,     p->line[1] + at - n,
                               p->line[1] + at + n, p->line[0] + at - 2 * n, p->line[2] + at};
    for (uint32_t i = 0; i < 6; i++) h = mixed(h, pixel_at(near[i], n));
    seen_t *seen = &p->seen[h >> (64 - SEEN_BITS)];
    const uint32_t check = (uint32_t)h | 1;
    if (seen->check != check) *seen = (seen_t){.check = check};
    return seen;
}

static void note_seen(seen_t *seen, uint64_t pixel) {
    if (seen->times && seen->pixel == pixel) {
        seen->times += seen->times < 15;
        return;
    }
    seen->times = seen->times > 3 ? seen->times / 4 : 1;
    seen->pixel = pixel;
}

/* A pixel that was foretold teaches nothing: in flat parts and patterns that saves nearly all of the time. */
static void pass(pixels_t *p, uint32_t column) {
    for (uint32_t c = 0; c < p->format.planes; c++) {
        for (uint32_t g = 0; g < GUESSES; g++) p->plane[c].wrong[0][g][column + MARGIN] = 0;
        p->plane[c].residual[0][column + MARGIN] = 0;
    }
}

static void code_pixel(pixels_t *p, string_t *s, uint32_t column, uint16_t *here) {
    const uint32_t planes = p->format.planes;
    seen_t *seen = find_seen(p, column);
    if (seen->times) {
        counter_t *counter = &p->again[seen->times][p->hits & 15];
        const int hit = decide_alone(p->tables, s, counter, 250, pixel_at(here, planes) == seen->pixel);
        p->hits = p->hits << 1 | (uint32_t)hit;
        if (hit) {
            for (uint32_t c = 0; c < planes; c++) here[c] = (uint16_t)(seen->pixel >> 16 * (planes - 1 - c));
            pass(p, column);
            note_seen(seen, seen->pixel);
            return;
        }
    }
    for (uint32_t c = 0; c < planes; c++) here[c] = (uint16_t)code_sample(p, s, column, c, here[c]);
    note_seen(seen, pixel_at(here, planes));
}

static uint16_t sample_get(const pixel_format_t *f, const uint8_t *from) {
    if (f->width == 1) return from[0];
    return (uint16_t)(f->big ? from[0] << 8 | from[1] : from[1] << 8 | from[0]);
}

static void sample_put(const pixel_format_t *f, uint8_t *to, uint16_t value) {
    to[0] = (uint8_t)(f->width == 2 && f->big ? value >> 8 : value);
    if (f->width == 2) to[1] = (uint8_t)(f->big ? value : value >> 8);
}

/* This row becomes the one before; what is beside the new one are the pixels above. */
static void start_row(pixels_t *p) {
    const uint32_t planes = p->format.planes, last = (p->format.columns + MARGIN - 1) * planes;
    uint16_t *oldest = p->line[2];
    if (p->row)
        for (uint32_t i = 0; i < MARGIN * planes; i++) p->line[0][last + planes + i] = p->line[0][last + i % planes];
    if (p->row == 1) memcpy(p->line[1], p->line[0], p->stride * sizeof(uint16_t));
    p->line[2] = p->line[1];
    p->line[1] = p->line[0];
    p->line[0] = oldest;
    for (uint32_t i = 0; i < MARGIN * planes; i++) p->line[0][i] = p->line[1][MARGIN * planes + i % planes];
    for (uint32_t c = 0; c < planes; c++) {
        plane_t *plane = &p->plane[c];
        for (uint32_t g = 0; g < GUESSES; g++) {
            uint32_t *wrong = plane->wrong[0][g];
            plane->wrong[0][g] = plane->wrong[1][g];
            plane->wrong[1][g] = wrong;
        }
        int32_t *residual = plane->residual[0];
        plane->residual[0] = plane->residual[1];
        plane->residual[1] = residual;
    }
    p->row += p->row < 2;
}

void zllm_pixels_row(pixels_t *p, string_t *s, uint8_t *row) {
    const uint32_t planes = p->format.planes, width = p->format.width;
    start_row(p);
    uint16_t *line = p->line[0] + MARGIN * planes;
    for (uint32_t x = 0; x < p->format.columns; x++, line += planes, row += planes * width) {
        if (!s->decoding)
            for (uint32_t c = 0; c < planes; c++) line[c] = sample_get(&p->format, row + c * width);
        code_pixel(p, s, x, line);
        if (s->decoding)
            for (uint32_t c = 0; c < planes; c++) sample_put(&p->format, row + c * width, line[c]);
    }
}
