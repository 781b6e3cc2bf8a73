/* The part of 7-Zip's interfaces that this plug-in uses, for C: an object's first field is a table of functions, of which the
 * first three are those of every object. On systems other than Windows this is 7-Zip 23 and later, whose objects have no
 * virtual destructor; a BSTR is four bytes of length and then characters of wchar_t. */
#ifndef ZLLM_7ZIP_COM_H
#define ZLLM_7ZIP_COM_H

#include <stddef.h>
#include <stdint.h>
#include <wchar.h>

typedef int32_t result_t; /* HRESULT */
#define S_OK 0
#define S_FALSE 1
#define E_NOTIMPL ((result_t)0x80004001u)
#define E_NOINTERFACE ((result_t)0x80004002u)
#define E_FAIL ((result_t)0x80004005u)
#define E_ABORT ((result_t)0x80004004u)
#define E_OUTOFMEMORY ((result_t)0x8007000eu)
#define E_INVALIDARG ((result_t)0x80070057u)
#define CLASS_E_CLASSNOTAVAILABLE ((result_t)0x80040111u)

typedef struct {
    uint8_t bytes[16];
} guid_t;
/* Interface `number` of `group`: 3 streams, 4 coders, 6 archives. */
#define INTERFACE(group, number) \
    {{0x69, 0x0f, 0x17, 0x23, 0xc1, 0x40, 0x8a, 0x27, 0, 0, 0, (group), 0, (number), 0, 0}}

enum { VT_EMPTY = 0, VT_BSTR = 8, VT_BOOL = 11, VT_UI4 = 19, VT_UI8 = 21, VT_FILETIME = 64 };
typedef struct {
    uint16_t type, precision, hundredths, reserved; /* the middle ones belong to a time */
    union {
        uint32_t u32;
        uint64_t u64; /* of a time: 100 ns since 1601 */
        int16_t truth;
        wchar_t *text;
    } as;
} variant_t;

typedef struct {
    result_t (*query)(void *self, const guid_t *interface, void **out);
    uint32_t (*add)(void *self);
    uint32_t (*release)(void *self);
} unknown_t;
typedef struct {
    const unknown_t *table;
} object_t;

typedef struct {
    const struct {
        unknown_t unknown;
        result_t (*read)(void *self, void *data, uint32_t size, uint32_t *done);
        result_t (*seek)(void *self, int64_t offset, uint32_t from, uint64_t *place); /* IInStream alone has it */
    } *table;
} in_stream_t;
typedef struct {
    const struct {
        unknown_t unknown;
        result_t (*write)(void *self, const void *data, uint32_t size, uint32_t *done);
    } *table;
} out_stream_t;
/* ICompressProgressInfo; a pointer may be NULL. */
typedef struct {
    const struct {
        unknown_t unknown;
        result_t (*ratio)(void *self, const uint64_t *in, const uint64_t *out);
    } *table;
} progress_t;
/* ICompressGetSubStreamSize: sizes of the files in a solid block, as far as they have been read. */
typedef struct {
    const struct {
        unknown_t unknown;
        result_t (*size)(void *self, uint64_t index, uint64_t *size);
    } *table;
} files_t;
/* IArchiveExtractCallback */
typedef struct {
    const struct {
        unknown_t unknown;
        result_t (*total)(void *self, uint64_t bytes);
        result_t (*completed)(void *self, const uint64_t *bytes);
        result_t (*stream)(void *self, uint32_t index, out_stream_t **stream, int32_t mode);
        result_t (*prepare)(void *self, int32_t mode);
        result_t (*outcome)(void *self, int32_t outcome);
    } *table;
} extraction_t;

int same_guid(const guid_t *a, const guid_t *b);
/* Set an empty variant. Text of UTF-8; bytes that are none become 7-Zip's escapes, which it turns into the same bytes in
 * names of files. E_OUTOFMEMORY. */
result_t put_text(variant_t *out, const char *text, size_t size);
result_t put_bytes(variant_t *out, const void *data, size_t size);
result_t put_u32(variant_t *out, uint32_t value);
result_t put_u64(variant_t *out, uint64_t value);
result_t put_truth(variant_t *out, int value);
/* A wide string as UTF-8, cut to the room there is. */
void narrow(const wchar_t *text, char *out, size_t room);

/* *size: wanted, then read; less at the end only. */
result_t read_fully(in_stream_t *stream, void *data, size_t *size);
result_t write_fully(out_stream_t *stream, const void *data, size_t size);

/* A line on standard error: 7-Zip has no other way to learn what a plug-in has to say. */
void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
