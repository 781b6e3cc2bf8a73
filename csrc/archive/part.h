/* Parts of an archive: its header, envelopes, and what the bodies of sections and model parts begin with. */
#ifndef ZLLM_PART_H
#define ZLLM_PART_H

#include "archive/bytes.h"
#include "archive/check.h"
#include "archive/limits.h"
#include "archive/problem.h"
#include "archive/sha256.h"
#include "heap.h"

#define HEADER_SIZE 16u
#define FILE_MAGIC_SIZE 8u
#define SYNC_0 0xb5u
#define SYNC_1 0x5au
#define MAX_ENVELOPE (4 + 2 * MAX_VARINT_BYTES + ENVELOPE_CHECK_SIZE)
#define LEAST_PART (6 + ENVELOPE_CHECK_SIZE + CHECK_SIZE)
#define LAST_KIND 8u
#define ANSWER_SIZE 4u

enum { KIND_SECTION = 1, KIND_FRAME, KIND_MODEL, KIND_DIRECTORY, KIND_FOOTER, KIND_KEYS, KIND_PARITY, KIND_NOTE };
enum { FLAG_SKIP = 1, FLAG_SEALED = 16, FLAGS_REJECT = 0xf0 };
enum { SECTION_CONTINUED = 1, SECTION_CONTINUES = 2, SECTION_OPAQUE = 4 };
enum { CODEC_STORE = 0, CODEC_LZ4, CODEC_ZSTD, CODEC_LLM, CODEC_CM, CODEC_PCM, CODEC_IMAGE, CODEC_TENSORS, CODEC_REBUILD };

extern const uint8_t zllm_file_magic[FILE_MAGIC_SIZE];

typedef struct {
    uint8_t kind, flags;
    uint64_t number, length; /* of the part in its archive; bytes of its body */
} envelope_t;

/* The seed of an archive's checksums, from its header. ZLLM_E_FORMAT, ZLLM_E_DAMAGED or ZLLM_E_VERSION. */
zllm_result zllm_header_read(const uint8_t *data, size_t size, uint32_t *seed, problem_t *p);

/* The envelope that bytes begin with; 0: there is none, or its checksum does not match. seed NULL: that is not compared. */
int zllm_envelope_read(const uint8_t *data, size_t size, const uint32_t *seed, envelope_t *out);
/* Whether bytes, the last ones of an input, are the beginning of an envelope, and not all of it. */
int zllm_envelope_is_cut(const uint8_t *data, size_t size);
size_t zllm_envelope_write(const envelope_t *e, uint32_t seed, uint8_t out[MAX_ENVELOPE]);
static inline size_t envelope_size(const envelope_t *e) {
    return 4 + varint_size(e->number) + varint_size(e->length) + ENVELOPE_CHECK_SIZE;
}
/* Bytes of the part: envelope, body and checksum. */
static inline uint64_t envelope_whole(const envelope_t *e) { return envelope_size(e) + e->length + CHECK_SIZE; }
/* ZLLM_E_VERSION if the archive must not be read without this part, which this library does not read. */
zllm_result zllm_envelope_refusal(const envelope_t *e, problem_t *p);

/* A model, as sections and directories describe it: pieces of them. */
typedef struct {
    const uint8_t *sha256, *known_answer, *raw;
    size_t raw_size; /* of all that describes it */
    uint64_t size, arithmetic;
    int embedded;
    const uint8_t *name, *origin;
    uint8_t name_size, origin_size;
} model_said_t;

void zllm_model_said_read(bytes_t *b, model_said_t *out);

/* What a section begins with: its place in the tar stream, bytes of its columns. */
typedef struct {
    uint64_t offset, size, columns_size;
    uint8_t flags;
    uint32_t n_models;
    uint64_t models_hash; /* of all that describes its models */
} section_facts_t;

/* From where to flags. */
zllm_result zllm_section_facts_read(bytes_t *b, section_facts_t *out, problem_t *p);
/* A whole header: its models, of which there are up to MAX_MODELS, are pieces of `b`, which ends up at the map. */
zllm_result zllm_section_header_read(bytes_t *b, section_facts_t *out, model_said_t models[MAX_MODELS], problem_t *p);

/* What the body of a model part says before the coded file. */
typedef struct {
    uint8_t codec;
    uint64_t size, coded_size, coded_at; /* of the file; of and where in the body its coded form is */
    uint8_t sha256[SHA256_SIZE];
} model_part_t;

#define MODEL_FRONT (1 + MAX_VARINT_BYTES + SHA256_SIZE)
/* From the first bytes of a body of `length` bytes, all of it or MODEL_FRONT. */
zllm_result zllm_model_part_read(const uint8_t *body, size_t size, uint64_t length, const zllm_limits *limits,
                                 model_part_t *out, problem_t *p);

#endif
