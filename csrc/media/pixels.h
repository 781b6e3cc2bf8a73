/* Rows of pixels by adaptive prediction: least squares over neighbours and other channels, blended with simpler predictions
 * by how wrong each was nearby; residuals by mixed contexts; and whole pixels that came after the same neighbours before.
 */
#ifndef ZLLM_MEDIA_PIXELS_H
#define ZLLM_MEDIA_PIXELS_H

#include "residual.h"

#define MOST_PLANES 4u
#define MOST_SAMPLES (1u << 18) /* of a row: memory is in proportion */

/* Rows of `columns` pixels, each of 1 to MOST_PLANES interleaved samples of 1 or 2 bytes. */
typedef struct {
    uint32_t columns, planes, width;
    int big;
} pixel_format_t;

typedef struct pixels pixels_t;

/* NULL when out of memory. */
pixels_t *zllm_pixels_new(heap_t *heap, const tables_t *tables, const pixel_format_t *format);
void zllm_pixels_free(heap_t *heap, pixels_t *p);
/* Bytes that one takes for rows of so many pixels. */
size_t zllm_pixels_memory(const pixel_format_t *format);
/* The next row: read when encoding, else written. */
void zllm_pixels_row(pixels_t *p, string_t *s, uint8_t *row);

#endif
