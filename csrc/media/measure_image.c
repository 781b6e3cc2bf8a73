/* Whether bytes without a header are rows of pixels, and how long the rows are: what differences from the pixel before and
 * from the one above would cost, against differences from pixels anywhere. */
#include <string.h>

#include "residual.h"
#include "zllm.h"

#define SPOTS 384u  /* samples that are looked at */
#define LEAST_ROW 48u
#define TYPICAL 64u
#define COUNTED 4096u /* bytes whose frequencies count, fewer than LEAST_SIZE / 3 */
#define MOST_ROW (64u << 10) /* bytes */
#define LEAST_SIZE (16u << 10)

static int32_t sample_at(const uint8_t *at, uint32_t width, uint32_t big) {
    return width == 1 ? at[0] : big ? at[0] << 8 | at[1] : at[1] << 8 | at[0];
}

/* Quarters of a bit that SPOTS samples cost as differences from those `lag` bytes before. */
static uint64_t cost_of(const uint8_t *data, size_t n, const zllm_image_run *f, size_t lag, size_t first) {
    const size_t step = (n - first - f->width) / SPOTS / f->width * f->width;
    uint64_t cost = 0;
    for (size_t i = 0; i < SPOTS; i++) {
        const uint8_t *at = data + first + i * step + i % 7 * f->width;
        if (at + f->width > data + n) break;
        const int32_t d = sample_at(at, f->width, f->big) - sample_at(at - lag, f->width, f->big);
        cost += 2 + log_quarters(2 * (uint32_t)(d < 0 ? -d : d) + 1);
    }
    return cost * 2 / f->width;
}

static size_t most_row(size_t n) { return n / 8 < MOST_ROW ? n / 8 : MOST_ROW; }

static size_t least_row(const zllm_image_run *f) {
    const size_t pixel = (size_t)f->planes * f->width;
    return (LEAST_ROW + pixel - 1) / pixel * pixel;
}

/* What differences at distances that mean nothing cost. */
static uint64_t typical_cost(const uint8_t *data, size_t n, const zllm_image_run *f) {
    const size_t most = most_row(n), pixel = (size_t)f->planes * f->width;
    uint64_t sum = 0;
    for (size_t i = 0; i < TYPICAL; i++)
        sum += cost_of(data, n, f, least_row(f) + (most - least_row(f)) / TYPICAL / pixel * pixel * i, most);
    return sum / TYPICAL;
}

/* The length of a row, in bytes, with the least cost. */
static uint32_t best_row(const uint8_t *data, size_t n, const zllm_image_run *f, uint64_t *least) {
    uint32_t best = 0;
    *least = UINT64_MAX;
    for (size_t row = least_row(f); row <= most_row(n); row += (size_t)f->planes * f->width) {
        const uint64_t cost = cost_of(data, n, f, row, most_row(n));
        if (cost >= *least) continue;
        *least = cost;
        best = (uint32_t)row;
    }
    return best;
}

/* Quarters of a bit that a byte costs by its frequency alone, scaled as costs of SPOTS samples are. */
static uint64_t entropy_of(const uint8_t *data, size_t n) {
    uint32_t counts[256] = {0};
    uint64_t cost = 0;
    for (size_t i = 0; i < COUNTED; i++) counts[data[n / COUNTED * i + i % 13]]++;
    for (uint32_t b = 0; b < 256; b++)
        if (counts[b]) cost += (uint64_t)counts[b] * (log_quarters(COUNTED << 8) - log_quarters(counts[b] << 8));
    return cost * 2 * SPOTS / COUNTED;
}

void zllm_image_measure(const uint8_t *data, size_t n, zllm_image_run *run) {
    uint64_t least = UINT64_MAX;
    memset(run, 0, sizeof *run);
    if (n < LEAST_SIZE) return;
    zllm_image_run best = {0};
    /* One plane or three, for 2 and 4 bytes are mostly a number; of bytes, or of words of either order, which may start at 1. */
    for (uint32_t form = 0; form < 6; form++) {
        zllm_image_run f = {.planes = form & 1 ? 3 : 1, .width = form < 2 ? 1 : 2, .big = form >= 4};
        for (f.raw = 0; f.raw < f.width; f.raw++) {
            const uint64_t cost = cost_of(data + f.raw, n - f.raw, &f, (size_t)f.planes * f.width, most_row(n));
            if (cost >= least) continue;
            least = cost;
            best = f;
        }
    }
    /* Pixels above are as alike as those before, nearly, and others are not. */
    const uint8_t *from = data + best.raw;
    uint64_t above, typical = typical_cost(from, n - best.raw, &best);
    if (least > typical - typical / 5) return;
    const uint32_t row = best_row(from, n - best.raw, &best, &above);
    if (above > entropy_of(data, n) / 4 * 3) return;
    if (above > least + least / 4 || above > typical - typical / 5) return;
    *run = best;
    run->columns = row / (best.planes * best.width);
    run->rows = (n - best.raw) / row;
}
