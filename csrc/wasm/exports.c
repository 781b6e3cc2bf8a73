/* zllm.wasm: what JavaScript calls to read an archive that is in memory (tools/wasm/zllm.js). One archive at a time, one
 * thread; texts and data are given as places in the memory, good until the next call. */
#include <stdlib.h>
#include <string.h>

#include "zllm_archive.h"

#define EXPORT(name) __attribute__((export_name(#name)))
#define MOST_MODELS 8
#define STEP ((size_t)64 << 10)

typedef struct {
    const uint8_t *data;
    size_t size;
} bytes_of_model_t;

static bytes_of_model_t models[MOST_MODELS];
static size_t n_models;
static zllm_archive *archive;
static zllm_member member;
static zllm_model_ref model;
static unsigned char piece[STEP];
static size_t piece_size;
/* What verifying found, one line after the other, as "member: message". */
static char *reports;
static size_t reports_size;

static zllm_result find(void *context, const zllm_model_ref *wanted, const uint8_t **data, size_t *size) {
    (void)context;
    for (size_t i = 0; i < n_models; i++) {
        uint8_t hash[32];
        if (models[i].size != wanted->size) continue;
        zllm_hash(models[i].data, models[i].size, hash);
        if (memcmp(hash, wanted->sha256, sizeof hash) != 0) continue;
        *data = models[i].data;
        *size = models[i].size;
        return ZLLM_OK;
    }
    return ZLLM_E_MISSING;
}

EXPORT(zllm_new) void *take(size_t size) { return malloc(size > 0 ? size : 1); }
EXPORT(zllm_delete) void release(void *data) { free(data); }

/* A model's file, which stays. 0, or 1 if there are too many. */
EXPORT(zllm_add_model) int add_model(const uint8_t *data, size_t size) {
    if (n_models == MOST_MODELS) return 1;
    models[n_models++] = (bytes_of_model_t){data, size};
    return 0;
}

EXPORT(zllm_close) void close_archive(void) {
    zllm_archive_close(archive);
    archive = NULL;
    free(reports);
    reports = NULL;
    reports_size = 0;
}

/* The archive in those bytes, which stay until it is closed. */
EXPORT(zllm_open) zllm_result open_archive(const uint8_t *data, size_t size) {
    const zllm_archive_options options = {.size = sizeof options, .find_model = find};
    close_archive();
    return zllm_archive_open_memory(data, size, &options, &archive);
}

EXPORT(zllm_error) const char *error(void) { return zllm_archive_error(archive); }
EXPORT(zllm_next) zllm_result next(void) { return zllm_archive_next(archive, &member); }
EXPORT(zllm_seek) zllm_result seek(uint64_t place) { return zllm_archive_seek(archive, place); }

/* The member that came last. */
EXPORT(zllm_name) const char *name(void) { return member.name; }
EXPORT(zllm_name_size) size_t name_size(void) { return member.name_size; }
EXPORT(zllm_link) const char *link_name(void) { return member.link_name; }
EXPORT(zllm_link_size) size_t link_size(void) { return member.link_name_size; }
EXPORT(zllm_kind) int kind(void) { return (int)member.kind; }
EXPORT(zllm_mode) uint32_t mode(void) { return member.mode; }
EXPORT(zllm_size) uint64_t size(void) { return member.size; }
EXPORT(zllm_mtime) int64_t mtime(void) { return member.mtime; }
EXPORT(zllm_place) uint64_t place(void) { return member.place; }

/* The next piece of its data, `zllm_piece_size` bytes at `zllm_piece`; none at its end. */
EXPORT(zllm_read) zllm_result read_piece(void) {
    piece_size = STEP;
    return zllm_archive_read(archive, piece, &piece_size);
}
EXPORT(zllm_piece) const unsigned char *piece_at(void) { return piece; }
EXPORT(zllm_piece_size) size_t size_of_piece(void) { return piece_size; }

/* JavaScript's, for the tar stream. */
__attribute__((import_module("zllm"), import_name("write"))) int js_write(const void *data, size_t size);

static int write_to_js(void *context, const void *data, size_t size) {
    (void)context;
    return js_write(data, size);
}

EXPORT(zllm_tar) zllm_result tar(void) { return zllm_archive_tar(archive, write_to_js, NULL); }

static void add_report(const char *text) {
    const size_t length = strlen(text);
    char *more = realloc(reports, reports_size + length + 1);
    if (more == NULL) return; /* the result says that something was wrong */
    memcpy(more + reports_size, text, length + 1);
    reports = more;
    reports_size += length;
}

static void told(void *context, const char *which, zllm_result result, const char *message) {
    (void)context;
    (void)result;
    if (which != NULL) {
        add_report(which);
        add_report(": ");
    }
    add_report(message);
    add_report("\n");
}

EXPORT(zllm_verify) zllm_result verify(void) { return zllm_archive_verify(archive, told, NULL); }
EXPORT(zllm_reports) const char *reports_at(void) { return reports == NULL ? "" : reports; }

/* Model number i that the archive needs; ZLLM_END past the last. */
EXPORT(zllm_needs) zllm_result needs(size_t i) { return zllm_archive_model(archive, i, &model); }
EXPORT(zllm_needs_name) const char *needs_name(void) { return model.name; }
EXPORT(zllm_needs_hash) const uint8_t *needs_hash(void) { return model.sha256; }
EXPORT(zllm_needs_embedded) int needs_embedded(void) { return model.embedded; }
EXPORT(zllm_needs_size) uint64_t needs_size(void) { return model.size; }
