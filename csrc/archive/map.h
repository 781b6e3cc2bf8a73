/* The map of a section: where every byte of its part of the tar stream comes from. */
#ifndef ZLLM_MAP_H
#define ZLLM_MAP_H

#include "archive/headers.h"
#include "archive/part.h"

#define FRAME_HASH_SIZE 8u
#define RUN_HASH_SIZE 4u

/* Header blocks, then data, then zeros. */
typedef struct {
    uint64_t at;                     /* in the section's part of the tar stream */
    uint64_t headers_at;             /* in the map's blocks */
    uint32_t headers_size, zeros, data_size;
    int32_t bucket, duplicate_of;    /* -1: none */
    const uint8_t *sha256;           /* of the whole member's data, or NULL */
    uint64_t piece;                  /* where its data begins in all groups' bytes */
} record_t;

typedef struct {
    uint64_t start;                  /* in all groups' bytes */
    uint32_t data_size, payload_size;
    uint8_t codec, slot;
    const uint8_t *hash;             /* of its data, or NULL */
} frame_row_t;

typedef struct {
    heap_t *heap;
    uint8_t *blocks;                 /* all header blocks */
    size_t blocks_size;
    record_t *records;
    frame_row_t *frames;
    uint64_t *boundaries;            /* where pieces begin in all groups' bytes, ascending */
    size_t n_records, n_frames, n_boundaries;
    uint64_t members;
    uint8_t *hashes;                 /* columns 6 and 15 */
    const uint8_t *runs;             /* hashes of runs of frames that have hashes */
    size_t runs_size;
} map_t;

/* The map of a section, from bytes whose checksum holds. Free it in any case. */
zllm_result zllm_map_read(heap_t *heap, const uint8_t *map, size_t size, const section_facts_t *facts,
                          const zllm_limits *limits, const decoding_t *decoding, map_t *out, problem_t *p);
void zllm_map_free(map_t *m);

/* Where pieces begin from `from` on and before `end`, in all groups' bytes: the first of *n. */
const uint64_t *zllm_map_pieces(const map_t *m, uint64_t from, uint64_t end, size_t *n);
/* The number of the piece that has the byte at a place. */
size_t zllm_map_first_piece(const map_t *m, uint64_t at);

/* A frame's envelope, as the map says it must be, and bytes of its fields before the payload. */
envelope_t zllm_frame_envelope(const frame_row_t *f, uint64_t number);
static inline size_t frame_front_size(const frame_row_t *f) { return 2 + varint_size(f->data_size); }

#endif
