#define ZSTD_STATIC_LINKING_ONLY /* ZSTD_createDCtx_advanced: all memory comes from the caller */
#include "archive/unpack.h"

#include <lz4.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include "archive/limits.h"

#define LZ4_EXPANSION 255u
#define LZ4_SLACK 64u
#define ZSTD_BLOCK ((uint64_t)128 << 10)
#define ZSTD_LEAST 4u
#define MAGIC_SIZE 4u
#define PREFIX_STEP 64u
#define LEAST_WINDOW_LOG 10u
#define MOST_WINDOW_LOG 27u

static zllm_result damaged(const char *what, problem_t *p) {
    return DAMAGED(p, "%s is damaged: it does not unpack to the size that it should have", what);
}

static void *zlib_take(void *heap, unsigned count, unsigned size) { return zllm_heap_take(heap, (size_t)count * size); }

static void zlib_free(void *heap, void *memory) { zllm_heap_free(heap, memory); }

/* 1: done, 0: not such data, -1: out of memory. zlib reads and writes 2^32 - 1 bytes at most at a time; a map has fewer. */
static int run_inflate(z_stream *z, size_t out_size) {
    uint8_t beyond;
    int rc = inflate(z, Z_FINISH);
    if (rc == Z_BUF_ERROR && z->avail_out == 0) { /* the end may be all that is missing */
        z->next_out = &beyond;
        z->avail_out = 1;
        rc = inflate(z, Z_FINISH);
        if (z->avail_out == 0) return 0;
    }
    if (rc == Z_MEM_ERROR) return -1;
    return rc == Z_STREAM_END && z->avail_in == 0 && z->total_out == out_size;
}

zllm_result zllm_inflate(heap_t *heap, const uint8_t *data, size_t size, uint8_t *out, size_t out_size, const char *what,
                         problem_t *p) {
    z_stream z = {.zalloc = zlib_take, .zfree = zlib_free, .opaque = heap};
    uint8_t none;
    if (size > UINT32_MAX || out_size > UINT32_MAX) return damaged(what, p);
    if (inflateInit2(&z, -MAX_WBITS) != Z_OK) return NO_MEMORY(p);
    int rc = -1;
    if (inflateSetDictionary(&z, zllm_dictionary, DICTIONARY_SIZE) == Z_OK) {
        z.next_in = (Bytef *)(uintptr_t)data;
        z.avail_in = (unsigned)size;
        z.next_out = out_size > 0 ? out : &none;
        z.avail_out = (unsigned)out_size;
        rc = run_inflate(&z, out_size);
    }
    (void)inflateEnd(&z);
    if (rc < 0) return NO_MEMORY(p);
    return rc > 0 ? ZLLM_OK : damaged(what, p);
}

static void *zstd_take(void *heap, size_t size) { return zllm_heap_take(heap, size); }

static void zstd_free(void *heap, void *memory) { zllm_heap_free(heap, memory); }

/* Whether a frame's header is one that writers make: without a content size, which would be allocated unseen, and with a
 * window that is no larger than the data takes. */
static int zstd_header_fits(const uint8_t *data, size_t size, size_t out_size) {
    uint32_t log = LEAST_WINDOW_LOG;
    if (size < 2 || data[0] != 0) return 0;
    while (log < MOST_WINDOW_LOG && ((uint64_t)1 << log) < out_size) log++;
    const uint64_t base = (uint64_t)1 << (LEAST_WINDOW_LOG + (data[1] >> 3));
    return base + base / 8 * (data[1] & 7) <= (uint64_t)1 << log;
}

zllm_result zllm_unpack_zstd(heap_t *heap, const uint8_t *data, size_t size, uint8_t *out, size_t out_size,
                             const char *what, problem_t *p) {
    static const uint8_t MAGIC[MAGIC_SIZE] = {0x28, 0xb5, 0x2f, 0xfd};
    const ZSTD_customMem memory = {zstd_take, zstd_free, heap};
    if (out_size == 0) return size == 0 ? ZLLM_OK : damaged(what, p);
    if (out_size > ZSTD_BLOCK * (size / ZSTD_LEAST + 1) || !zstd_header_fits(data, size, out_size))
        return DAMAGED(p, "%s is damaged: zstd data that no writer makes", what);
    uint8_t *framed = zllm_heap_take(heap, MAGIC_SIZE + size);
    ZSTD_DCtx *context = framed == NULL ? NULL : ZSTD_createDCtx_advanced(memory);
    zllm_result rc = context == NULL ? NO_MEMORY(p) : ZLLM_OK;
    if (rc == ZLLM_OK) {
        memcpy(framed, MAGIC, MAGIC_SIZE);
        memcpy(framed + MAGIC_SIZE, data, size);
        if (ZSTD_findFrameCompressedSize(framed, MAGIC_SIZE + size) != MAGIC_SIZE + size ||
            ZSTD_decompressDCtx(context, out, out_size, framed, MAGIC_SIZE + size) != out_size)
            rc = damaged(what, p);
    }
    (void)ZSTD_freeDCtx(context);
    zllm_heap_free(heap, framed);
    return rc;
}

zllm_result zllm_unpack_zstd_prefix(heap_t *heap, const uint8_t *data, size_t size, uint8_t *out, size_t out_size,
                                    problem_t *p) {
    const ZSTD_customMem memory = {zstd_take, zstd_free, heap};
    ZSTD_outBuffer to = {out, out_size, 0};
    int log = LEAST_WINDOW_LOG;
    while (log < (int)MOST_WINDOW_LOG && ((uint64_t)1 << log) < out_size) log++;
    ZSTD_DCtx *context = ZSTD_createDCtx_advanced(memory);
    if (context == NULL) return NO_MEMORY(p);
    (void)ZSTD_DCtx_setParameter(context, ZSTD_d_format, ZSTD_f_zstd1_magicless);
    (void)ZSTD_DCtx_setParameter(context, ZSTD_d_windowLogMax, log);
    for (size_t at = 0; at < size && to.pos < to.size;) { /* small steps, as the library gives nothing of one that fails */
        static const uint8_t FRONT = 0; /* the first byte is known */
        const size_t step = at == 0 ? 1 : size - at < PREFIX_STEP ? size - at : PREFIX_STEP;
        ZSTD_inBuffer from = {at == 0 ? &FRONT : data + at, step, 0};
        size_t rc = 1;
        while (from.pos < from.size && to.pos < to.size && rc != 0 && !ZSTD_isError(rc))
            rc = ZSTD_decompressStream(context, &to, &from);
        if (rc == 0 || ZSTD_isError(rc)) break;
        at += from.size;
    }
    (void)ZSTD_freeDCtx(context);
    return ZLLM_OK;
}

zllm_result zllm_unpack_lz4(const uint8_t *data, size_t size, uint8_t *out, size_t out_size, problem_t *p) {
    if (out_size == 0) return size == 0 ? ZLLM_OK : damaged("an lz4 frame", p);
    if (size > LZ4_MAX_INPUT_SIZE || out_size > LZ4_MAX_INPUT_SIZE || out_size > LZ4_EXPANSION * (uint64_t)size + LZ4_SLACK)
        return damaged("an lz4 frame", p);
    const int got = LZ4_decompress_safe((const char *)data, (char *)out, (int)size, (int)out_size);
    return got >= 0 && (size_t)got == out_size ? ZLLM_OK : damaged("an lz4 frame", p);
}

zllm_result zllm_problem_of_coder(zllm_result rc, const char *what, problem_t *p) {
    switch (rc) {
        case ZLLM_OK: return ZLLM_OK;
        case ZLLM_E_MEMORY: return NO_MEMORY(p);
        case ZLLM_E_CANCELLED: return zllm_problem(p, rc, "cancelled");
        case ZLLM_E_DATA: return DAMAGED(p, "%s is damaged: no writer makes such a code string", what);
        case ZLLM_E_MODEL: return zllm_problem(p, rc, "%s", zllm_model_error());
        case ZLLM_E_KERNEL_UNKNOWN:
        case ZLLM_E_KERNEL_NOT_BUILT:
        case ZLLM_E_KERNEL_UNSUPPORTED:
        case ZLLM_E_KERNEL_WRONG: return zllm_problem(p, rc, "the kernel that was asked for cannot be used");
        default: return DAMAGED(p, "%s is damaged: its coded text does not fit it", what);
    }
}

zllm_result zllm_unpack_cm(const decoding_t *d, const uint8_t *data, size_t size, uint8_t *out, size_t out_size,
                           const uint64_t *cuts, size_t n_cuts, int limited, const char *what, problem_t *p) {
    if (out_size > WINDOW || (limited && out_size > FREE_MIXED_TEXT + MAX_MIXED_TEXT_RATIO * (size > 0 ? size - 1 : 0)))
        return DAMAGED(p, "%s is damaged: %zu bytes claim to be %zu", what, size, out_size);
    if (size == 0) return out_size == 0 && limited ? ZLLM_OK : DAMAGED(p, "%s is damaged: it is empty", what);
    if (out_size == 0 && limited) return ZLLM_OK;
    if (data[0] != ZLLM_ARITHMETIC_VERSION)
        return zllm_problem(p, ZLLM_E_VERSION, "%s was coded with arithmetic version %u, this program has %u", what,
                            data[0], (unsigned)ZLLM_ARITHMETIC_VERSION);
    const zllm_result rc = zllm_cm_decode(data + 1, size - 1, out, out_size, cuts, n_cuts, d->cancel, NULL, d->kernel,
                                          d->options);
    return zllm_problem_of_coder(rc, what, p);
}
