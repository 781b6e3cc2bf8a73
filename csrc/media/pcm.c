/* Codec pcm: runs of audio samples, and the bytes around them (docs/media.md has the payload). */
#include "payload.h"
#include "samples.h"

typedef struct {
    work_t work;
    samples_t *samples;
    sample_format_t format; /* of samples, when there is one */
    int fast;
} audio_t;

static int formats_equal(const sample_format_t *a, const sample_format_t *b) {
    return a->width == b->width && a->channels == b->channels && a->shift == b->shift && a->big == b->big &&
           a->centred == b->centred;
}

static sample_format_t format_of(const zllm_pcm_run *run) {
    return (sample_format_t){run->width, run->channels, run->shift, run->big != 0, run->centred != 0};
}

static int format_valid(const sample_format_t *f) {
    return f->width >= 1 && f->width <= 4 && f->channels >= 1 && f->channels <= MOST_CHANNELS && f->shift < 8 * f->width;
}

/* Whether the runs are in order and inside n bytes. */
static int runs_valid(const zllm_pcm_run *runs, size_t n_runs, size_t n) {
    uint64_t left = n, changes = 0;
    for (size_t i = 0; i < n_runs; i++) {
        const sample_format_t f = format_of(&runs[i]), last = format_of(&runs[i ? i - 1 : 0]);
        if (!format_valid(&f) || runs[i].raw > left) return 0;
        left -= runs[i].raw;
        if (runs[i].count == 0 || runs[i].count > left / (f.width * f.channels)) return 0;
        left -= runs[i].count * f.width * f.channels;
        changes += i && !formats_equal(&f, &last);
    }
    return changes <= FREE_CHANGES + n / CHANGE_DATA;
}

static zllm_result code_samples(audio_t *a, const zllm_pcm_run *run) {
    work_t *w = &a->work;
    const sample_format_t format = format_of(run);
    const size_t size = (size_t)format.width * format.channels;
    zllm_result rc = ZLLM_OK;
    if (a->samples == NULL || !formats_equal(&format, &a->format)) {
        zllm_samples_free(w->heap, a->samples);
        a->samples = zllm_samples_new(w->heap, w->tables, &format, a->fast);
        a->format = format;
    }
    if (a->samples == NULL) return ZLLM_E_MEMORY;
    if (!w->string.decoding && !zllm_samples_fit(&format, w->at, (size_t)run->count * format.channels)) return ZLLM_E_ARGUMENT;
    for (uint64_t i = 0; i < run->count && rc == ZLLM_OK; i++, w->at += size) {
        zllm_samples_code(a->samples, &w->string, w->at);
        rc = work_done(w, size);
    }
    return rc;
}

/* All of the data, by runs that are valid. */
static zllm_result code_all(audio_t *a, heap_t *heap, size_t n, const zllm_pcm_run *runs, size_t n_runs) {
    work_t *w = &a->work;
    const uint8_t *end = w->at + n;
    zllm_result rc = zllm_work_start(w, heap);
    for (size_t i = 0; i < n_runs && rc == ZLLM_OK; i++) {
        rc = zllm_work_bytes(w, runs[i].raw);
        if (rc == ZLLM_OK) rc = code_samples(a, &runs[i]);
    }
    if (rc == ZLLM_OK) rc = zllm_work_bytes(w, (uint64_t)(end - w->at));
    zllm_samples_free(heap, a->samples);
    return zllm_work_end(w, rc);
}

static void write_runs(writer_t *out, const zllm_pcm_run *runs, size_t n_runs, int fast) {
    write_number(out, MEDIA_VERSION);
    write_number(out, n_runs << 1 | (fast != 0));
    for (size_t i = 0; i < n_runs; i++) {
        const sample_format_t f = format_of(&runs[i]), last = format_of(&runs[i ? i - 1 : 0]);
        const int same = i && formats_equal(&f, &last);
        write_number(out, runs[i].raw);
        write_number(out, runs[i].count << 1 | !same);
        if (same) continue;
        write_number(out, (f.width - 1) | (uint32_t)f.big << 2 | (uint32_t)f.centred << 3 | (f.channels - 1) << 4);
        write_number(out, f.shift);
    }
}

static int read_run(reader_t *in, const zllm_pcm_run *last, zllm_pcm_run *run) {
    const uint64_t raw = read_number(in), count = read_number(in);
    if (last) *run = *last;
    if (count & 1) {
        const uint64_t packed = read_number(in), shift = read_number(in);
        if (packed > 127 || shift > 31) return 0;
        run->width = (packed & 3) + 1;
        run->big = packed >> 2 & 1;
        run->centred = packed >> 3 & 1;
        run->channels = (uint32_t)(packed >> 4) + 1;
        run->shift = (uint32_t)shift;
    } else if (last == NULL) {
        return 0;
    }
    run->raw = raw;
    run->count = count >> 1;
    return !in->bad;
}

zllm_result zllm_pcm_encode(const uint8_t *data, size_t n, const zllm_pcm_run *runs, size_t n_runs, int fast, uint8_t *out,
                            size_t *out_size, const volatile int32_t *cancel, volatile uint64_t *progress,
                            const zllm_options *options) {
    if (n >= UINT32_MAX || !runs_valid(runs, n_runs, n)) return ZLLM_E_ARGUMENT;
    writer_t front = {out, *out_size, 0, 0};
    write_runs(&front, runs, n_runs, fast);
    if (front.full) return ZLLM_E_SPACE;
    /* Encoding reads through the pointer that decoding writes through. */
    audio_t a = {.work = {.at = (uint8_t *)(uintptr_t)data, .cancel = cancel, .progress = progress}, .fast = fast};
    encoder_t *string = &a.work.string.to;
    encoder_start(string, out + front.at, *out_size - front.at);
    heap_t *heap;
    zllm_result rc = zllm_heap_open(options, &heap);
    if (rc != ZLLM_OK) return rc;
    rc = code_all(&a, heap, n, runs, n_runs);
    zllm_heap_close(heap);
    if (rc != ZLLM_OK) return rc;
    if (n) encoder_finish(string);
    *out_size = front.at + string->at;
    return string->full ? ZLLM_E_SPACE : ZLLM_OK;
}

zllm_result zllm_pcm_decode(const uint8_t *coded, size_t coded_size, uint8_t *data, size_t n,
                            const volatile int32_t *cancel, volatile uint64_t *progress, const zllm_options *options) {
    reader_t in = {coded, coded_size, 0, 0};
    if (read_number(&in) != MEDIA_VERSION) return ZLLM_E_DATA;
    const uint64_t first = read_number(&in), n_runs = first >> 1;
    if (in.bad || n_runs > (coded_size - in.at) / 2) return ZLLM_E_DATA; /* a run has two bytes at least */
    heap_t *heap;
    zllm_result rc = zllm_heap_open(options, &heap);
    if (rc != ZLLM_OK) return rc;
    zllm_pcm_run *runs = zllm_heap_zeroed(heap, (size_t)n_runs + 1, sizeof *runs);
    if (runs == NULL) rc = ZLLM_E_MEMORY;
    for (size_t i = 0; i < n_runs && rc == ZLLM_OK; i++)
        if (!read_run(&in, i ? &runs[i - 1] : NULL, &runs[i])) rc = ZLLM_E_DATA;
    if (rc == ZLLM_OK && (n >= UINT32_MAX || !runs_valid(runs, (size_t)n_runs, n))) rc = ZLLM_E_DATA;
    if (rc == ZLLM_OK) {
        audio_t a = {.work = {.at = data, .cancel = cancel, .progress = progress, .string = {.decoding = 1}}, .fast = first & 1};
        decoder_start(&a.work.string.from, coded + in.at, coded_size - in.at);
        rc = code_all(&a, heap, n, runs, (size_t)n_runs);
    }
    zllm_heap_free(heap, runs);
    zllm_heap_close(heap);
    return rc;
}

size_t zllm_pcm_memory(int fast) { return sizeof(tables_t) + zllm_bytes_memory() + zllm_samples_memory(fast); }
