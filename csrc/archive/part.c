#include "archive/part.h"

#define FORMAT_VERSION 3u
#define KNOWN_FLAGS (SECTION_CONTINUED | SECTION_CONTINUES | SECTION_OPAQUE)
#define IGNORED_FLAGS 0xc0u

const uint8_t zllm_file_magic[FILE_MAGIC_SIZE] = {0x8d, 0x5a, 0x4c, 0x4d, 0x0d, 0x0a, 0x1a, 0x0a};

static zllm_result check_version(uint32_t version, problem_t *p) {
    if (version == FORMAT_VERSION) return ZLLM_OK;
    return zllm_problem(p, ZLLM_E_VERSION, "the archive has format version %u, this library reads version %u%s", version,
                        FORMAT_VERSION, version < FORMAT_VERSION ? ": unpack it with the zllm that wrote it" : "");
}

/* Formats whose header has its checksum elsewhere. */
static uint32_t older_version(const uint8_t *data, size_t size) {
    static const uint8_t FRONT_OF_1[4] = {1, 0, 0, 0};
    if (size < 12) return 0;
    if (memcmp(data + FILE_MAGIC_SIZE, FRONT_OF_1, sizeof FRONT_OF_1) == 0) return 1;
    return data[8] == 2 && zllm_short_holds(data, 10, data + 10, 0) ? 2 : 0;
}

zllm_result zllm_header_read(const uint8_t *data, size_t size, uint32_t *seed, problem_t *p) {
    if (size == 0) return zllm_problem(p, ZLLM_E_FORMAT, "not a zllm archive: it is empty");
    if (size < FILE_MAGIC_SIZE || memcmp(data, zllm_file_magic, FILE_MAGIC_SIZE) != 0)
        return zllm_problem(p, ZLLM_E_FORMAT, "not a zllm archive (wrong magic bytes)");
    const uint32_t older = older_version(data, size);
    if (older != 0) return check_version(older, p);
    if (size < HEADER_SIZE) return DAMAGED(p, "the file header is damaged: it is not whole");
    if (!zllm_short_holds(data, 14, data + 14, 0))
        return DAMAGED(p, "the file header is damaged: its checksum does not match");
    const zllm_result rc = check_version(data[8], p);
    if (rc != ZLLM_OK) return rc;
    if (data[9] & FLAGS_REJECT)
        return zllm_problem(p, ZLLM_E_VERSION, "the archive needs features (bits %#x) that this version does not have",
                            data[9]);
    *seed = little32(data + 10);
    return ZLLM_OK;
}

static uint64_t longest(uint8_t kind) {
    switch (kind) {
        case KIND_SECTION: return MAX_SECTION_HEADER + MAX_MAP;
        case KIND_FRAME: return MAX_PAYLOAD + 2 + MAX_VARINT_BYTES;
        case KIND_MODEL: return MAX_MODEL + 64;
        case KIND_DIRECTORY: return MAX_DIRECTORY;
        case KIND_FOOTER: return MAX_VARINT_BYTES;
        default: return MAX_OFFSET;
    }
}

int zllm_envelope_read(const uint8_t *data, size_t size, const uint32_t *seed, envelope_t *out) {
    bytes_t b = bytes_of(data, size);
    const uint8_t *front = bytes_take(&b, 4);
    if (front == NULL || front[0] != SYNC_0 || front[1] != SYNC_1) return 0;
    *out = (envelope_t){.kind = front[2], .flags = front[3]};
    out->number = bytes_varint(&b, INT64_MAX);
    out->length = bytes_varint(&b, INT64_MAX);
    const size_t end = b.at;
    const uint8_t *check = bytes_take(&b, ENVELOPE_CHECK_SIZE);
    if (check == NULL || out->length > longest(out->kind)) return 0;
    return seed == NULL || zllm_short_holds(data, end, check, *seed);
}

int zllm_envelope_is_cut(const uint8_t *data, size_t size) {
    uint8_t longer[2 * MAX_ENVELOPE];
    envelope_t e;
    if (size == 0 || size >= MAX_ENVELOPE || data[0] != SYNC_0 || (size > 1 && data[1] != SYNC_1)) return 0;
    memset(longer, 1, sizeof longer);
    memcpy(longer, data, size);
    longer[1] = SYNC_1;
    return zllm_envelope_read(longer, sizeof longer, NULL, &e) && envelope_size(&e) > size;
}

size_t zllm_envelope_write(const envelope_t *e, uint32_t seed, uint8_t out[MAX_ENVELOPE]) {
    size_t size = 4;
    out[0] = SYNC_0;
    out[1] = SYNC_1;
    out[2] = e->kind;
    out[3] = e->flags;
    size += varint_put(out + size, e->number);
    size += varint_put(out + size, e->length);
    const uint64_t check = zllm_xxh3(out, size, seed);
    out[size++] = (uint8_t)check;
    out[size++] = (uint8_t)(check >> 8);
    return size;
}

zllm_result zllm_envelope_refusal(const envelope_t *e, problem_t *p) {
    if (e->flags & FLAG_SEALED || e->kind == KIND_KEYS)
        return zllm_problem(p, ZLLM_E_VERSION, "the archive is encrypted, which this version of zllm does not read");
    if (e->flags & FLAGS_REJECT)
        return zllm_problem(p, ZLLM_E_VERSION, "a part needs features (bits %#x) that this version does not have",
                            e->flags & FLAGS_REJECT);
    if ((e->kind == 0 || e->kind > KIND_FOOTER) && !(e->flags & FLAG_SKIP))
        return zllm_problem(p, ZLLM_E_VERSION, "the archive has parts of kind %u, which this version does not know",
                            e->kind);
    return ZLLM_OK;
}

void zllm_model_said_read(bytes_t *b, model_said_t *out) {
    const size_t from = b->at;
    *out = (model_said_t){.sha256 = bytes_take(b, SHA256_SIZE), .known_answer = bytes_take(b, ANSWER_SIZE)};
    out->size = bytes_varint(b, UINT64_MAX);
    const uint64_t arithmetic = bytes_varint(b, UINT64_MAX);
    out->arithmetic = arithmetic >> 1;
    out->embedded = arithmetic & 1;
    out->name_size = bytes_u8(b);
    out->name = bytes_take(b, out->name_size);
    out->origin_size = bytes_u8(b);
    out->origin = bytes_take(b, out->origin_size);
    out->raw = b->data + from;
    out->raw_size = b->at - from;
}

zllm_result zllm_section_facts_read(bytes_t *b, section_facts_t *out, problem_t *p) {
    *out = (section_facts_t){.offset = bytes_varint(b, MAX_OFFSET)};
    out->size = bytes_varint(b, WINDOW);
    out->columns_size = bytes_varint(b, MAX_MAP);
    out->flags = bytes_u8(b) & (uint8_t)~IGNORED_FLAGS;
    if (b->bad) return DAMAGED(p, "a section header is damaged: a number is impossible");
    if (out->flags & ~KNOWN_FLAGS)
        return zllm_problem(p, ZLLM_E_VERSION, "a section needs features (bits %#x) that this version does not have",
                            out->flags);
    return ZLLM_OK;
}

zllm_result zllm_section_header_read(bytes_t *b, section_facts_t *out, model_said_t models[MAX_MODELS], problem_t *p) {
    const zllm_result rc = zllm_section_facts_read(b, out, p);
    if (rc != ZLLM_OK) return rc;
    const uint32_t n = bytes_u8(b);
    const size_t from = b->at;
    if (n > MAX_MODELS) return DAMAGED(p, "a section header is damaged: too many models");
    for (uint32_t i = 0; i < n; i++) zllm_model_said_read(b, &models[i]);
    if (b->bad) return DAMAGED(p, "a section header is damaged: it is too short");
    out->n_models = n;
    out->models_hash = zllm_xxh3(b->data + from, b->at - from, 0);
    return ZLLM_OK;
}

zllm_result zllm_model_part_read(const uint8_t *body, size_t size, uint64_t length, const zllm_limits *limits,
                                 model_part_t *out, problem_t *p) {
    bytes_t b = bytes_of(body, size);
    out->codec = bytes_u8(&b);
    out->size = bytes_varint(&b, MAX_MODEL);
    const uint8_t *sha256 = bytes_take(&b, SHA256_SIZE);
    if (sha256 == NULL) return DAMAGED(p, "an embedded model is damaged: it is too short");
    memcpy(out->sha256, sha256, SHA256_SIZE);
    out->coded_at = b.at;
    out->coded_size = length - b.at;
    if (out->codec != CODEC_STORE && out->codec != CODEC_ZSTD)
        return zllm_problem(p, ZLLM_E_VERSION, "an embedded model is coded by a codec (%u) that this version does not know",
                            out->codec);
    if (out->size > limits->model_bytes)
        return zllm_problem(p, ZLLM_E_LIMIT, "an embedded model has more bytes than the limit allows");
    if (length < b.at || out->coded_size > out->size || out->size > MAX_MODEL_RATIO * out->coded_size)
        return DAMAGED(p, "an embedded model is damaged: impossible size");
    return ZLLM_OK;
}
