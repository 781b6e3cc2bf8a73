#include "archive/search.h"
#include "archive/walk.h"

#define MISSING "the archive is damaged: parts of it are missing"

typedef struct {
    walk_t *w;
    zllm_result rc;
    problem_t *p;
} proving_t;

/* Whether the checksum of the part that begins here holds with that envelope. */
static int is_proved(void *context, const envelope_t *e) {
    proving_t *c = context;
    walk_t *w = c->w;
    const uint8_t *data;
    uint8_t known[MAX_ENVELOPE];
    size_t got;
    if (e->length > MAX_PAYLOAD || !zllm_budget_spend(w->decoder->budget, 1, envelope_whole(e))) return 0;
    c->rc = zllm_input_peek(w->input, envelope_whole(e), &data, &got, c->p);
    if (c->rc != ZLLM_OK) return -1;
    const size_t front = zllm_envelope_write(e, w->seed, known);
    return got == envelope_whole(e) && zllm_part_holds(w->seed, known, front, data + front, got - front);
}

int zllm_walk_repaired(walk_t *w, const uint8_t *data, size_t size, envelope_t *e, zllm_result *rc, problem_t *p) {
    proving_t context = {w, ZLLM_OK, p};
    const int found = zllm_repair_envelope(data, size, w->seed, w->next, is_proved, &context, w->decoder->budget, e);
    *rc = context.rc;
    if (found > 0)
        zllm_walk_note(w, ZLLM_E_DAMAGED,
                       "the archive is damaged: of an envelope one byte was wrong and is corrected, nothing is lost");
    return found;
}

/* All frames of a section are where the map says if a part with the right number is behind them. */
static zllm_result find_frames(walk_t *w, section_t *s, int *found, problem_t *p) {
    const uint8_t *data;
    envelope_t e;
    size_t got;
    zllm_result rc = zllm_input_look(w->input, s->frames_size, MAX_ENVELOPE, &data, &got, p);
    if (rc != ZLLM_OK) return rc;
    *found = zllm_envelope_read(data, got, &w->seed, &e) && e.number == s->envelope.number + 1 + s->map.n_frames;
    if (!*found) return ZLLM_OK;
    s->exact = 1;
    s->frames_at = w->input->position;
    w->next = e.number;
    if (!w->input->input.sequential) return zllm_input_skip(w->input, s->frames_size, NULL, p);
    w->held = s->frames_size;
    return zllm_input_peek(w->input, s->frames_size, &s->block, &got, p);
}

static zllm_result take_frame(walk_t *w, section_t *s, const envelope_t *e, problem_t *p) {
    const size_t i = (size_t)(e->number - s->envelope.number - 1);
    const envelope_t due = zllm_frame_envelope(&s->map.frames[i], e->number);
    const uint64_t whole = envelope_whole(e);
    if (e->number > w->next) zllm_walk_note(w, ZLLM_E_DAMAGED, MISSING);
    w->next = e->number + 1;
    if (envelope_whole(&due) == whole && w->input->input.sequential) {
        const uint8_t *data;
        size_t got;
        zllm_result rc = zllm_input_peek(w->input, whole, &data, &got, p);
        if (rc != ZLLM_OK) return rc;
        if (s->frame_parts[i] == NULL) {
            s->frame_parts[i] = zllm_heap_take(w->heap, got + 1);
            if (s->frame_parts[i] == NULL) return NO_MEMORY(p);
            memcpy(s->frame_parts[i], data, got);
            if (got < whole) { /* the archive was cut off here */
                s->cut_frame = i;
                s->cut_size = got;
            }
        }
    } else if (envelope_whole(&due) == whole) s->frame_places[i] = w->input->position;
    return zllm_input_skip(w->input, whole, NULL, p);
}

/* Frames one by one, for they are not where they should be. */
static zllm_result find_each_frame(walk_t *w, section_t *s, problem_t *p) {
    const uint8_t *data;
    envelope_t e;
    size_t got;
    s->frame_places = zllm_heap_zeroed(w->heap, s->map.n_frames + 1, sizeof *s->frame_places);
    s->frame_parts = zllm_heap_zeroed(w->heap, s->map.n_frames + 1, sizeof *s->frame_parts);
    if (s->frame_places == NULL || s->frame_parts == NULL) return NO_MEMORY(p);
    while (w->next < w->last_frame) {
        zllm_result rc = zllm_input_peek(w->input, MAX_ENVELOPE, &data, &got, p);
        if (rc != ZLLM_OK || got == 0) return rc;
        if (got >= FILE_MAGIC_SIZE && memcmp(data, zllm_file_magic, FILE_MAGIC_SIZE) == 0) break;
        const int repaired = zllm_envelope_read(data, got, &w->seed, &e) ? 1 : zllm_walk_repaired(w, data, got, &e, &rc, p);
        if (repaired < 0) return rc;
        if (repaired == 0) {
            rc = zllm_input_peek(w->input, MAX_ENVELOPE, &data, &got, p);
            if (rc != ZLLM_OK || zllm_envelope_is_cut(data, got)) return rc;
            zllm_walk_note(w, ZLLM_E_DAMAGED, "the archive is damaged: there is no part where one should be");
            rc = zllm_search_part(w->input, w->seed, w->next, &w->tries, p);
        } else if (e.kind == KIND_FRAME && !(e.flags & FLAGS_REJECT) && e.number >= w->next && e.number < w->last_frame) {
            rc = take_frame(w, s, &e, p);
        } else break;
        if (rc != ZLLM_OK) return rc;
    }
    return ZLLM_OK;
}

zllm_result zllm_walk_frames(walk_t *w, section_t *s, problem_t *p) {
    int found = 1;
    w->last_frame = s->envelope.number + 1 + s->map.n_frames;
    w->orphans = 0;
    if (s->map.n_frames == 0) {
        s->exact = 1;
        return ZLLM_OK;
    }
    const zllm_result rc = find_frames(w, s, &found, p);
    return rc == ZLLM_OK && !found ? find_each_frame(w, s, p) : rc;
}
