/* Whether bytes without a header are audio samples, and of which format: what differences between neighbours would cost,
 * against what the bytes would cost by their frequencies alone. */
#include "residual.h"
#include "samples.h"

#include <string.h>

#define WINDOWS 4u
#define WINDOW 2048u
#define LEAST 512u
#define PROVEN(cost, entropy) ((cost) < (entropy) / 8 * 7)

static const uint8_t CHANNELS[] = {1, 2, 4, 6, 8};

/* What a window's samples cost, in quarters of a bit, where each is predicted by the line through the two before it, or by the
 * one before it, whichever is cheaper for all. */
static uint64_t window_cost(const sample_format_t *f, const uint8_t *from, size_t size) {
    const size_t frame = f->width * f->channels;
    uint64_t cost[2] = {0, 0};
    for (size_t at = 2 * frame; at + f->width <= size; at += f->width) {
        const int64_t x = zllm_sample_get(f, from + at), w = zllm_sample_get(f, from + at - frame),
                      ww = zllm_sample_get(f, from + at - 2 * frame);
        for (int line = 0; line < 2; line++) {
            const int64_t d = x - (line ? 2 * w - ww : w);
            const uint64_t magnitude = (uint64_t)(d < 0 ? -d : d);
            cost[line] += 2 + log_quarters(magnitude > UINT32_MAX / 2 ? UINT32_MAX : (uint32_t)(2 * magnitude + 1));
        }
    }
    return cost[0] < cost[1] ? cost[0] : cost[1];
}

/* The windows' places: the same for every format, but for the start of a frame of samples. */
static size_t window_at(size_t n, uint32_t number, size_t frame, size_t phase) {
    const size_t last = n > WINDOW ? n - WINDOW : 0, at = last / (WINDOWS - 1) * number;
    return at / frame * frame + phase;
}

static uint64_t cost_of(const sample_format_t *f, size_t phase, const uint8_t *data, size_t n) {
    uint64_t cost = 0;
    for (uint32_t i = 0; i < WINDOWS; i++) {
        const size_t at = window_at(n, i, f->width * f->channels, phase);
        if (at < n) cost += window_cost(f, data + at, n - at < WINDOW ? n - at : WINDOW);
    }
    return cost;
}

/* The order-0 entropy of the windows' bytes, in quarters of a bit. */
static uint64_t entropy_of(const uint8_t *data, size_t n) {
    uint32_t counts[256] = {0}, total = 0;
    uint64_t cost = 0;
    for (uint32_t i = 0; i < WINDOWS; i++) {
        const size_t at = window_at(n, i, 1, 0), size = n - at < WINDOW ? n - at : WINDOW;
        for (size_t k = 0; k < size; k++) counts[data[at + k]]++;
        total += (uint32_t)size;
    }
    for (uint32_t b = 0; b < 256; b++)
        if (counts[b]) cost += (uint64_t)counts[b] * (log_quarters(total << 8) - log_quarters(counts[b] << 8));
    return cost;
}

void zllm_pcm_measure(const uint8_t *data, size_t n, zllm_pcm_run *run) {
    memset(run, 0, sizeof *run);
    if (n < LEAST) return;
    const uint64_t entropy = entropy_of(data, n);
    uint64_t best = UINT64_MAX;
    for (uint32_t form = 0; form < 16; form++) {
        sample_format_t f = {.width = (form & 3) + 1, .big = form >> 2 & 1, .centred = form >> 3 & 1};
        /* Bytes have no order, and only they are unsigned; numbers of 4 bytes are mostly something else. */
        if (f.width == 4 || (f.width == 1 ? f.big : f.centred)) continue;
        for (uint32_t c = 0; c < sizeof CHANNELS; c++) {
            f.channels = CHANNELS[c];
            for (size_t phase = 0; phase < f.width; phase++) {
                const uint64_t cost = cost_of(&f, phase, data, n);
                if (cost >= best) continue;
                best = cost;
                *run = (zllm_pcm_run){.raw = phase, .count = (n - phase) / (f.width * f.channels), .width = f.width};
                run->channels = f.channels;
                run->big = (uint32_t)f.big;
                run->centred = (uint32_t)f.centred;
            }
        }
    }
    if (!PROVEN(best, entropy)) run->count = 0;
}
