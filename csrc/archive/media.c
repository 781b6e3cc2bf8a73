/* Payloads of the codecs pcm and image (docs/media.md). */
#include <string.h>

#include "archive/limits.h"
#include "archive/unpack.h"
#include "media/payload.h"

#define WHAT "a frame of media"

/* Data in which its codec found nothing stands there as it is, behind this byte. */
#define PLAIN 0

typedef zllm_result (*media_decode_t)(const uint8_t *coded, size_t coded_size, uint8_t *data, size_t n,
                                      const volatile int32_t *cancel, volatile uint64_t *progress,
                                      const zllm_options *options);

static zllm_result unpack(media_decode_t decode, const decoding_t *d, const uint8_t *data, size_t size, uint8_t *out,
                          size_t out_size, problem_t *p) {
    if (size == 0 || out_size == 0 || out_size > WINDOW)
        return DAMAGED(p, "%s is damaged: %zu bytes claim to be %zu", WHAT, size, out_size);
    if (data[0] == PLAIN && size - 1 == out_size) {
        memcpy(out, data + 1, out_size);
        return ZLLM_OK;
    }
    if (data[0] == PLAIN || out_size > FREE_MIXED_TEXT + MAX_MIXED_TEXT_RATIO * (size - 1))
        return DAMAGED(p, "%s is damaged: %zu bytes claim to be %zu", WHAT, size, out_size);
    if (data[0] != MEDIA_VERSION)
        return zllm_problem(p, ZLLM_E_VERSION, "%s was coded with version %u of its arithmetic, this program has %u", WHAT,
                            data[0], (unsigned)MEDIA_VERSION);
    const zllm_result rc = decode(data, size, out, out_size, d->cancel, NULL, d->options);
    if (rc == ZLLM_E_DATA) return DAMAGED(p, "%s is damaged: its runs do not fit it", WHAT);
    return zllm_problem_of_coder(rc, WHAT, p);
}

zllm_result zllm_unpack_pcm(const decoding_t *d, const uint8_t *data, size_t size, uint8_t *out, size_t out_size,
                            problem_t *p) {
    return unpack(zllm_pcm_decode, d, data, size, out, out_size, p);
}

zllm_result zllm_unpack_image(const decoding_t *d, const uint8_t *data, size_t size, uint8_t *out, size_t out_size,
                              problem_t *p) {
    return unpack(zllm_image_decode, d, data, size, out, out_size, p);
}
