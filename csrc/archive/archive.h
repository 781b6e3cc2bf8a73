/* An archive that is open: where it comes from, and where reading is. */
#ifndef ZLLM_OPEN_ARCHIVE_H
#define ZLLM_OPEN_ARCHIVE_H

#include "archive/deletions.h"
#include "archive/member.h"
#include "archive/walk.h"

/* A section that was found, in an input that is not a pipe: it can be read again. */
typedef struct {
    uint64_t place, base, start, end;
    uint32_t seed;
    envelope_t envelope;
    int exact;
    uint64_t *frame_places; /* if not exact */
    uint64_t members, frames_size;
    uint8_t *corrected;     /* its body, if one byte was wrong */
    /* If a directory has its header: */
    int listed;
    uint64_t frames;
    uint8_t *front;         /* envelope and header */
    size_t front_size;
    uint8_t *filter;        /* of its names, of as many bytes as it has members; or NULL */
} indexed_t;

/* A part that is not used. */
typedef struct {
    uint64_t place;
    uint32_t seed;
    envelope_t envelope;
} other_place_t;

/* `end`: where it ends in the input; `deletions`: how many there are up to this one. It has the tar stream from stream_start
 * to stream_end; from zeros_at on there are only zeros, which the stream of all generations does not have. */
typedef struct {
    uint64_t number, base, end, stream_start, stream_end, zeros_at;
    size_t deletions;
} generation_t;

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
    budget_t budget;
    int wants_generation;
    uint64_t generation;    /* the last one that is read, if one is wanted */
    problem_t told;         /* of the archive as a whole */
    problem_t problem;      /* of the last call */
    members_t members;
    /* Of an input that is not a pipe: all sections. */
    indexed_t *index;
    size_t n_index, index_room, current; /* `current` is the number of the section, from 0 */
    size_t loaded;          /* number of the section that is in memory, + 1; 0: none */
    int walked;             /* by going from part to part */
    other_place_t *others;
    size_t n_others, others_room;
    uint8_t *note;          /* that was read last */
    generation_t *generations;
    size_t n_generations, generations_room;
    deletions_t deletions;
    uint64_t unfinished;    /* bytes of a generation that was never finished, which are passed over */
    /* Of a pipe: hashes of the names of a later generation's members, until its directory comes. */
    uint64_t *names;
    size_t n_names, names_room;
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
    /* The tar stream of an archive that was changed: without what was deleted, and the ends between generations. */
    int leaving_out, hidden;
    uint64_t hidden_zeros;          /* behind the member that is left out */
    uint64_t front_left, zeros_left; /* of this record: headers and data, zeros */
};

/* archive.c: sections, one after the other. */
zllm_result zllm_archive_restart(zllm_archive *a);
zllm_result zllm_archive_advance(zllm_archive *a); /* ZLLM_END: there is no more */
/* Of an input that is not a pipe: go to that section; to one behind it if it is lost. */
zllm_result zllm_archive_go(zllm_archive *a, size_t number);
/* names.c: what a pipe's directory deletes, compared with the members that came in its generation. */
zllm_result zllm_names_add(zllm_archive *a);
zllm_result zllm_names_compare(void *archive, const directory_t *d, uint64_t offset, const envelope_t *e, int exact,
                               problem_t *p);
/* What the end of an archive is: nothing more, or what is wrong with all of it. */
zllm_result zllm_archive_at_end(zllm_archive *a);
/* stream.c: all of the stream that a record stands for, in pieces; *got is 0 behind the last section. */
zllm_result zllm_archive_stream(zllm_archive *a, uint8_t *out, size_t size, size_t *got);
/* Begin with a record's data; `fresh`: it is not that of a member that began in another section. */
void zllm_archive_hash_begin(zllm_archive *a, const record_t *r, int fresh);
/* When all of a record's data was hashed: compare, if the member ends here. */
zllm_result zllm_archive_hash_end(zllm_archive *a, const record_t *r);
static inline int archive_goes_on(const zllm_archive *a, size_t record) {
    return (a->section.facts.flags & SECTION_CONTINUES) && record + 1 == a->section.map.n_records;
}

#endif
