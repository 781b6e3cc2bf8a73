/* libzllm: reading .zllm archives (docs/zllm-format.md).
 *
 *     zllm_archive *archive;
 *     zllm_member member;
 *     zllm_result rc = zllm_archive_open("a.zllm", NULL, &archive);
 *     if (rc == ZLLM_OK)
 *         while ((rc = zllm_archive_next(archive, &member)) == ZLLM_OK) puts(member.name);
 *     if (rc != ZLLM_END) fprintf(stderr, "%s\n", zllm_archive_error(archive));
 *     zllm_archive_close(archive);
 *
 * An archive holds a tar stream: members in order, and whatever is between them. A function that returns neither ZLLM_OK nor
 * ZLLM_END leaves a message of one line. Whatever the input, no function reads or writes out of bounds, and none takes more
 * memory than it was allowed.
 *
 * Threading: an archive is used by one thread at a time; different archives are independent.
 */
#ifndef ZLLM_ARCHIVE_H
#define ZLLM_ARCHIVE_H

#include "zllm.h"

#ifdef __cplusplus
extern "C" {
#endif

/* How much an archive may claim; 0 in a field: the format's own limit. What needs more is refused with ZLLM_E_LIMIT, or
 * ZLLM_E_DAMAGED where no writer makes it. */
typedef struct {
    size_t size;             /* sizeof(zllm_limits) */
    uint64_t output_bytes;   /* of the tar stream, of all archives in the file together; 0: any */
    uint64_t members;        /* of the same; 0: any */
    uint64_t map_bytes;      /* of one section's map, unpacked: what listing holds in memory is in proportion to it */
    uint64_t map_ratio;      /* of it for each byte of the map, beside 65536 */
    uint64_t records;        /* of one section */
    uint64_t records_ratio;  /* records, frames, header blocks, texts of a section for each byte of its map, beside 4096 */
    uint64_t name_bytes;     /* of one name, or of any other text of an extended header */
    uint64_t directory_bytes;/* of a directory, packed or not */
    uint64_t model_bytes;    /* of an embedded model file */
    uint64_t frame_bytes;    /* of one frame's data, which is decoded at once */
} zllm_limits;

/* A model that frames need. Its strings stay as long as the archive is open. */
typedef struct {
    uint8_t sha256[32];      /* of its file */
    uint8_t known_answer[4]; /* the first bytes of it (docs/model-format.md) */
    uint32_t arithmetic;     /* the version that it was used with */
    uint64_t size;           /* of its file, in bytes */
    const char *name, *origin; /* UTF-8, for people */
    int embedded;            /* its file is in the archive */
} zllm_model_ref;

typedef struct {
    size_t size;                 /* sizeof(zllm_archive_options) */
    const zllm_options *memory;  /* where memory comes from, and its limit; NULL: malloc, any. Threads call the functions */
    const zllm_limits *limits;   /* or NULL */
    uint32_t threads;            /* that decode at once, the caller's included; 0: one, 64 at most */
    const char *kernel;          /* as for zllm_model_parse */
    const volatile int32_t *cancel; /* polled; reading then returns ZLLM_E_CANCELLED. Or NULL */
    /* Asked for a model that is not in the archive: stores its file's bytes, which must stay until the archive is closed,
     * and returns ZLLM_OK; ZLLM_E_MISSING if it is not here. Its hash is compared. NULL: no model is here. */
    zllm_result (*find_model)(void *context, const zllm_model_ref *model, const uint8_t **data, size_t *size_of_data);
    void *context;
    const uint64_t *generation; /* the last one that is read: what was changed later is not there. NULL: the newest */
} zllm_archive_options;

/* Where an archive comes from. `read` stores up to *size bytes, and in *size how many: at least one, but none at the end.
 * It gets the offset of the first: of a pipe that is always the byte behind the last one it gave. Returns 0, or anything
 * else if reading failed. */
typedef struct {
    int (*read)(void *context, uint64_t offset, void *data, size_t *size);
    void *context;
    int sequential;   /* a pipe: offsets never go back */
    uint64_t size;    /* bytes of the input, if it is not sequential */
} zllm_input;

typedef struct zllm_archive zllm_archive;

/* Open a file; the archive in `data`, which must stay; or one that functions give. Later archives in the same input follow
 * the first one. On failure *out is NULL, and zllm_archive_error(NULL) says why. options may be NULL. */
ZLLM_API zllm_result zllm_archive_open(const char *path, const zllm_archive_options *options, zllm_archive **out);
ZLLM_API zllm_result zllm_archive_open_memory(const void *data, size_t size, const zllm_archive_options *options,
                                              zllm_archive **out);
ZLLM_API zllm_result zllm_archive_open_input(const zllm_input *input, const zllm_archive_options *options,
                                             zllm_archive **out);
/* Close it, or NULL. */
ZLLM_API void zllm_archive_close(zllm_archive *archive);
/* Why the last call for this archive failed, or, for NULL, this thread's last call that was to open one. */
ZLLM_API const char *zllm_archive_error(const zllm_archive *archive);

typedef enum {
    ZLLM_FILE = 0,
    ZLLM_HARD_LINK,
    ZLLM_SYMBOLIC_LINK,
    ZLLM_CHARACTER_DEVICE,
    ZLLM_BLOCK_DEVICE,
    ZLLM_FOLDER,
    ZLLM_FIFO,
    ZLLM_OTHER, /* see type */
    ZLLM_RAW    /* the stream is not a tar: its only "member", which is called "-" and has no header */
} zllm_kind;

#define ZLLM_UNKNOWN UINT64_MAX

/* A member. Texts are good until the next member is given, headers until the next call for the archive. Names are bytes as
 * they stand, mostly UTF-8, with a NUL behind them; a name with a NUL in it is longer than strlen says. */
typedef struct {
    const char *name, *link_name; /* a folder's name has no slash at its end */
    size_t name_size, link_name_size;
    zllm_kind kind;
    char type;               /* the header's type flag */
    uint8_t sparse;          /* its data is not the file's: a sparse map tells where it belongs */
    uint32_t mode;           /* permission bits */
    uint64_t uid, gid;
    const char *user, *group;
    int64_t mtime;           /* seconds since 1970 */
    uint32_t mtime_ns;       /* and nanoseconds */
    uint32_t device_major, device_minor;
    uint64_t size;           /* of its data; ZLLM_UNKNOWN of a raw stream in a pipe */
    const uint8_t *headers;  /* its header blocks as they stand in the tar stream, extended ones with their text included */
    size_t headers_size;
    uint64_t place;          /* where it begins in the tar stream: for zllm_archive_seek */
} zllm_member;

/* The next member. ZLLM_END behind the last one of an archive that is whole; of one that is not, whatever was wrong with it
 * (ZLLM_E_DAMAGED, ZLLM_E_VERSION, ZLLM_E_TAR): all members that are to be found have been given then. */
ZLLM_API zllm_result zllm_archive_next(zllm_archive *archive, zllm_member *member);
/* Let zllm_archive_next go on with the member at that place; 0 is the beginning. ZLLM_E_ARGUMENT: there is none, or the
 * input is a pipe and the place is not in the section that was read last. */
ZLLM_API zllm_result zllm_archive_seek(zllm_archive *archive, uint64_t place);
/* Find the last member of that name (without slashes at its end), as members supersede earlier ones: zllm_archive_read then
 * reads its data. ZLLM_E_MISSING: there is none. Not of a pipe. */
ZLLM_API zllm_result zllm_archive_find(zllm_archive *archive, const char *name, zllm_member *member);
/* Data of the member that was given last: up to *size bytes, and in *size how many; 0 at its end. Data is checked before it
 * is given but for SHA-256 hashes of members, which are compared when the last byte is: ZLLM_E_DAMAGED then takes back
 * what was given. */
ZLLM_API zllm_result zllm_archive_read(zllm_archive *archive, void *data, size_t *size);
/* One record of the extended headers of a member, in order: keyword and value, which are pieces of its headers. *at is 0 for
 * the first. Returns 0 past the last. */
ZLLM_API int zllm_member_pax(const zllm_member *member, size_t *at, const char **key, size_t *key_size, const char **value,
                             size_t *value_size);

/* Takes bytes; anything but 0 ends the work with ZLLM_E_OUTPUT. */
typedef int (*zllm_write)(void *context, const void *data, size_t size);
/* The whole tar stream, byte for byte, from its beginning; of an archive that was changed, and is not a pipe, that of the
 * members as they are: without what was deleted or replaced, and without the ends between generations. Where something is
 * damaged, it ends. */
ZLLM_API zllm_result zllm_archive_tar(zllm_archive *archive, zllm_write write, void *context);

/* Told of damage: the member, or NULL where none is meant. */
typedef void (*zllm_report)(void *context, const char *member, zllm_result result, const char *message);
/* Decode everything and compare every checksum and hash. ZLLM_OK if all is right, else the worst of what was reported. */
ZLLM_API zllm_result zllm_archive_verify(zllm_archive *archive, zllm_report report, void *context);

/* What decoding all of the archive takes: model number i, from 0; ZLLM_END past the last. Not of a pipe. */
ZLLM_API zllm_result zllm_archive_model(zllm_archive *archive, size_t i, zllm_model_ref *model);
/* Bit n: some frame is of codec n. Codecs that this library has: 0 store, 1 lz4, 2 zstd, 3 llm, 4 cm, 5 pcm,
 * 6 image, 7 tensors. Not of a pipe. */
ZLLM_API zllm_result zllm_archive_codecs(zllm_archive *archive, uint64_t *codecs);
/* A note: what people want to travel with an archive, such as the source of a decoder. Texts are UTF-8; all of it stays until
 * the next call of the function below. */
typedef struct {
    const char *name, *media_type; /* "text/plain" */
    const uint8_t *data;
    uint64_t size;
} zllm_note;
/* Note number i, from 0; ZLLM_END past the last. Not of a pipe. */
ZLLM_API zllm_result zllm_archive_note(zllm_archive *archive, size_t i, zllm_note *note);
/* SHA-256, by which archives name models. */
ZLLM_API void zllm_hash(const void *data, size_t size, uint8_t sha256[32]);
/* Bytes behind the end that belong to no archive, and were ignored; known when the last member has been given. */
ZLLM_API uint64_t zllm_archive_ignored(const zllm_archive *archive);
/* Bytes of a generation that was never finished: the archive is as it was before. 0 of a pipe. */
ZLLM_API uint64_t zllm_archive_unfinished(const zllm_archive *archive);

#ifdef __cplusplus
}
#endif

#endif
