#include "archive/task.h"

#define LANES 32u /* streams that a thread decodes at once */
#define MOST_OF_UNIT 32u
#define ENDS "the archive ends before a frame that this member needs, or the frame is lost"

/* Where documents start inside a frame. */
static zllm_result find_cuts(const section_t *s, task_t *t) {
    const frame_row_t *f = &s->map.frames[t->number];
    size_t n;
    const uint64_t *cuts = zllm_map_pieces(&s->map, f->start + 1, f->start + f->data_size, &n);
    t->cuts = zllm_heap_take(s->heap, (n + 1) * sizeof *t->cuts);
    if (t->cuts == NULL) return NO_MEMORY(&t->problem);
    for (size_t i = 0; i < n; i++) /* two pieces never begin at one place: they have data */
        t->cuts[t->n_cuts++] = cuts[i] - f->start;
    return ZLLM_OK;
}

/* A frame's part, wherever it is; *got is less than `whole` if not all of it is there, 0 if it is lost. */
static zllm_result fetch(section_t *s, const decoder_of_frames_t *d, task_t *t, uint64_t offset, size_t whole,
                         const uint8_t **part, size_t *got) {
    *got = whole;
    if (s->exact && s->block != NULL) {
        *part = s->block + offset;
        return ZLLM_OK;
    }
    if (!s->exact && s->frame_parts != NULL && s->frame_parts[t->number] != NULL) {
        *part = s->frame_parts[t->number];
        if (s->cut_size > 0 && s->cut_frame == t->number) *got = s->cut_size;
        return ZLLM_OK;
    }
    const uint64_t place = s->exact ? s->frames_at + offset : s->frame_places == NULL ? 0 : s->frame_places[t->number];
    *got = 0;
    if (place == 0) return ZLLM_OK;
    t->room = zllm_heap_take(s->heap, whole);
    if (t->room == NULL) return NO_MEMORY(&t->problem);
    *part = t->room;
    return zllm_input_at(d->input, place, t->room, whole, got, &t->problem);
}

uint64_t zllm_task_offset(const section_t *s, size_t number) {
    uint64_t offset = 0;
    for (size_t i = 0; i < number; i++) {
        const envelope_t e = zllm_frame_envelope(&s->map.frames[i], s->envelope.number + 1 + i);
        offset += envelope_whole(&e);
    }
    return offset;
}

zllm_result zllm_task_part(section_t *s, const decoder_of_frames_t *d, task_t *t, uint64_t offset, const uint8_t **part,
                           size_t *got, uint8_t known[FRAME_FRONT], size_t *front) {
    const frame_row_t *f = &s->map.frames[t->number];
    const envelope_t e = zllm_frame_envelope(f, s->envelope.number + 1 + t->number);
    size_t size = zllm_envelope_write(&e, s->seed, known);
    known[size++] = f->codec;
    known[size++] = f->slot;
    size += varint_put(known + size, f->data_size);
    *front = size;
    t->payload_size = f->payload_size;
    return fetch(s, d, t, offset, (size_t)envelope_whole(&e), part, got);
}

zllm_result zllm_task_room(const section_t *s, task_t *t) {
    const frame_row_t *f = &s->map.frames[t->number];
    t->out = zllm_heap_zeroed(s->heap, f->data_size, 1);
    if (t->out == NULL) return NO_MEMORY(&t->problem);
    return f->codec == CODEC_LLM || f->codec == CODEC_CM ? find_cuts(s, t) : ZLLM_OK;
}

void zllm_task_free(const section_t *s, task_t *t) {
    zllm_heap_free(s->heap, t->room);
    zllm_heap_free(s->heap, t->cuts);
    t->room = NULL;
    t->cuts = NULL;
    t->n_cuts = 0;
}

static zllm_result check_codec(const section_t *s, const decoder_of_frames_t *d, const frame_row_t *f, problem_t *p) {
    known_model_t *model;
    if (f->slot > s->facts.n_models)
        return DAMAGED(p, "a section is damaged: a frame needs a model that the section does not name");
    if (f->codec > CODEC_REBUILD)
        return zllm_problem(p, ZLLM_E_MISSING,
                            "codec %u is not known to this library: unpack the archive with zllm, or a newer library",
                            f->codec);
    if (f->data_size > d->limits->frame_bytes)
        return zllm_problem(p, ZLLM_E_LIMIT, "a frame has more bytes than the limit that was set");
    if (f->codec != CODEC_LLM) return ZLLM_OK;
    if (f->slot == 0) return zllm_problem(p, ZLLM_E_VERSION, "frames of text do not say which model they need");
    model = s->models[f->slot - 1];
    return zllm_models_load(d->models, model, p);
}

void zllm_task_prepare(section_t *s, const decoder_of_frames_t *d, task_t *t, uint64_t offset) {
    const frame_row_t *f = &s->map.frames[t->number];
    uint8_t known[FRAME_FRONT];
    const uint8_t *part = NULL;
    size_t got, front;
    if (check_codec(s, d, f, &t->problem) != ZLLM_OK) return;
    if (zllm_task_part(s, d, t, offset, &part, &got, known, &front) != ZLLM_OK) return;
    const size_t whole = front + f->payload_size + CHECK_SIZE;
    t->damaged = 1;
    if (got < whole) {
        (void)DAMAGED(&t->problem, ENDS);
        return;
    }
    if (!zllm_part_holds(s->seed, known, front, part + front, whole - front)) {
        (void)DAMAGED(&t->problem, "a frame is damaged: its checksum does not match");
        return;
    }
    t->damaged = 0;
    if (memcmp(known, part, front) != 0) {
        problem_t harmless;
        (void)zllm_problem(&harmless, ZLLM_E_DAMAGED,
                           "the header of a frame is damaged: the section has it, nothing is lost");
        zllm_problem_note(d->told, &harmless);
    }
    t->payload = part + front;
    (void)zllm_task_room(s, t);
}

/* Decode a frame of any codec but llm. */
static void decode_plain(const section_t *s, const decoder_of_frames_t *d, task_t *t) {
    const frame_row_t *f = &s->map.frames[t->number];
    const size_t size = t->payload_size;
    problem_t *p = &t->problem;
    if (f->codec == CODEC_CM)
        (void)zllm_unpack_cm(&d->decoding, t->payload, size, t->out, f->data_size, t->cuts, t->n_cuts, 1, "a text frame", p);
    else (void)zllm_unpack_alone(&d->decoding, s->heap, f->codec, t->payload, size, t->out, f->data_size, p);
}

zllm_result zllm_task_start(const section_t *s, const decoder_of_frames_t *d, task_t *t, uint32_t threads) {
    const frame_row_t *f = &s->map.frames[t->number];
    const known_model_t *model = s->models[f->slot - 1];
    zllm_result rc = zllm_text_open(s->heap, t->payload, t->payload_size, t->out, f->data_size, t->cuts, t->n_cuts, &t->text,
                                    &t->problem);
    if (rc != ZLLM_OK) return rc;
    t->threads = threads < t->text.frame.n_streams ? threads : (uint32_t)t->text.frame.n_streams;
    rc = zllm_job_new(model->model, &t->text.frame, model->start, t->threads, 1, d->decoding.options, &t->job);
    return zllm_problem_of_coder(rc, "a text frame", &t->problem);
}

void zllm_task_end(task_t *t, zllm_result rc) {
    if (t->problem.result == ZLLM_OK && zllm_problem_of_coder(rc, "a text frame", &t->problem) == ZLLM_OK)
        zllm_text_finish(&t->text);
    zllm_job_free(t->job);
    t->job = NULL;
    zllm_text_free(&t->text);
    t->text = (text_frame_t){.heap = t->text.heap};
}

/* Text of several frames, one job each, by this thread. If one of them fails, each is decoded by itself. */
static void decode_texts(const section_t *s, const decoder_of_frames_t *d, task_t *tasks, size_t n) {
    const zllm_run run = {.lanes = LANES, .cancel = d->decoding.cancel};
    zllm_job *jobs[MOST_OF_UNIT];
    size_t made = 0;
    zllm_result rc = ZLLM_OK;
    for (size_t i = 0; i < n; i++)
        if (tasks[i].problem.result == ZLLM_OK && zllm_task_start(s, d, &tasks[i], 1) == ZLLM_OK)
            jobs[made++] = tasks[i].job;
    if (made > 0) rc = zllm_job_work(jobs, made, 0, &run);
    const int again = made > 1 && rc != ZLLM_OK && !is_general(rc);
    for (size_t i = 0; i < n; i++) {
        if (tasks[i].text.heap == NULL) continue;
        zllm_task_end(&tasks[i], again && tasks[i].problem.result == ZLLM_OK ? ZLLM_OK : rc);
        if (again && tasks[i].problem.result == ZLLM_OK) decode_texts(s, d, &tasks[i], 1);
    }
}

void zllm_task_decode(const section_t *s, const decoder_of_frames_t *d, task_t *tasks, size_t n) {
    if (s->map.frames[tasks->number].codec == CODEC_LLM) decode_texts(s, d, tasks, n);
    else if (tasks->problem.result == ZLLM_OK) decode_plain(s, d, tasks);
}
