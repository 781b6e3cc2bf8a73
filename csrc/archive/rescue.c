#include "archive/rescue.h"

#include "archive/task.h"

#define PER_HASHED 32u /* what SHA-256 of a byte costs, in bytes of a fast hash */
#define RUN 32768u
#define STEP ((size_t)64 << 10)
#define LANES 32u

enum { UNKNOWN = PROOF_NONE, GOOD = PROOF_GOOD, BAD = PROOF_OPEN + 1 };

/* What a frame's data may be. */
typedef struct {
    uint8_t *verdicts; /* of the records with data in the frame */
    size_t n, bad, unknown;
} verdict_t;

/* Which record has each piece, and where the hashes of each frame's runs begin. Made when the first frame is damaged. */
static zllm_result make_tables(section_t *s, problem_t *p) {
    const map_t *m = &s->map;
    size_t runs = 0;
    if (s->owners != NULL) return ZLLM_OK;
    s->owners = zllm_heap_zeroed(s->heap, m->n_boundaries + 1, sizeof *s->owners);
    s->first_run = zllm_heap_zeroed(s->heap, m->n_frames + 1, sizeof *s->first_run);
    s->trial = zllm_heap_zeroed(s->heap, m->n_frames + 1, sizeof *s->trial);
    s->proofs = zllm_heap_zeroed(s->heap, m->n_frames + 1, sizeof *s->proofs);
    if (s->owners == NULL || s->first_run == NULL || s->trial == NULL || s->proofs == NULL) return NO_MEMORY(p);
    for (size_t i = 0; i < m->n_records; i++) {
        size_t n;
        if (m->records[i].bucket < 0) continue;
        s->owners[zllm_map_pieces(m, m->records[i].piece, UINT64_MAX, &n) - m->boundaries] = i;
    }
    for (size_t k = 0; k < m->n_frames; k++) {
        const frame_row_t *f = &m->frames[k];
        uint64_t start = f->start;
        size_t n;
        const uint64_t *cuts = zllm_map_pieces(m, f->start + 1, f->start + f->data_size, &n);
        s->first_run[k] = runs;
        for (size_t i = 0; f->hash != NULL && i < n; i++) {
            if (cuts[i] - start < RUN) continue;
            runs++;
            start = cuts[i];
        }
    }
    s->runs_fit = runs * RUN_HASH_SIZE == m->runs_size;
    return ZLLM_OK;
}

static int spans(const section_t *s, size_t record) {
    return (s->facts.flags & SECTION_CONTINUES && record + 1 == s->map.n_records) ||
           (s->facts.flags & SECTION_CONTINUED && record == 0);
}

/* Whether a record's data has its SHA-256; *verdict stays if it has none, or it is not known here. */
static zllm_result prove(section_t *s, const decoder_of_frames_t *d, size_t record, uint8_t *verdict, problem_t *p) {
    const record_t *r = &s->map.records[record];
    uint8_t hash[SHA256_SIZE];
    sha256_t sum;
    problem_t own = {0};
    zllm_result rc = ZLLM_OK;
    if (r->sha256 == NULL || spans(s, record)) return ZLLM_OK;
    if (!zllm_budget_spend(d->budget, 1, (uint64_t)r->data_size * PER_HASHED)) return ZLLM_OK;
    uint8_t *buffer = zllm_heap_take(s->heap, STEP);
    if (buffer == NULL) return NO_MEMORY(p);
    zllm_sha256_start(&sum);
    for (uint64_t at = 0; at < r->data_size && rc == ZLLM_OK; at += STEP) {
        const size_t part = (size_t)lesser(r->data_size - at, STEP);
        rc = zllm_section_read(s, d, record, at, buffer, part, 0, &own);
        if (rc == ZLLM_OK) zllm_sha256_add(&sum, buffer, part);
    }
    zllm_heap_free(s->heap, buffer);
    if (is_general(rc)) {
        *p = own;
        return rc;
    }
    zllm_sha256_end(&sum, hash);
    *verdict = rc == ZLLM_OK && memcmp(hash, r->sha256, sizeof hash) == 0 ? GOOD : BAD;
    return ZLLM_OK;
}

/* Mark the pieces that are in runs whose hashes hold. Pieces and runs are ascending. */
static void prove_runs(const section_t *s, size_t number, const uint8_t *data, const uint64_t *pieces, verdict_t *v) {
    const frame_row_t *f = &s->map.frames[number];
    uint64_t start = f->start;
    size_t run = s->first_run[number], first = 0;
    if (f->hash == NULL || !s->runs_fit) return;
    for (size_t i = 0; i < v->n; i++) {
        uint8_t hash[SHA256_SIZE];
        if (pieces[i] <= f->start || pieces[i] - start < RUN) continue;
        zllm_sha256(data + (start - f->start), (size_t)(pieces[i] - start), hash);
        const int holds = memcmp(hash, s->map.runs + RUN_HASH_SIZE * run++, RUN_HASH_SIZE) == 0;
        for (; first < i; first++)
            if (holds && pieces[first] >= start) v->verdicts[first] = GOOD;
        start = pieces[i];
    }
}

/* Which records with data in the frame are right, if `data` is the frame's. */
static zllm_result judge(section_t *s, const decoder_of_frames_t *d, size_t number, const uint8_t *data, verdict_t *v,
                         problem_t *p) {
    const frame_row_t *f = &s->map.frames[number];
    const map_t *m = &s->map;
    uint8_t hash[SHA256_SIZE];
    zllm_result rc = ZLLM_OK;
    const size_t first = zllm_map_first_piece(m, f->start);
    memset(v->verdicts, UNKNOWN, v->n);
    v->bad = v->unknown = 0;
    if (f->hash != NULL) {
        zllm_sha256(data, f->data_size, hash);
        if (memcmp(hash, f->hash, FRAME_HASH_SIZE) == 0) {
            memset(v->verdicts, GOOD, v->n);
            return ZLLM_OK;
        }
    }
    prove_runs(s, number, data, m->boundaries + first, v);
    s->trial[number] = data;
    s->n_trials++;
    for (size_t i = 0; i < v->n && rc == ZLLM_OK; i++)
        if (v->verdicts[i] == UNKNOWN) rc = prove(s, d, s->owners[first + i], &v->verdicts[i], p);
    s->n_trials--;
    s->trial[number] = NULL;
    for (size_t i = 0; i < v->n; i++) {
        if (v->verdicts[i] == UNKNOWN && f->hash != NULL) v->verdicts[i] = BAD; /* the frame's own hash says so */
        v->bad += v->verdicts[i] == BAD;
        v->unknown += v->verdicts[i] == UNKNOWN;
    }
    return rc;
}

/* What a damaged payload, or one that was cut off, still gives, and zeros. The payload is a copy. */
static void salvage(const section_t *s, const decoder_of_frames_t *d, task_t *t, uint8_t *payload) {
    const frame_row_t *f = &s->map.frames[t->number];
    const zllm_run run = {.lanes = LANES, .cancel = d->decoding.cancel};
    t->payload = payload;
    if (f->codec == CODEC_STORE) memcpy(t->out, payload, lesser(t->payload_size, f->data_size));
    else if (f->codec == CODEC_ZSTD)
        (void)zllm_unpack_zstd_prefix(s->heap, payload, t->payload_size, t->out, f->data_size, &t->problem);
    else if (f->codec == CODEC_LLM) {
        zllm_result rc = zllm_task_start(s, d, t, 1);
        if (t->text.text != NULL) memset(t->text.text, 0, t->text.frame.size);
        if (rc == ZLLM_OK) rc = zllm_job_work(&t->job, 1, 0, &run);
        if (t->job != NULL && !is_general(rc)) rc = ZLLM_OK; /* what came before the damage is right */
        zllm_task_end(t, rc);
    } else {
        if (f->codec == CODEC_CM) payload[0] = ZLLM_ARITHMETIC_VERSION;
        zllm_task_decode(s, d, t, 1);
        if (t->problem.result != ZLLM_OK) memset(t->out, 0, f->data_size);
    }
}

static void tell(const decoder_of_frames_t *d, const char *text) {
    problem_t one;
    (void)zllm_problem(&one, ZLLM_E_DAMAGED, "%s", text);
    zllm_problem_note(d->told, &one);
}

/* Keep the data, of which some records' is right. */
static void keep(section_t *s, task_t *t, verdict_t *v) {
    const size_t first = zllm_map_first_piece(&s->map, s->map.frames[t->number].start);
    for (size_t i = 0; i < v->n; i++)
        if (v->verdicts[i] == BAD) v->verdicts[i] = PROOF_NONE;
        else if (v->verdicts[i] == UNKNOWN && v->bad == 0 && spans(s, s->owners[first + i])) v->verdicts[i] = PROOF_OPEN;
    s->data[t->number] = t->out;
    s->proofs[t->number] = v->verdicts;
    t->out = NULL;
    v->verdicts = NULL;
}

/* Try corrections of one byte. *done: the data is kept. */
static zllm_result correct(section_t *s, const decoder_of_frames_t *d, task_t *t, uint8_t *payload, const fix_t *fixes,
                           size_t n, verdict_t *v, int *done, problem_t *p) {
    const frame_row_t *f = &s->map.frames[t->number];
    size_t maybe = n;
    for (size_t i = 0; i <= n; i++) {
        const size_t one = i < n ? i : maybe; /* in the end once more what may be right, if nothing surely is */
        if (one == n) break;
        t->payload = payload;
        t->problem = (problem_t){0};
        fix_apply(&fixes[one], payload);
        zllm_task_decode(s, d, t, 1);
        zllm_result rc = t->problem.result;
        fix_apply(&fixes[one], payload);
        if (is_general(rc)) {
            *p = t->problem;
            return rc;
        }
        if (rc != ZLLM_OK) continue;
        rc = judge(s, d, t->number, t->out, v, p);
        if (rc != ZLLM_OK) return rc;
        if (v->bad > 0) continue;
        if (v->unknown > 0 && i < n) {
            maybe = maybe < n ? maybe : i;
            continue;
        }
        tell(d, v->unknown == 0 ? "one byte of a frame was wrong and is corrected, nothing is lost"
                                : "one byte of a frame was wrong and is corrected, as far as members that are read whole "
                                  "prove it");
        keep(s, t, v);
        *done = 1;
        return ZLLM_OK;
    }
    memset(t->out, 0, f->data_size);
    return ZLLM_OK;
}

static zllm_result salvage_and_keep(section_t *s, const decoder_of_frames_t *d, task_t *t, uint8_t *payload, verdict_t *v,
                                    problem_t *p) {
    t->problem = (problem_t){0};
    salvage(s, d, t, payload);
    if (is_general(t->problem.result)) {
        *p = t->problem;
        return p->result;
    }
    const zllm_result rc = judge(s, d, t->number, t->out, v, p);
    if (rc != ZLLM_OK) return rc;
    if (v->bad + v->unknown == 0) tell(d, "a frame is damaged, but all members in it are whole: nothing is lost");
    v->bad += v->unknown; /* nothing that is not proved */
    keep(s, t, v);
    return ZLLM_OK;
}

static zllm_result rescue(section_t *s, const decoder_of_frames_t *d, task_t *t, verdict_t *v, uint8_t **payload,
                          problem_t *p) {
    const frame_row_t *f = &s->map.frames[t->number];
    const size_t first = zllm_map_first_piece(&s->map, f->start);
    uint8_t known[FRAME_FRONT];
    const uint8_t *part;
    fix_t fixes[MOST_FIXES];
    size_t got, front, end;
    int done = 0;
    zllm_result rc = zllm_task_part(s, d, t, zllm_task_offset(s, t->number), &part, &got, known, &front);
    if (rc == ZLLM_OK && got > front) rc = zllm_task_room(s, t);
    if (rc != ZLLM_OK) *p = t->problem;
    if (rc != ZLLM_OK || got <= front) return rc;
    const uint64_t *behind = zllm_map_pieces(&s->map, f->start + f->data_size, UINT64_MAX, &end);
    v->n = (size_t)(behind - s->map.boundaries) - first;
    v->verdicts = zllm_heap_take(s->heap, v->n + 1);
    *payload = zllm_heap_zeroed(s->heap, (size_t)f->payload_size + 1, 1);
    if (v->verdicts == NULL || *payload == NULL) return NO_MEMORY(p);
    memcpy(*payload, part + front, lesser(got - front, f->payload_size));
    if (got == front + f->payload_size + CHECK_SIZE) {
        const size_t n = zllm_repair_body(s->seed, known, front, part + front, got - front, d->budget, fixes);
        rc = correct(s, d, t, *payload, fixes, n, v, &done, p);
    } else t->payload_size = (size_t)lesser(got - front, f->payload_size);
    return rc == ZLLM_OK && !done ? salvage_and_keep(s, d, t, *payload, v, p) : rc;
}

zllm_result zllm_frame_rescue(section_t *s, const decoder_of_frames_t *d, size_t number, const problem_t *damage,
                              problem_t *p) {
    task_t t = {.number = number};
    verdict_t v = {0};
    uint8_t *payload = NULL;
    problem_t *kept = zllm_heap_take(s->heap, sizeof *kept);
    zllm_result rc = kept == NULL ? NO_MEMORY(p) : make_tables(s, p);
    if (rc == ZLLM_OK) rc = rescue(s, d, &t, &v, &payload, p);
    zllm_task_free(s, &t);
    zllm_heap_free(s->heap, t.out);
    zllm_heap_free(s->heap, v.verdicts);
    zllm_heap_free(s->heap, payload);
    if (rc != ZLLM_OK) {
        zllm_heap_free(s->heap, kept);
        return rc;
    }
    *kept = *damage;
    s->problems[number] = kept;
    return ZLLM_OK;
}
