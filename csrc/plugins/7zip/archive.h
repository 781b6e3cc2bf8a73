/* A .zllm archive that 7-Zip has opened, and its members. */
#ifndef ZLLM_7ZIP_ARCHIVE_H
#define ZLLM_7ZIP_ARCHIVE_H

#include <stdatomic.h>

#include "plugins/7zip/com.h"
#include "zllm_archive.h"

typedef struct {
    char *name, *link, *user, *group; /* one allocation, at `name` */
    size_t name_size, link_size;
    size_t number;                    /* among all members, superseded ones included */
    uint64_t place, size, uid, gid;
    int64_t mtime;
    uint32_t mtime_ns, mode, device_major, device_minor;
    zllm_kind kind;
    int holes;                        /* its data begins with a map of them, GNU's sparse format 1.0 */
    int unknown_holes;                /* another such format */
} item_t;

typedef struct {
    const void *table;
    atomic_uint count;
    in_stream_t *stream;
    uint64_t stream_size;
    zllm_archive *archive;
    item_t *items;
    size_t n, room;
    size_t next;     /* the member that zllm_archive_next gives */
    zllm_result damage; /* what is wrong with the archive; members that are whole are items */
    char problem[512];
} opened_t;

/* properties.c: of an item, of the archive. */
result_t item_property(const opened_t *a, uint32_t index, uint32_t property, variant_t *out);
result_t archive_property(const opened_t *a, uint32_t property, variant_t *out);
result_t property_info(uint32_t index, uint32_t *property, uint16_t *type);
uint32_t property_count(void);

/* items.c: all members, of those of one name the last. */
result_t read_items(opened_t *a);
void free_items(opened_t *a);

/* extraction.c */
result_t extract_items(opened_t *a, const uint32_t *indices, uint32_t n, int32_t testing, extraction_t *callback);

#endif
