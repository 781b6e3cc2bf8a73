#include "archive/section.h"

#include "archive/frames.h"

static zllm_result allocate(section_t *s, problem_t *p) {
    const size_t n = s->map.n_frames + 1;
    s->data = zllm_heap_zeroed(s->heap, n, sizeof *s->data);
    s->problems = zllm_heap_zeroed(s->heap, n, sizeof *s->problems);
    return s->data == NULL || s->problems == NULL ? NO_MEMORY(p) : ZLLM_OK;
}

zllm_result zllm_section_open(section_t *s, const decoder_of_frames_t *d, const uint8_t *body, size_t size, problem_t *p) {
    bytes_t b = bytes_of(body, size);
    model_said_t models[MAX_MODELS];
    zllm_result rc = zllm_section_header_read(&b, &s->facts, models, p);
    s->heap = s->map.heap = d->heap;
    if (rc == ZLLM_OK)
        rc = zllm_map_read(s->heap, body + b.at, bytes_left(&b), &s->facts, d->limits, &d->decoding, &s->map, p);
    for (uint32_t i = 0; i < s->facts.n_models && rc == ZLLM_OK; i++)
        rc = zllm_models_name(d->models, &models[i], &s->models[i], p);
    for (size_t i = 0; rc == ZLLM_OK && i < s->map.n_frames; i++) {
        const envelope_t e = zllm_frame_envelope(&s->map.frames[i], s->envelope.number + 1 + i);
        s->frames_size += envelope_whole(&e);
    }
    return rc == ZLLM_OK ? allocate(s, p) : rc;
}

void zllm_section_free(section_t *s) {
    heap_t *heap = s->heap;
    if (heap == NULL) return;
    for (size_t i = 0; i < s->map.n_frames; i++) {
        if (s->data != NULL) zllm_heap_free(heap, s->data[i]);
        if (s->problems != NULL) zllm_heap_free(heap, s->problems[i]);
        if (s->frame_parts != NULL) zllm_heap_free(heap, s->frame_parts[i]);
        if (s->proofs != NULL) zllm_heap_free(heap, s->proofs[i]);
    }
    zllm_heap_free(heap, s->proofs);
    zllm_heap_free(heap, s->trial);
    zllm_heap_free(heap, s->owners);
    zllm_heap_free(heap, s->first_run);
    zllm_heap_free(heap, s->corrected);
    zllm_heap_free(heap, s->data);
    zllm_heap_free(heap, s->problems);
    zllm_heap_free(heap, s->frame_parts);
    zllm_heap_free(heap, s->frame_places);
    zllm_map_free(&s->map);
    *s = (section_t){0};
}

/* Decode frames that are not yet: those of one codec and model, as `like` has; SIZE_MAX: all. */
static zllm_result load(section_t *s, const decoder_of_frames_t *d, size_t like, problem_t *p) {
    const frame_row_t *first = like == SIZE_MAX ? NULL : &s->map.frames[like];
    size_t n = 0, *wanted = zllm_heap_take(s->heap, (s->map.n_frames + 1) * sizeof *wanted);
    if (wanted == NULL) return NO_MEMORY(p);
    for (size_t i = 0; i < s->map.n_frames; i++) {
        const frame_row_t *f = &s->map.frames[i];
        const int other = first != NULL && (f->codec != first->codec || f->slot != first->slot);
        if (!other && s->data[i] == NULL && s->problems[i] == NULL) wanted[n++] = i;
    }
    const zllm_result rc = n > 0 ? zllm_frames_decode(s, d, wanted, n, p) : ZLLM_OK;
    zllm_heap_free(s->heap, wanted);
    return rc;
}

zllm_result zllm_section_load(section_t *s, const decoder_of_frames_t *d, problem_t *p) { return load(s, d, SIZE_MAX, p); }

#define MOST_TRIALS 8u /* damaged frames of one member that are tried together */

/* Whether the data of the piece at a place, some of which a damaged frame gave, may be used. */
static int is_proved(const section_t *s, size_t number, uint64_t piece, int hashed) {
    const size_t first = zllm_map_first_piece(&s->map, s->map.frames[number].start);
    const uint8_t proof = s->proofs[number][zllm_map_first_piece(&s->map, piece) - first];
    return proof == PROOF_GOOD || (hashed && proof == PROOF_OPEN);
}

/* A frame's data, of which that of a piece is wanted. Whoever asks for a second frame is likely to want them all. */
static zllm_result frame(section_t *s, const decoder_of_frames_t *d, size_t number, uint64_t piece, int hashed,
                         const uint8_t **out, problem_t *p) {
    zllm_result rc = ZLLM_OK;
    if (s->trial != NULL && s->trial[number] != NULL) {
        *out = s->trial[number];
        return ZLLM_OK;
    }
    if (s->data[number] == NULL && s->problems[number] == NULL) {
        if (s->n_trials >= MOST_TRIALS) return DAMAGED(p, "too many frames of a member are damaged");
        s->requests++;
        if (s->n_trials > 0) rc = zllm_frames_decode(s, d, &number, 1, p);
        else if (d->everything) rc = load(s, d, SIZE_MAX, p);
        else if (s->requests > 1) rc = load(s, d, number, p);
        else rc = zllm_frames_decode(s, d, &number, 1, p);
        if (rc != ZLLM_OK) return rc;
    }
    const int salvaged = s->data[number] != NULL && s->problems[number] != NULL && s->proofs != NULL &&
                         s->proofs[number] != NULL;
    if (s->data[number] == NULL || (salvaged && !is_proved(s, number, piece, hashed))) {
        *p = *s->problems[number];
        return p->result;
    }
    *out = s->data[number];
    return ZLLM_OK;
}

static size_t frame_with(const map_t *m, uint64_t at) {
    size_t low = 0, high = m->n_frames;
    while (high - low > 1) { /* the last one that begins at or before it */
        const size_t middle = low + (high - low) / 2;
        if (m->frames[middle].start <= at) low = middle;
        else high = middle;
    }
    return low;
}

zllm_result zllm_section_read(section_t *s, const decoder_of_frames_t *d, size_t record, uint64_t offset, uint8_t *out,
                              size_t size, int hashed, problem_t *p) {
    const uint64_t piece = s->map.records[record].piece;
    uint64_t at = piece + offset;
    while (size > 0) {
        const size_t number = frame_with(&s->map, at);
        const frame_row_t *f = &s->map.frames[number];
        const uint8_t *data = NULL;
        const zllm_result rc = frame(s, d, number, piece, hashed, &data, p);
        if (rc != ZLLM_OK) return rc;
        const uint64_t left = f->start + f->data_size - at;
        const size_t part = size < left ? size : (size_t)left;
        memcpy(out, data + (at - f->start), part);
        out += part;
        at += part;
        size -= part;
    }
    return ZLLM_OK;
}
