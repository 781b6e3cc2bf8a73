/* What a pipe's directories delete: members that have been given by then, unless others of the same names came with it. */
#include <stdlib.h>

#include "archive/archive.h"

static uint64_t hash_of(const char *name, size_t size) {
    while (size > 0 && name[size - 1] == '/') size--;
    return zllm_xxh3(name, size, 0);
}

zllm_result zllm_names_add(zllm_archive *a) {
    const map_t *m = &a->section.map;
    if (a->n_names + m->members > a->names_room) {
        const size_t room = 2 * a->names_room + (size_t)m->members + 16;
        uint64_t *more = zllm_heap_zeroed(a->heap, room, sizeof *more);
        if (more == NULL) return NO_MEMORY(&a->problem);
        if (a->n_names > 0) memcpy(more, a->names, a->n_names * sizeof *more);
        zllm_heap_free(a->heap, a->names);
        a->names = more;
        a->names_room = room;
    }
    for (size_t i = 0; i < m->n_records; i++) {
        const record_t *r = &m->records[i];
        zllm_member member;
        if (r->headers_size == 0) continue;
        const zllm_result rc = zllm_members_read(&a->members, m->blocks + r->headers_at, r->headers_size,
                                                 section_start(&a->section) + r->at, &member, &a->problem);
        if (rc != ZLLM_OK) return rc;
        a->names[a->n_names++] = hash_of(member.name, member.name_size);
    }
    return ZLLM_OK;
}

static int ascending(const void *first, const void *second) {
    const uint64_t a = *(const uint64_t *)first, b = *(const uint64_t *)second;
    return (a > b) - (a < b);
}

zllm_result zllm_names_compare(void *archive, const directory_t *d, uint64_t offset, const envelope_t *e, int exact,
                               problem_t *p) {
    zllm_archive *a = archive;
    bytes_t names = d->deleted;
    int gone = 0;
    (void)offset, (void)e, (void)exact, (void)p;
    if (a->n_names > 1) qsort(a->names, a->n_names, sizeof *a->names, ascending);
    for (uint64_t i = 0; i < d->n_deleted && !gone; i++) {
        size_t size;
        const uint8_t *name = zllm_directory_name(&names, &size);
        const uint64_t hash = hash_of((const char *)name, size);
        gone = a->n_names == 0 || bsearch(&hash, a->names, a->n_names, sizeof *a->names, ascending) == NULL;
    }
    if (d->n_deleted > a->walk.settled.members)
        zllm_walk_note(&a->walk, ZLLM_E_DAMAGED, "the directory is damaged: it deletes more members than there are");
    else if (gone)
        zllm_walk_note(&a->walk, ZLLM_E_VERSION,
                       "members that have come were deleted later, which a pipe cannot know beforehand: read the archive "
                       "from a file to have it without them");
    a->n_names = 0;
    a->walk.stop = a->wants_generation && d->generation == a->generation;
    return ZLLM_OK;
}
