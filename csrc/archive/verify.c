/* Checking all of an archive, and what it needs. */
#include "archive/archive.h"

#define STEP ((size_t)64 << 10)

typedef struct {
    zllm_archive *a;
    zllm_report report;
    void *context;
    uint8_t *buffer;
    problem_t worst;
    char *name;     /* of the member whose data is looked at */
    uint64_t next;  /* where the data of a member that spans sections goes on; 0: there is none */
    int failed;     /* it was told of already */
} checking_t;

static void tell(checking_t *c, const char *member, const problem_t *p) {
    zllm_problem_note(&c->worst, p);
    if (c->report != NULL) c->report(c->context, member, p->result, p->text);
}

static int is_hard(zllm_result rc) { return rc == ZLLM_E_MEMORY || rc == ZLLM_E_INPUT || rc == ZLLM_E_CANCELLED; }

static zllm_result keep_name(checking_t *c, const record_t *r) {
    zllm_archive *a = c->a;
    zllm_member member;
    const zllm_result rc = zllm_members_read(&a->members, a->section.map.blocks + r->headers_at, r->headers_size,
                                             section_start(&a->section) + r->at, &member, &a->problem);
    if (rc != ZLLM_OK) return rc;
    zllm_heap_free(a->heap, c->name);
    c->name = zllm_heap_take(a->heap, member.name_size + 1);
    if (c->name == NULL) return NO_MEMORY(&a->problem);
    memcpy(c->name, member.name, member.name_size + 1);
    c->failed = 0;
    return ZLLM_OK;
}

static zllm_result check_data(checking_t *c, size_t number) {
    zllm_archive *a = c->a;
    const record_t *r = &a->section.map.records[number];
    const uint64_t start = section_start(&a->section) + r->at + r->headers_size;
    const int continued = number == 0 && a->section.facts.flags & SECTION_CONTINUED;
    const int known = !continued || c->next == start;
    zllm_archive_hash_begin(a, r, !continued);
    c->next = 0;
    for (uint64_t offset = 0; offset < r->data_size; offset += STEP) {
        const size_t part = (size_t)lesser(r->data_size - offset, STEP);
        const zllm_result rc = zllm_section_read(&a->section, &a->decoder, number, offset, c->buffer, part, known,
                                                 &a->problem);
        if (rc != ZLLM_OK) return rc;
        if (a->hashing && known) zllm_sha256_add(&a->hash, c->buffer, part);
    }
    if (archive_goes_on(a, number)) c->next = known ? start + r->data_size : 0;
    return known ? zllm_archive_hash_end(a, r) : ZLLM_OK;
}

static zllm_result check_section(checking_t *c) {
    zllm_archive *a = c->a;
    for (size_t i = 0; i < a->section.map.n_records; i++) {
        const record_t *r = &a->section.map.records[i];
        zllm_result rc = r->headers_size > 0 ? keep_name(c, r) : ZLLM_OK;
        if (rc != ZLLM_OK) return rc;
        if (r->data_size == 0) continue;
        rc = check_data(c, i);
        if (is_hard(rc)) return rc;
        if (rc != ZLLM_OK && !c->failed) {
            tell(c, c->name, &a->problem);
            c->failed = 1;
        }
    }
    return ZLLM_OK;
}

static zllm_result check_models(checking_t *c) {
    zllm_archive *a = c->a;
    for (const embedded_t *e = a->models.embedded; e != NULL; e = e->next) {
        uint8_t *data;
        const zllm_result rc = zllm_models_unpack(&a->models, e, &data, &a->problem);
        zllm_heap_free(a->heap, data);
        if (is_hard(rc)) return rc;
        if (rc != ZLLM_OK) tell(c, NULL, &a->problem);
    }
    return ZLLM_OK;
}

/* The filter of a section is believed when a member is looked for. */
static zllm_result check_names(checking_t *c) {
    zllm_archive *a = c->a;
    const section_t *s = &a->section;
    const indexed_t *i = a->input.input.sequential ? NULL : &a->index[a->current];
    for (size_t k = 0; k < s->map.n_records && i != NULL && i->filter != NULL; k++) {
        const record_t *r = &s->map.records[k];
        zllm_member member;
        problem_t one;
        if (r->headers_size == 0) continue;
        const zllm_result rc = zllm_members_read(&a->members, s->map.blocks + r->headers_at, r->headers_size,
                                                 section_start(s) + r->at, &member, &a->problem);
        if (rc != ZLLM_OK) return rc;
        size_t size = member.name_size;
        while (size > 0 && member.name[size - 1] == '/') size--;
        if (zllm_filter_may_have(i->filter, i->members, i->seed, member.name, size)) continue;
        (void)DAMAGED(&one, "the archive is damaged: the directory denies names of members that are there");
        zllm_problem_note(&a->told, &one);
        break;
    }
    return ZLLM_OK;
}

/* Parts that are not used, of an input that is not a pipe. */
static zllm_result check_others(checking_t *c) {
    zllm_archive *a = c->a;
    for (size_t i = 0; i < a->n_others; i++) {
        const other_place_t *o = &a->others[i];
        uint8_t known[MAX_ENVELOPE], stored[CHECK_SIZE];
        part_check_t check;
        size_t got = 1;
        zllm_result rc = ZLLM_OK;
        problem_t one;
        zllm_part_check_start(&check, o->seed);
        zllm_part_check_add(&check, known, zllm_envelope_write(&o->envelope, o->seed, known));
        const uint64_t body = o->place + envelope_size(&o->envelope);
        for (uint64_t at = 0; at < o->envelope.length && rc == ZLLM_OK && got > 0; at += got) {
            const size_t part = (size_t)lesser(o->envelope.length - at, STEP);
            rc = zllm_input_at(&a->input, body + at, c->buffer, part, &got, &a->problem);
            if (rc == ZLLM_OK) zllm_part_check_add(&check, c->buffer, got);
        }
        if (rc == ZLLM_OK)
            rc = zllm_input_at(&a->input, body + o->envelope.length, stored, sizeof stored, &got, &a->problem);
        if (rc != ZLLM_OK) return rc;
        if (got == sizeof stored && zllm_part_check_end(&check) == little32(stored)) continue;
        (void)DAMAGED(&one, "a part that this program does not use is damaged: its checksum does not match");
        zllm_problem_note(&a->told, &one);
    }
    return ZLLM_OK;
}

static zllm_result check_all(checking_t *c) {
    zllm_archive *a = c->a;
    zllm_result rc;
    while ((rc = zllm_archive_advance(a)) == ZLLM_OK) {
        rc = zllm_section_load(&a->section, &a->decoder, &a->problem);
        if (rc == ZLLM_OK) rc = check_section(c);
        if (rc == ZLLM_OK) rc = check_names(c);
        if (rc != ZLLM_OK) return rc;
    }
    if (rc != ZLLM_END) return rc;
    rc = check_models(c);
    if (rc == ZLLM_OK) rc = check_others(c);
    if (rc == ZLLM_OK && a->told.result != ZLLM_OK) tell(c, NULL, &a->told);
    return rc;
}

zllm_result zllm_archive_verify(zllm_archive *a, zllm_report report, void *context) {
    checking_t c = {.a = a, .report = report, .context = context};
    zllm_result rc = zllm_archive_restart(a);
    if (rc != ZLLM_OK) return rc;
    a->walk.verify = 1;
    c.buffer = zllm_heap_take(a->heap, STEP);
    rc = c.buffer == NULL ? NO_MEMORY(&a->problem) : check_all(&c);
    zllm_heap_free(a->heap, c.buffer);
    zllm_heap_free(a->heap, c.name);
    if (rc == ZLLM_OK && c.worst.result != ZLLM_OK) a->problem = c.worst;
    return rc == ZLLM_OK ? c.worst.result : rc;
}

/* Go through all sections. */
static zllm_result pass_all(zllm_archive *a, uint64_t *codecs) {
    if (a->input.input.sequential)
        return zllm_problem(&a->problem, ZLLM_E_ARGUMENT, "a pipe cannot be read backwards");
    zllm_result rc = zllm_archive_restart(a);
    while (rc == ZLLM_OK && (rc = zllm_archive_advance(a)) == ZLLM_OK)
        for (size_t i = 0; i < a->section.map.n_frames; i++)
            *codecs |= a->section.map.frames[i].codec < 64 ? (uint64_t)1 << a->section.map.frames[i].codec : 0;
    if (rc != ZLLM_END) return rc;
    return zllm_archive_restart(a);
}

zllm_result zllm_archive_model(zllm_archive *a, size_t i, zllm_model_ref *model) {
    uint64_t codecs = 0;
    if (a->input.input.sequential) return pass_all(a, &codecs);
    const known_model_t *k = a->models.known;
    while (k != NULL && i > 0) {
        k = k->next;
        i--;
    }
    if (k == NULL) return ZLLM_END;
    *model = k->ref;
    return ZLLM_OK;
}

zllm_result zllm_archive_codecs(zllm_archive *a, uint64_t *codecs) {
    *codecs = 0;
    return pass_all(a, codecs);
}

void zllm_hash(const void *data, size_t size, uint8_t sha256[32]) { zllm_sha256(data, size, sha256); }
