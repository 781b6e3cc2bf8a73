/* Payloads of codec rebuild (docs/media.md): pieces by other codecs, the first of which is a plan. */
#include <string.h>

#include "archive/bytes.h"
#include "archive/limits.h"
#include "archive/part.h"
#include "archive/unpack.h"

#define WHAT "a frame of streams"
#define REBUILD_VERSION 1
#define PLAIN 0
#define MOST_PIECES 16u
#define DEEPEST 1u
#define FREE_UNPACKED ((uint64_t)1 << 20)
#define UNPACKED_RATIO 64u
#define MOST_UNPACKED ((uint64_t)32 << 20)

typedef struct {
    uint8_t codec;
    size_t data_size, size;
} piece_t;

zllm_result zllm_unpack_alone(const decoding_t *d, heap_t *heap, unsigned codec, const uint8_t *data, size_t size,
                              uint8_t *out, size_t out_size, problem_t *p) {
    switch (codec) {
        case CODEC_STORE:
            if (size != out_size) return DAMAGED(p, "a frame is damaged: it decodes to another size");
            if (size > 0) memcpy(out, data, size);
            return ZLLM_OK;
        case CODEC_LZ4: return zllm_unpack_lz4(data, size, out, out_size, p);
        case CODEC_ZSTD: return zllm_unpack_zstd(heap, data, size, out, out_size, "a zstd frame", p);
        case CODEC_PCM: return zllm_unpack_pcm(d, data, size, out, out_size, p);
        case CODEC_IMAGE: return zllm_unpack_image(d, data, size, out, out_size, p);
        case CODEC_TENSORS: return zllm_unpack_tensors(heap, data, size, out, out_size, p);
        default: return zllm_unpack_rebuild(d, heap, 0, data, size, out, out_size, p);
    }
}

static zllm_result read_table(bytes_t *in, uint64_t most, piece_t *pieces, size_t *n, uint64_t *total, problem_t *p) {
    *n = (size_t)bytes_varint(in, MOST_PIECES);
    uint64_t coded = 0;
    *total = 0;
    for (size_t i = 0; i < *n; i++) {
        pieces[i].codec = bytes_u8(in);
        pieces[i].data_size = (size_t)bytes_varint(in, most - *total);
        pieces[i].size = (size_t)bytes_varint(in, in->size);
        in->bad |= pieces[i].data_size == 0;
        *total += pieces[i].data_size;
        coded += pieces[i].size;
    }
    return in->bad || *n == 0 || coded != bytes_left(in) ? DAMAGED(p, "%s is damaged: its pieces do not fit it", WHAT) : ZLLM_OK;
}

static zllm_result unpack_piece(const decoding_t *d, heap_t *heap, unsigned depth, const piece_t *piece,
                                const uint8_t *data, uint8_t *out, problem_t *p) {
    if (piece->codec == CODEC_CM)
        return zllm_unpack_cm(d, data, piece->size, out, piece->data_size, NULL, 0, 1, "a text frame", p);
    if (piece->codec == CODEC_REBUILD && depth < DEEPEST)
        return zllm_unpack_rebuild(d, heap, depth + 1, data, piece->size, out, piece->data_size, p);
    if (piece->codec != CODEC_STORE && piece->codec != CODEC_ZSTD && piece->codec != CODEC_IMAGE)
        return DAMAGED(p, "%s is damaged: codec %u is not for its pieces", WHAT, piece->codec);
    return zllm_unpack_alone(d, heap, piece->codec, data, piece->size, out, piece->data_size, p);
}

/* All pieces, one behind the other. */
static zllm_result unpack_pieces(const decoding_t *d, heap_t *heap, unsigned depth, bytes_t *in, const piece_t *pieces,
                                 size_t n, uint8_t *out, problem_t *p) {
    zllm_result rc = ZLLM_OK;
    for (size_t i = 0; i < n && rc == ZLLM_OK; i++) {
        rc = unpack_piece(d, heap, depth, &pieces[i], bytes_take(in, pieces[i].size), out, p);
        out += pieces[i].data_size;
    }
    return rc;
}

static zllm_result unpack(const decoding_t *d, heap_t *heap, unsigned depth, bytes_t *in, uint8_t *out, size_t out_size,
                          problem_t *p) {
    const uint64_t most = lesser(MOST_UNPACKED, FREE_UNPACKED + UNPACKED_RATIO * (uint64_t)out_size) + 2 * (uint64_t)out_size;
    piece_t pieces[MOST_PIECES];
    size_t n;
    uint64_t total;
    zllm_result rc = read_table(in, most, pieces, &n, &total, p);
    if (rc != ZLLM_OK) return rc;
    uint8_t *room = zllm_heap_take(heap, (size_t)total + 1);
    if (room == NULL) return NO_MEMORY(p);
    rc = unpack_pieces(d, heap, depth, in, pieces, n, room, p);
    if (rc == ZLLM_OK) {
        const size_t plan = pieces[0].data_size;
        rc = zllm_rebuild_join(room, plan, room + plan, (size_t)total - plan, out, out_size, d->cancel, d->options);
        rc = rc == ZLLM_E_DATA ? DAMAGED(p, "%s is damaged: its plan makes something else", WHAT)
                               : zllm_problem_of_coder(rc, WHAT, p);
    }
    zllm_heap_free(heap, room);
    return rc;
}

zllm_result zllm_unpack_rebuild(const decoding_t *d, heap_t *heap, unsigned depth, const uint8_t *data, size_t size,
                                uint8_t *out, size_t out_size, problem_t *p) {
    bytes_t in = bytes_of(data, size);
    if (size == 0 && out_size == 0) return ZLLM_OK;
    if (size == 0 || out_size == 0 || out_size > WINDOW)
        return DAMAGED(p, "%s is damaged: %zu bytes claim to be %zu", WHAT, size, out_size);
    const uint8_t version = bytes_u8(&in);
    if (version == PLAIN) {
        if (size - 1 != out_size) return DAMAGED(p, "%s is damaged: %zu bytes claim to be %zu", WHAT, size - 1, out_size);
        memcpy(out, data + 1, out_size);
        return ZLLM_OK;
    }
    if (version != REBUILD_VERSION)
        return zllm_problem(p, ZLLM_E_VERSION, "%s has version %u, this program has %u", WHAT, version,
                            (unsigned)REBUILD_VERSION);
    return unpack(d, heap, depth, &in, out, out_size, p);
}
