/* The reader of .zllm archives, an IInArchive of 7-Zip. */
#define _POSIX_C_SOURCE 200809L
#include "plugins/7zip/archive.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "plugins/7zip/coder.h"
#include "plugins/7zip/models.h"

#define MOST_THREADS 4 /* of a decoder: each takes memory */

static uint32_t archive_add(void *self) { return atomic_fetch_add(&((opened_t *)self)->count, 1) + 1; }

static result_t close_archive(void *self) {
    opened_t *a = self;
    zllm_archive_close(a->archive);
    a->archive = NULL;
    free_items(a);
    a->damage = ZLLM_OK;
    a->problem[0] = 0;
    if (a->stream != NULL) (void)a->stream->table->unknown.release(a->stream);
    a->stream = NULL;
    return S_OK;
}

static uint32_t archive_release(void *self) {
    opened_t *a = self;
    const uint32_t left = atomic_fetch_sub(&a->count, 1) - 1;
    if (left == 0) {
        (void)close_archive(a);
        free(a);
    }
    return left;
}

static result_t archive_query(void *self, const guid_t *interface, void **out) {
    static const guid_t ARCHIVE = INTERFACE(6, 0x60), UNKNOWN = {{0, 0, 0, 0, 0, 0, 0, 0, 0xc0, 0, 0, 0, 0, 0, 0, 0x46}};
    *out = NULL;
    if (!same_guid(interface, &ARCHIVE) && !same_guid(interface, &UNKNOWN)) return E_NOINTERFACE;
    *out = self;
    (void)archive_add(self);
    return S_OK;
}

static int read_at(void *context, uint64_t offset, void *data, size_t *size) {
    const opened_t *a = context;
    return a->stream->table->seek(a->stream, (int64_t)offset, 0, NULL) != S_OK || read_fully(a->stream, data, size) != S_OK;
}

static zllm_result find_model(void *context, const zllm_model_ref *model, const uint8_t **data, size_t *size) {
    (void)context;
    return model_file_of_hash(model->sha256, data, size) ? ZLLM_OK : ZLLM_E_MISSING;
}

static result_t open_archive(void *self, in_stream_t *stream, const uint64_t *most_start, void *callback) {
    opened_t *a = self;
    const long processors = sysconf(_SC_NPROCESSORS_ONLN);
    (void)most_start;
    (void)callback;
    (void)close_archive(a);
    if (stream->table->seek(stream, 0, 2, &a->stream_size) != S_OK) return S_FALSE;
    a->stream = stream;
    (void)stream->table->unknown.add(stream);
    const zllm_input input = {.read = read_at, .context = a, .size = a->stream_size};
    const long threads = processors < 1 ? 1 : processors > MOST_THREADS ? MOST_THREADS : processors;
    const zllm_archive_options options = {.size = sizeof options, .find_model = find_model, .threads = (uint32_t)threads};
    const zllm_result rc = zllm_archive_open_input(&input, &options, &a->archive);
    if (rc == ZLLM_OK) {
        const result_t read = read_items(a);
        if (read != S_OK) (void)close_archive(a);
        return read;
    }
    if (rc == ZLLM_E_VERSION || rc == ZLLM_E_LIMIT) complain("%s", zllm_archive_error(NULL));
    (void)close_archive(a);
    return rc == ZLLM_E_MEMORY ? E_OUTOFMEMORY : S_FALSE;
}

static result_t count_items(void *self, uint32_t *n) {
    *n = (uint32_t)((opened_t *)self)->n;
    return S_OK;
}

static result_t get_property(void *self, uint32_t index, uint32_t property, variant_t *out) {
    return item_property(self, index, property, out);
}

static result_t extract(void *self, const uint32_t *indices, uint32_t n, int32_t testing, void *callback) {
    return extract_items(self, indices, n, testing, callback);
}

static result_t get_archive_property(void *self, uint32_t property, variant_t *out) {
    return archive_property(self, property, out);
}

static result_t count_properties(void *self, uint32_t *n) {
    (void)self;
    *n = property_count();
    return S_OK;
}

static result_t get_info(void *self, uint32_t index, wchar_t **name, uint32_t *property, uint16_t *type) {
    (void)self;
    *name = NULL;
    return property_info(index, property, type);
}

static result_t count_archive_properties(void *self, uint32_t *n) {
    (void)self;
    *n = 0;
    return S_OK;
}

static result_t get_archive_info(void *self, uint32_t index, wchar_t **name, uint32_t *property, uint16_t *type) {
    (void)self, (void)index, (void)name, (void)property, (void)type;
    return E_INVALIDARG;
}

static const struct {
    unknown_t unknown;
    result_t (*open)(void *, in_stream_t *, const uint64_t *, void *);
    result_t (*close)(void *);
    result_t (*count)(void *, uint32_t *);
    result_t (*property)(void *, uint32_t, uint32_t, variant_t *);
    result_t (*extract)(void *, const uint32_t *, uint32_t, int32_t, void *);
    result_t (*archive_property)(void *, uint32_t, variant_t *);
    result_t (*properties)(void *, uint32_t *);
    result_t (*info)(void *, uint32_t, wchar_t **, uint32_t *, uint16_t *);
    result_t (*archive_properties)(void *, uint32_t *);
    result_t (*archive_info)(void *, uint32_t, wchar_t **, uint32_t *, uint16_t *);
} TABLE = {{archive_query, archive_add, archive_release}, open_archive, close_archive, count_items, get_property, extract,
           get_archive_property, count_properties, get_info, count_archive_properties, get_archive_info};

result_t archive_new(const guid_t *interface, void **out) {
    opened_t *a = calloc(1, sizeof *a);
    *out = NULL;
    if (a == NULL) return E_OUTOFMEMORY;
    a->table = &TABLE;
    atomic_init(&a->count, 1);
    const result_t rc = archive_query(a, interface, out);
    (void)archive_release(a);
    return rc;
}
