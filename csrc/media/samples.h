/* Samples of audio by adaptive prediction: least squares over a channel and the one before it; in the strong form a cascade of
 * longer filters on what is left, and residuals by mixed contexts; in the fast one, residuals by one counter each.
 */
#ifndef ZLLM_MEDIA_SAMPLES_H
#define ZLLM_MEDIA_SAMPLES_H

#include "residual.h"

#define MOST_CHANNELS 8u

/* Interleaved samples of `width` bytes, 1 to 4. centred: the middle of the range means zero, as in unsigned numbers.
 * shift: how many of the lowest bits are zero in all samples, below 8 * width. */
typedef struct {
    uint32_t width, channels, shift;
    int big, centred;
} sample_format_t;

typedef struct samples samples_t;

/* NULL when out of memory. */
samples_t *zllm_samples_new(heap_t *heap, const tables_t *tables, const sample_format_t *format, int fast);
void zllm_samples_free(heap_t *heap, samples_t *p);
/* Bytes that one takes at most. */
size_t zllm_samples_memory(int fast);
/* One sample of each channel: read when encoding, else written. */
void zllm_samples_code(samples_t *p, string_t *s, uint8_t *samples);
int32_t zllm_sample_get(const sample_format_t *format, const uint8_t *from);
/* Whether all samples have zeros in the format's `shift` lowest bits. */
int zllm_samples_fit(const sample_format_t *format, const uint8_t *samples, size_t count);

#endif
