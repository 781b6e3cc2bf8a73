/* Codec image: runs of rows of pixels, and the bytes around them (docs/media.md has the payload). */
#include "payload.h"
#include "pixels.h"

typedef struct {
    work_t work;
    pixels_t *pixels;
    pixel_format_t format; /* of pixels, when there is one */
} picture_t;

static int formats_equal(const pixel_format_t *a, const pixel_format_t *b) {
    return a->columns == b->columns && a->planes == b->planes && a->width == b->width && a->big == b->big;
}

static pixel_format_t format_of(const zllm_image_run *run) {
    return (pixel_format_t){run->columns, run->planes, run->width, run->big != 0};
}

static uint64_t row_of(const zllm_image_run *run) { return (uint64_t)run->columns * run->planes * run->width + run->padding; }

static int run_valid(const zllm_image_run *run, uint64_t left) {
    if (run->columns < 1 || run->planes < 1 || run->planes > MOST_PLANES || run->width < 1 || run->width > 2) return 0;
    if ((uint64_t)run->columns * run->planes > MOST_SAMPLES) return 0;
    return run->raw <= left && run->rows >= 1 && run->rows <= (left - run->raw) / row_of(run);
}

/* Whether the runs are in order and inside n bytes. */
static int runs_valid(const zllm_image_run *runs, size_t n_runs, size_t n) {
    uint64_t left = n, changes = 0;
    for (size_t i = 0; i < n_runs; i++) {
        if (!run_valid(&runs[i], left)) return 0;
        left -= runs[i].raw + runs[i].rows * row_of(&runs[i]);
        const pixel_format_t f = format_of(&runs[i]), last = format_of(&runs[i ? i - 1 : 0]);
        changes += !formats_equal(&f, &last);
    }
    return changes <= FREE_CHANGES + n / CHANGE_DATA;
}

static zllm_result code_rows(picture_t *c, const zllm_image_run *run) {
    work_t *w = &c->work;
    const pixel_format_t format = format_of(run);
    const size_t size = (size_t)(row_of(run) - run->padding);
    zllm_result rc = ZLLM_OK;
    if (c->pixels == NULL || !formats_equal(&format, &c->format)) {
        zllm_pixels_free(w->heap, c->pixels);
        c->pixels = zllm_pixels_new(w->heap, w->tables, &format);
        c->format = format;
    }
    if (c->pixels == NULL) return ZLLM_E_MEMORY;
    for (uint64_t i = 0; i < run->rows && rc == ZLLM_OK; i++) {
        zllm_pixels_row(c->pixels, &w->string, w->at);
        w->at += size;
        rc = work_done(w, size);
        if (rc == ZLLM_OK) rc = zllm_work_bytes(w, run->padding);
    }
    return rc;
}

/* All of the data, by runs that are valid. */
static zllm_result code_all(picture_t *c, heap_t *heap, size_t n, const zllm_image_run *runs, size_t n_runs) {
    work_t *w = &c->work;
    const uint8_t *end = w->at + n;
    zllm_result rc = zllm_work_start(w, heap);
    for (size_t i = 0; i < n_runs && rc == ZLLM_OK; i++) {
        rc = zllm_work_bytes(w, runs[i].raw);
        if (rc == ZLLM_OK) rc = code_rows(c, &runs[i]);
    }
    if (rc == ZLLM_OK) rc = zllm_work_bytes(w, (uint64_t)(end - w->at));
    zllm_pixels_free(heap, c->pixels);
    return zllm_work_end(w, rc);
}

static void write_runs(writer_t *out, const zllm_image_run *runs, size_t n_runs) {
    write_number(out, MEDIA_VERSION);
    write_number(out, n_runs);
    for (size_t i = 0; i < n_runs; i++) {
        const zllm_image_run *r = &runs[i], *last = &runs[i ? i - 1 : 0];
        const pixel_format_t f = format_of(r), before = format_of(last);
        const int same = i && formats_equal(&f, &before) && r->padding == last->padding;
        write_number(out, r->raw);
        write_number(out, r->rows << 1 | !same);
        if (same) continue;
        write_number(out, r->columns);
        write_number(out, (r->planes - 1) | (r->width - 1) << 2 | (uint32_t)f.big << 3);
        write_number(out, r->padding);
    }
}

static int read_run(reader_t *in, const zllm_image_run *last, zllm_image_run *run) {
    const uint64_t raw = read_number(in), rows = read_number(in);
    if (last) *run = *last;
    if (rows & 1) {
        const uint64_t columns = read_number(in), packed = read_number(in), padding = read_number(in);
        if (columns > UINT32_MAX || packed > 15 || padding > UINT32_MAX) return 0;
        run->columns = (uint32_t)columns;
        run->planes = (packed & 3) + 1;
        run->width = (packed >> 2 & 1) + 1;
        run->big = (uint32_t)packed >> 3;
        run->padding = (uint32_t)padding;
    } else if (last == NULL) {
        return 0;
    }
    run->raw = raw;
    run->rows = rows >> 1;
    return !in->bad;
}

zllm_result zllm_image_encode(const uint8_t *data, size_t n, const zllm_image_run *runs, size_t n_runs, uint8_t *out,
                              size_t *out_size, const volatile int32_t *cancel, volatile uint64_t *progress,
                              const zllm_options *options) {
    if (n >= UINT32_MAX || !runs_valid(runs, n_runs, n)) return ZLLM_E_ARGUMENT;
    writer_t front = {out, *out_size, 0, 0};
    write_runs(&front, runs, n_runs);
    if (front.full) return ZLLM_E_SPACE;
    /* Encoding reads through the pointer that decoding writes through. */
    picture_t c = {.work = {.at = (uint8_t *)(uintptr_t)data, .cancel = cancel, .progress = progress}};
    encoder_t *string = &c.work.string.to;
    encoder_start(string, out + front.at, *out_size - front.at);
    heap_t *heap;
    zllm_result rc = zllm_heap_open(options, &heap);
    if (rc != ZLLM_OK) return rc;
    rc = code_all(&c, heap, n, runs, n_runs);
    zllm_heap_close(heap);
    if (rc != ZLLM_OK) return rc;
    if (n) encoder_finish(string);
    *out_size = front.at + string->at;
    return string->full ? ZLLM_E_SPACE : ZLLM_OK;
}

zllm_result zllm_image_decode(const uint8_t *coded, size_t coded_size, uint8_t *data, size_t n,
                              const volatile int32_t *cancel, volatile uint64_t *progress, const zllm_options *options) {
    reader_t in = {coded, coded_size, 0, 0};
    if (read_number(&in) != MEDIA_VERSION) return ZLLM_E_DATA;
    const uint64_t n_runs = read_number(&in);
    if (in.bad || n_runs > (coded_size - in.at) / 2) return ZLLM_E_DATA; /* a run has two bytes at least */
    heap_t *heap;
    zllm_result rc = zllm_heap_open(options, &heap);
    if (rc != ZLLM_OK) return rc;
    zllm_image_run *runs = zllm_heap_zeroed(heap, (size_t)n_runs + 1, sizeof *runs);
    if (runs == NULL) rc = ZLLM_E_MEMORY;
    for (size_t i = 0; i < n_runs && rc == ZLLM_OK; i++)
        if (!read_run(&in, i ? &runs[i - 1] : NULL, &runs[i])) rc = ZLLM_E_DATA;
    if (rc == ZLLM_OK && (n >= UINT32_MAX || !runs_valid(runs, (size_t)n_runs, n))) rc = ZLLM_E_DATA;
    if (rc == ZLLM_OK) {
        picture_t c = {.work = {.at = data, .cancel = cancel, .progress = progress, .string = {.decoding = 1}}};
        decoder_start(&c.work.string.from, coded + in.at, coded_size - in.at);
        rc = code_all(&c, heap, n, runs, (size_t)n_runs);
    }
    zllm_heap_free(heap, runs);
    zllm_heap_close(heap);
    return rc;
}

size_t zllm_image_memory(uint64_t size) {
    const pixel_format_t widest = {(uint32_t)(size < MOST_SAMPLES ? size : MOST_SAMPLES), 1, 1, 0};
    return sizeof(tables_t) + zllm_bytes_memory() + zllm_pixels_memory(&widest);
}
