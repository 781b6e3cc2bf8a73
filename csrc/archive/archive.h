/* An archive that is open: where it comes from, and where reading is. */
#ifndef ZLLM_OPEN_ARCHIVE_H
#define ZLLM_OPEN_ARCHIVE_H

#include "archive/member.h"
#include "archive/walk.h"

/* A section that was found, in an input that is not a pipe: it can be read again. */
typedef struct {
    uint64_t place, base, start, end;
    uint32_t seed;
    envelope_t envelope;
    int exact;
    uint64_t frames_at, frames_size;
    uint64_t *frame_places; /* if not exact */
} indexed_t;

struct zllm_archive {
    heap_t *heap;
    zllm_options memory;
    zllm_limits limits;
    input_t input;
    int file;               /* of zllm_archive_open; -1 */
    const uint8_t *data;    /* of zllm_archive_open_memory */
    models_t models;
    decoder_of_frames_t decoder;
    walk_t walk;
    problem_t told;         /* of the archive as a whole */
    problem_t problem;      /* of the last call */
    members_t members;
    indexed_t *index;
    size_t n_index, index_room, current; /* `current` is the number of the section, from 0 */
    section_t section;
    int started, ended;     /* there is a section; there is none behind it */
    size_t record;          /* the next one to look at */
    /* The data that is read. */
    int in_member, raw_given; /* the latter: the only member of a stream that is not a tar was given */
    size_t reading;         /* record */
    uint64_t offset;        /* in the record: of data, or of all of it for the stream */
    uint64_t given, said;   /* bytes of the member given so far, and that it has as its header says */
    int finished, hashing;
    sha256_t hash;
};

/* archive.c: sections, one after the other. */
zllm_result zllm_archive_restart(zllm_archive *a);
/* Forget all that was found, and begin with the header. Not of a pipe. */
zllm_result zllm_archive_again(zllm_archive *a);
zllm_result zllm_archive_advance(zllm_archive *a); /* ZLLM_END: there is no more */
/* read.c: all of the stream that a record stands for, in pieces; *got is 0 behind the last section. */
zllm_result zllm_archive_stream(zllm_archive *a, uint8_t *out, size_t size, size_t *got);
/* Begin with a record's data; `fresh`: it is not that of a member that began in another section. */
void zllm_archive_hash_begin(zllm_archive *a, const record_t *r, int fresh);
/* When all of a record's data was hashed: compare, if the member ends here. */
zllm_result zllm_archive_hash_end(zllm_archive *a, const record_t *r);
static inline int archive_goes_on(const zllm_archive *a, size_t record) {
    return (a->section.facts.flags & SECTION_CONTINUES) && record + 1 == a->section.map.n_records;
}

#endif
