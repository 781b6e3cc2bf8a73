/* Payloads of codec tensors: numbers of some bytes each, as planes of their bytes (docs/media.md). */
#include "archive/bytes.h"
#include "archive/limits.h"
#include "archive/unpack.h"

#define WHAT "a frame of tensors"
#define TURNED 16u
#define MOST_WIDTH 8u

typedef struct {
    size_t width, start, count; /* bytes of a number, and before the first one; numbers */
    int turned;
    uint64_t lengths[MOST_WIDTH]; /* of each plane's zstd frame, the highest byte's first; 0: it is stored */
} form_t;

static int read_form(bytes_t *in, size_t size, form_t *f) {
    const uint8_t kind = bytes_u8(in);
    f->turned = kind == (TURNED | 2) || kind == (TURNED | 4);
    f->width = f->turned ? kind - TURNED : kind;
    if (f->width != 2 && f->width != 4 && f->width != 8) return 0;
    f->start = (size_t)bytes_varint(in, size);
    f->count = (size - f->start) / f->width;
    for (size_t k = 0; k < f->width; k++) f->lengths[k] = bytes_varint(in, f->count);
    return !in->bad;
}

/* Exponent, then sign and mantissa become sign, exponent, mantissa. The two highest bytes stand last. */
static void turn_back(const form_t *f, uint8_t *numbers) {
    for (size_t i = 0; i < f->count; i++) {
        uint8_t *top = numbers + i * f->width + f->width - 1, *next = top - 1;
        const uint8_t exponent = *top, rest = *next;
        *top = (uint8_t)((rest & 128) | exponent >> 1);
        *next = (uint8_t)((exponent & 1) << 7 | (rest & 127));
    }
}

/* Each plane to its byte of the numbers. `room` is for one plane. */
static zllm_result read_planes(heap_t *heap, const form_t *f, bytes_t *in, uint8_t *numbers, uint8_t *room, problem_t *p) {
    for (size_t k = 0; k < f->width; k++) {
        const size_t kept = f->lengths[k] > 0 ? (size_t)f->lengths[k] : f->count;
        const uint8_t *plane = bytes_take(in, kept);
        if (plane == NULL) return DAMAGED(p, "%s is damaged: it ends before its numbers do", WHAT);
        if (f->lengths[k] > 0) {
            const zllm_result rc = zllm_unpack_zstd(heap, plane, kept, room, f->count, WHAT, p);
            if (rc != ZLLM_OK) return rc;
            plane = room;
        }
        uint8_t *to = numbers + f->width - 1 - k;
        for (size_t i = 0; i < f->count; i++) to[i * f->width] = plane[i];
    }
    if (f->turned) turn_back(f, numbers);
    return ZLLM_OK;
}

zllm_result zllm_unpack_tensors(heap_t *heap, const uint8_t *data, size_t size, uint8_t *out, size_t out_size,
                                problem_t *p) {
    bytes_t in = bytes_of(data, size);
    form_t f;
    if (out_size == 0 || out_size > WINDOW || !read_form(&in, out_size, &f))
        return DAMAGED(p, "%s is damaged: its numbers make no sense", WHAT);
    uint8_t *room = zllm_heap_take(heap, f.count + 1);
    if (room == NULL) return NO_MEMORY(p);
    const zllm_result rc = read_planes(heap, &f, &in, out + f.start, room, p);
    zllm_heap_free(heap, room);
    if (rc != ZLLM_OK) return rc;
    const size_t end = f.start + f.count * f.width;
    const uint8_t *before = bytes_take(&in, f.start), *behind = bytes_take(&in, out_size - end);
    if (in.bad || bytes_left(&in) > 0) return DAMAGED(p, "%s is damaged: its bytes do not fit its numbers", WHAT);
    memcpy(out, before, f.start);
    memcpy(out + end, behind, out_size - end);
    return ZLLM_OK;
}
