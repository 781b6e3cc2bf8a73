/* Notes. */
#include "archive/archive.h"

#define MAX_TEXT 255u

static zllm_result malformed(zllm_archive *a) { return DAMAGED(&a->problem, "a note is damaged"); }

/* A text of the body, copied to `out` with a NUL behind it. */
static void take_text(bytes_t *b, char out[MAX_TEXT + 1]) {
    const size_t size = (size_t)bytes_varint(b, MAX_TEXT);
    const uint8_t *text = bytes_take(b, size);
    if (text != NULL) memcpy(out, text, size);
    out[text != NULL ? size : 0] = 0;
}

static zllm_result read_note(zllm_archive *a, const other_place_t *place, zllm_note *out) {
    const envelope_t *e = &place->envelope;
    const uint64_t whole = envelope_whole(e);
    const size_t front = envelope_size(e);
    size_t got;
    if (whole > a->input.input.size) return malformed(a);
    zllm_heap_free(a->heap, a->note);
    a->note = zllm_heap_take(a->heap, (size_t)whole + 2 * (MAX_TEXT + 1));
    if (a->note == NULL) return NO_MEMORY(&a->problem);
    char *texts = (char *)a->note + whole;
    const zllm_result rc = zllm_input_at(&a->input, place->place, a->note, (size_t)whole, &got, &a->problem);
    if (rc != ZLLM_OK) return rc;
    if (got < whole || !zllm_part_holds(place->seed, a->note, front, a->note + front, got - front)) return malformed(a);
    bytes_t b = bytes_of(a->note + front, (size_t)e->length);
    take_text(&b, texts);
    take_text(&b, texts + MAX_TEXT + 1);
    if (b.bad) return malformed(a);
    *out = (zllm_note){.name = texts, .media_type = texts + MAX_TEXT + 1, .data = b.data + b.at, .size = bytes_left(&b)};
    return ZLLM_OK;
}

zllm_result zllm_archive_note(zllm_archive *a, size_t i, zllm_note *note) {
    *note = (zllm_note){.name = "", .media_type = ""};
    if (a->input.input.sequential)
        return zllm_problem(&a->problem, ZLLM_E_ARGUMENT, "notes are read from a file, not from a pipe");
    for (size_t k = 0; k < a->n_others; k++)
        if (a->others[k].envelope.kind == KIND_NOTE && i-- == 0) return read_note(a, &a->others[k], note);
    return ZLLM_END;
}
