/* What the sections of an archive mean, as JSON: what tests/vectors has of them, but for what is for listings only.
 *
 *     describe ARCHIVE
 *
 * It goes by the library's own insides, which no other program sees. */
#include <stdio.h>
#include <stdlib.h>

#include "archive/archive.h"

static void put_hex(const uint8_t *data, size_t size) {
    putchar('"');
    for (size_t i = 0; data != NULL && i < size; i++) printf("%02x", data[i]);
    putchar('"');
}

static void put_sha256(const uint8_t *data, size_t size) {
    uint8_t hash[SHA256_SIZE];
    zllm_sha256(data, size, hash);
    put_hex(hash, sizeof hash);
}

/* The (frame, start, size) of a record's data. */
static void put_extents(const map_t *m, const record_t *r) {
    uint64_t at = r->piece, left = r->data_size;
    const char *comma = "";
    putchar('[');
    for (size_t i = 0; i < m->n_frames && left > 0; i++) {
        const frame_row_t *f = &m->frames[i];
        if (at >= f->start + f->data_size) continue;
        const uint64_t part = lesser(left, f->start + f->data_size - at);
        printf("%s[%zu, %llu, %llu]", comma, i, (unsigned long long)(at - f->start), (unsigned long long)part);
        comma = ", ";
        at += part;
        left -= part;
    }
    putchar(']');
}

static void put_records(const map_t *m) {
    for (size_t i = 0; i < m->n_records; i++) {
        const record_t *r = &m->records[i];
        printf("%s{\"header\": ", i > 0 ? ", " : "");
        put_sha256(m->blocks + r->headers_at, r->headers_size);
        printf(", \"header_size\": %u, \"data_size\": %u, \"zeros\": %u, \"bucket\": %d, \"duplicate_of\": %d, \"sha256\": ",
               r->headers_size, r->data_size, r->zeros, r->bucket, r->duplicate_of);
        put_hex(r->sha256, SHA256_SIZE);
        printf(", \"extents\": ");
        put_extents(m, r);
        putchar('}');
    }
}

static void put_frames(const section_t *s) {
    for (size_t i = 0; i < s->map.n_frames; i++) {
        const frame_row_t *f = &s->map.frames[i];
        printf("%s{\"data_size\": %u, \"payload_size\": %u, \"codec\": %u, \"slot\": %u, \"sequence\": %llu, \"sha256\": ",
               i > 0 ? ", " : "", f->data_size, f->payload_size, f->codec, f->slot,
               (unsigned long long)(s->envelope.number + 1 + i));
        put_hex(f->hash, FRAME_HASH_SIZE);
        putchar('}');
    }
}

static void put_models(const section_t *s) {
    for (uint32_t i = 0; i < s->facts.n_models; i++) {
        const zllm_model_ref *m = &s->models[i]->ref;
        printf("%s{\"name\": \"%s\", \"origin\": \"%s\", \"size\": %llu, \"arithmetic\": %u, \"embedded\": %s, \"sha256\": ",
               i > 0 ? ", " : "", m->name, m->origin, (unsigned long long)m->size, m->arithmetic,
               m->embedded ? "true" : "false");
        put_hex(m->sha256, SHA256_SIZE);
        printf(", \"known_answer\": ");
        put_hex(m->known_answer, ANSWER_SIZE);
        putchar('}');
    }
}

static void put_section(const section_t *s) {
    printf("{\"offset\": %llu, \"sequence\": %llu, \"length\": %llu, \"flags\": %u, \"section_flags\": %u, "
           "\"stream_offset\": %llu, \"stream_size\": %llu, \"columns_size\": %llu, \"models\": [",
           (unsigned long long)s->place, (unsigned long long)s->envelope.number, (unsigned long long)s->envelope.length,
           s->envelope.flags, s->facts.flags, (unsigned long long)s->facts.offset, (unsigned long long)s->facts.size,
           (unsigned long long)s->facts.columns_size);
    put_models(s);
    printf("], \"records\": [");
    put_records(&s->map);
    printf("], \"frames\": [");
    put_frames(s);
    printf("]}\n");
}

int main(int count, char **arguments) {
    zllm_archive *a;
    zllm_result rc = count == 2 ? zllm_archive_open(arguments[1], NULL, &a) : ZLLM_E_ARGUMENT;
    if (rc != ZLLM_OK) return 2;
    while ((rc = zllm_archive_advance(a)) == ZLLM_OK) put_section(&a->section);
    zllm_archive_close(a);
    return rc == ZLLM_END ? 0 : 1;
}
