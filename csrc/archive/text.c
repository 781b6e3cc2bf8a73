#include "archive/text.h"

#include "archive/bytes.h"
#include "archive/limits.h"

static zllm_result malformed(problem_t *p) { return DAMAGED(p, "a text frame is damaged: its sizes do not fit it"); }

static zllm_result read_repeats(text_frame_t *t, bytes_t *b, uint64_t *left, problem_t *p) {
    const uint64_t n = bytes_varint(b, 1 + t->size / REPEAT_DATA);
    uint64_t end = 0;
    if (b->bad) return DAMAGED(p, "a text frame is damaged: too many repeats");
    t->repeats = zllm_heap_zeroed(t->heap, (size_t)n + 1, sizeof *t->repeats);
    if (t->repeats == NULL) return NO_MEMORY(p);
    for (t->n_repeats = 0; t->n_repeats < n; t->n_repeats++) {
        zllm_repeat *r = &t->repeats[t->n_repeats];
        r->at = end + bytes_varint(b, t->size);
        r->length = bytes_varint(b, t->size) + 1;
        r->distance = bytes_varint(b, t->size) + 1;
        end = r->at + r->length;
        if (b->bad || r->distance > r->at || end > t->size)
            return DAMAGED(p, "a text frame is damaged: a repeat does not fit it");
        *left -= r->length;
    }
    return ZLLM_OK;
}

static zllm_result read_streams(text_frame_t *t, bytes_t *b, uint64_t left, problem_t *p) {
    const uint64_t more = bytes_varint(b, MAX_STREAMS - 1);
    uint64_t rest = left;
    if (b->bad || more >= left) return DAMAGED(p, "a text frame is damaged: too many streams");
    t->streams = zllm_heap_zeroed(t->heap, (size_t)more + 1, sizeof *t->streams);
    if (t->streams == NULL) return NO_MEMORY(p);
    for (uint64_t i = 0; i < more; i++) {
        t->streams[i].size = (size_t)bytes_varint(b, left);
        if (b->bad || t->streams[i].size == 0 || t->streams[i].size >= rest) return malformed(p);
        rest -= t->streams[i].size;
    }
    t->streams[more].size = (size_t)rest;
    const uint64_t code = bytes_left(b), streams = more + 1;
    if (left > FREE_MODEL_TEXT && code < (left - FREE_MODEL_TEXT + MAX_MODEL_TEXT_RATIO - 1) / MAX_MODEL_TEXT_RATIO)
        return DAMAGED(p, "a text frame is damaged: %llu bytes claim too much text", (unsigned long long)code);
    if (streams > FREE_STREAMS && code < (streams - FREE_STREAMS) * STREAM_CODE)
        return DAMAGED(p, "a text frame is damaged: %llu bytes claim too many streams", (unsigned long long)code);
    t->frame.n_streams = (size_t)streams;
    return ZLLM_OK;
}

/* Where the cuts of the whole text are in what is left: a cut inside a repeat is where the repeat was. Gives how many there
 * are, ascending, none at either end. */
static size_t move_cuts(text_frame_t *t, const uint64_t *cuts, size_t n_cuts, uint64_t left) {
    size_t next = 0, n = 0;
    uint64_t gone = 0;
    for (size_t i = 0; i < n_cuts; i++) {
        while (next < t->n_repeats && t->repeats[next].at + t->repeats[next].length <= cuts[i])
            gone += t->repeats[next++].length;
        const int inside = next < t->n_repeats && t->repeats[next].at <= cuts[i];
        const uint64_t at = (inside ? t->repeats[next].at : cuts[i]) - gone;
        if (at > 0 && at < left && (n == 0 || t->cuts[n - 1] < at)) t->cuts[n++] = at;
    }
    return n;
}

static void share_cuts(text_frame_t *t, size_t n_cuts) {
    uint64_t start = 0;
    size_t cut = 0;
    for (size_t i = 0; i < t->frame.n_streams; i++) {
        zllm_stream *s = &t->streams[i];
        if (cut < n_cuts && t->cuts[cut] == start) cut++;
        s->cuts = t->cuts + cut;
        for (; cut < n_cuts && t->cuts[cut] < start + s->size; cut++, s->n_cuts++) t->cuts[cut] -= start;
        start += s->size;
    }
}

zllm_result zllm_text_open(heap_t *heap, const uint8_t *payload, size_t payload_size, uint8_t *out, size_t size,
                           const uint64_t *cuts, size_t n_cuts, text_frame_t *t, problem_t *p) {
    bytes_t b = bytes_of(payload, payload_size);
    uint64_t left = size;
    *t = (text_frame_t){.heap = heap, .out = out, .size = size};
    if (size > WINDOW) return malformed(p);
    zllm_result rc = read_repeats(t, &b, &left, p);
    if (rc == ZLLM_OK) rc = read_streams(t, &b, left, p);
    if (rc != ZLLM_OK) return rc;
    t->cuts = zllm_heap_take(heap, (n_cuts + 1) * sizeof *t->cuts);
    if (t->n_repeats > 0) t->text = zllm_heap_take(heap, (size_t)left + 1);
    if (t->cuts == NULL || (t->n_repeats > 0 && t->text == NULL)) return NO_MEMORY(p);
    share_cuts(t, move_cuts(t, cuts, n_cuts, left));
    t->frame.streams = t->streams;
    t->frame.data = t->n_repeats > 0 ? t->text : out;
    t->frame.size = (size_t)left;
    t->frame.coded = (uint8_t *)(uintptr_t)(payload + b.at);
    t->frame.coded_size = bytes_left(&b);
    return ZLLM_OK;
}

void zllm_text_finish(text_frame_t *t) {
    const uint8_t *from = t->text;
    size_t at = 0;
    if (t->n_repeats == 0) return;
    for (size_t i = 0; i < t->n_repeats; i++) {
        const zllm_repeat *r = &t->repeats[i];
        const size_t fresh = (size_t)r->at - at;
        if (fresh > 0) memcpy(t->out + at, from, fresh);
        from += fresh;
        at += fresh;
        for (uint64_t k = 0; k < r->length; k++, at++) t->out[at] = t->out[at - (size_t)r->distance]; /* may overlap */
    }
    if (t->size > at) memcpy(t->out + at, from, t->size - at);
}

void zllm_text_free(text_frame_t *t) {
    zllm_heap_free(t->heap, t->repeats);
    zllm_heap_free(t->heap, t->cuts);
    zllm_heap_free(t->heap, t->streams);
    zllm_heap_free(t->heap, t->text);
}
