/* Members and their data. */
#include "archive/archive.h"

zllm_result zllm_archive_at_end(zllm_archive *a) {
    if (a->told.result == ZLLM_OK) return ZLLM_END;
    a->problem = a->told;
    return a->told.result;
}

static zllm_result cut_off(zllm_archive *a) {
    return DAMAGED(&a->problem, "the rest of this member is in a section of the archive that is lost");
}

/* Hashes. */

void zllm_archive_hash_begin(zllm_archive *a, const record_t *r, int fresh) {
    if (fresh) {
        a->hashing = r->sha256 != NULL || archive_goes_on(a, (size_t)(r - a->section.map.records));
        if (a->hashing) zllm_sha256_start(&a->hash);
    }
}

zllm_result zllm_archive_hash_end(zllm_archive *a, const record_t *r) {
    uint8_t found[SHA256_SIZE];
    if (!a->hashing || archive_goes_on(a, (size_t)(r - a->section.map.records))) return ZLLM_OK;
    a->hashing = 0;
    zllm_sha256_end(&a->hash, found);
    if (r->sha256 == NULL || memcmp(found, r->sha256, SHA256_SIZE) == 0) return ZLLM_OK;
    return DAMAGED(&a->problem, "its SHA-256 is not the one stored in the archive");
}

/* The next section, if it goes on where this one ends. */
static zllm_result go_on(zllm_archive *a) {
    const uint64_t end = section_end(&a->section), base = a->section.base;
    const zllm_result rc = zllm_archive_advance(a);
    if (rc == ZLLM_END) return cut_off(a);
    if (rc != ZLLM_OK) return rc;
    const int fits = section_start(&a->section) == end && a->section.base == base;
    return fits && a->section.facts.flags & SECTION_CONTINUED && a->section.map.n_records > 0 ? ZLLM_OK : cut_off(a);
}

/* Members. */

/* The stream is not a tar: all of it is one "member". */
static zllm_result give_raw(zllm_archive *a, zllm_member *out) {
    *out = (zllm_member){.name = "-", .name_size = 1, .link_name = "", .user = "", .group = "", .kind = ZLLM_RAW,
                         .size = ZLLM_UNKNOWN, .mode = 0644};
    a->in_member = a->raw_given = 1;
    a->said = ZLLM_UNKNOWN;
    return ZLLM_OK;
}

static int is_raw(const zllm_archive *a) {
    if (!a->started) return a->ended && a->told.result == ZLLM_OK; /* an empty stream */
    return (a->section.facts.flags & SECTION_OPAQUE) != 0 && a->current == 0;
}

static void note_broken(zllm_archive *a, const record_t *r) {
    problem_t p;
    const int continued = a->section.facts.flags & SECTION_CONTINUED && r == a->section.map.records;
    if (r->data_size == 0 || continued || a->section.facts.flags & SECTION_OPAQUE) return;
    (void)zllm_problem(&p, ZLLM_E_TAR, "the tar stream was broken before it was packed: bytes of no member");
    zllm_problem_note(&a->told, &p);
}

/* A member; *hidden: a later generation deletes it, and it is not given. */
static zllm_result give(zllm_archive *a, size_t record, int *hidden, zllm_member *out) {
    const record_t *r = &a->section.map.records[record];
    const uint64_t place = section_start(&a->section) + r->at;
    const zllm_result rc = zllm_members_read(&a->members, a->section.map.blocks + r->headers_at, r->headers_size, place, out,
                                             &a->problem);
    *hidden = rc == ZLLM_OK && zllm_deletions_hide(&a->deletions, a->section.base, place, out->name, out->name_size);
    if (rc != ZLLM_OK || *hidden) return rc;
    a->in_member = 1;
    a->finished = 0;
    a->reading = record;
    a->record = record + 1;
    a->offset = a->given = 0;
    a->said = out->size;
    zllm_archive_hash_begin(a, r, 1);
    return ZLLM_OK;
}

zllm_result zllm_archive_next(zllm_archive *a, zllm_member *out) {
    *out = (zllm_member){.name = "", .link_name = "", .user = "", .group = ""};
    a->in_member = 0;
    if (!a->started && !a->raw_given) {
        const zllm_result rc = zllm_archive_advance(a);
        if (rc != ZLLM_OK && rc != ZLLM_END) return rc;
        if (is_raw(a)) return give_raw(a, out);
    }
    for (;;) {
        while (a->started && !a->raw_given && a->record < a->section.map.n_records) {
            const record_t *r = &a->section.map.records[a->record];
            int hidden = 0;
            if (r->headers_size > 0) {
                const zllm_result rc = give(a, a->record, &hidden, out);
                if (!hidden) return rc;
            } else note_broken(a, r);
            a->record++;
        }
        const zllm_result rc = zllm_archive_advance(a);
        if (rc == ZLLM_END) return zllm_archive_at_end(a);
        if (rc != ZLLM_OK) return rc;
    }
}

static zllm_result bad_place(zllm_archive *a) {
    return zllm_problem(&a->problem, ZLLM_E_ARGUMENT, "no member that can be reached begins at this place");
}

zllm_result zllm_archive_seek(zllm_archive *a, uint64_t place) {
    a->in_member = 0;
    if (place == 0) return zllm_archive_restart(a);
    if (!a->started || place < section_start(&a->section)) {
        const zllm_result rc = zllm_archive_restart(a);
        if (rc != ZLLM_OK) return rc;
    }
    if (!a->input.input.sequential && a->n_index > 0 && place < a->index[a->n_index - 1].end) {
        size_t number = 0; /* the section is known: it alone is read */
        while (a->index[number].end <= place) number++;
        if (!a->started || a->current != number) {
            const zllm_result rc = zllm_archive_go(a, number);
            if (rc != ZLLM_OK) return rc == ZLLM_END ? bad_place(a) : rc;
        }
    }
    while (!a->started || place >= section_end(&a->section)) {
        const zllm_result rc = zllm_archive_advance(a);
        if (rc != ZLLM_OK) return rc == ZLLM_END ? bad_place(a) : rc;
    }
    for (size_t i = 0; i < a->section.map.n_records; i++) {
        const record_t *r = &a->section.map.records[i];
        if (section_start(&a->section) + r->at != place || r->headers_size == 0) continue;
        a->record = i;
        return ZLLM_OK;
    }
    return bad_place(a);
}

static int is_called(const zllm_member *member, const char *name, size_t size) {
    size_t own = member->name_size;
    while (own > 0 && member->name[own - 1] == '/') own--;
    return member->kind != ZLLM_RAW && own == size && memcmp(member->name, name, size) == 0;
}

/* Look into the sections that may have the name by their filters, if they have some, the last one first. *place stays if
 * none has it. */
static zllm_result find_in_sections(zllm_archive *a, const char *name, size_t size, uint64_t *place) {
    for (size_t i = a->n_index; i-- > 0;) {
        const indexed_t *one = &a->index[i];
        if (one->filter != NULL && !zllm_filter_may_have(one->filter, one->members, one->seed, name, size)) continue;
        const zllm_result rc = zllm_archive_go(a, i);
        if (rc != ZLLM_OK && rc != ZLLM_END) return rc;
        if (a->walked || a->current != i) return ZLLM_OK; /* it is lost, or the directory was wrong */
        for (size_t k = a->section.map.n_records; k-- > 0;) {
            const record_t *r = &a->section.map.records[k];
            zllm_member member;
            const uint64_t at = section_start(&a->section) + r->at;
            if (r->headers_size == 0) continue;
            const zllm_result read = zllm_members_read(&a->members, a->section.map.blocks + r->headers_at, r->headers_size,
                                                       at, &member, &a->problem);
            if (read != ZLLM_OK) return read;
            if (!is_called(&member, name, size)) continue;
            if (!zllm_deletions_hide(&a->deletions, a->section.base, at, name, size)) *place = at;
            return ZLLM_OK;
        }
    }
    return ZLLM_OK;
}

static zllm_result not_there(zllm_archive *a, const char *name) {
    return zllm_problem(&a->problem, ZLLM_E_MISSING, "%s is not in the archive", name);
}

static int has_filters(const zllm_archive *a) {
    for (size_t i = 0; i < a->n_index; i++)
        if (a->index[i].filter != NULL) return 1;
    return 0;
}

zllm_result zllm_archive_find(zllm_archive *a, const char *name, zllm_member *member) {
    uint64_t place = ZLLM_UNKNOWN;
    size_t size = strlen(name);
    while (size > 0 && name[size - 1] == '/') size--;
    if (a->input.input.sequential) return bad_place(a);
    zllm_result rc = has_filters(a) ? find_in_sections(a, name, size, &place) : ZLLM_OK;
    if (rc == ZLLM_OK && place != ZLLM_UNKNOWN) {
        rc = zllm_archive_seek(a, place);
        return rc == ZLLM_OK ? zllm_archive_next(a, member) : rc;
    }
    if (rc == ZLLM_OK && has_filters(a) && a->told.result == ZLLM_OK) return not_there(a, name);
    if (rc == ZLLM_OK) rc = zllm_archive_seek(a, 0);
    if (rc != ZLLM_OK) return rc;
    while ((rc = zllm_archive_next(a, member)) == ZLLM_OK)
        if (is_called(member, name, size)) place = member->place;
    if (rc != ZLLM_END && (place == ZLLM_UNKNOWN || rc != a->told.result)) return rc;
    if (place == ZLLM_UNKNOWN) return not_there(a, name);
    rc = zllm_archive_seek(a, place);
    return rc == ZLLM_OK ? zllm_archive_next(a, member) : rc;
}

/* Data. */

static zllm_result end_member(zllm_archive *a) {
    const zllm_result rc = zllm_archive_hash_end(a, &a->section.map.records[a->reading]);
    a->finished = 1;
    if (rc != ZLLM_OK) return rc;
    if (a->given == a->said) return ZLLM_OK;
    return zllm_problem(&a->problem, ZLLM_E_TAR, "unexpected end of data: the tar stream ends inside this member");
}

zllm_result zllm_archive_read(zllm_archive *a, void *data, size_t *size) {
    uint8_t *out = data;
    const size_t room = *size;
    *size = 0;
    if (!a->in_member) return zllm_problem(&a->problem, ZLLM_E_ARGUMENT, "no member was given");
    if (a->said == ZLLM_UNKNOWN) return zllm_archive_stream(a, data, room, size);
    while (!a->finished) {
        const record_t *r = &a->section.map.records[a->reading];
        if (a->offset == r->data_size) {
            if (!archive_goes_on(a, a->reading)) return end_member(a);
            const zllm_result rc = go_on(a);
            if (rc != ZLLM_OK) return rc;
            a->record = 1;
            continue;
        }
        if (*size == room) break;
        const uint64_t left = r->data_size - a->offset;
        const size_t part = room - *size < left ? room - *size : (size_t)left;
        const zllm_result rc = zllm_section_read(&a->section, &a->decoder, a->reading, a->offset, out + *size, part,
                                                 a->hashing, &a->problem);
        if (rc != ZLLM_OK) return rc;
        if (a->hashing) zllm_sha256_add(&a->hash, out + *size, part);
        a->offset += part;
        a->given += part;
        *size += part;
    }
    return ZLLM_OK;
}
