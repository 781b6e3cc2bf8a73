/* libzllm: a text in a buffer, with a model or without. What is coded says how, how long the text is, and what it has to be:
 * docs/c-library.md has its bytes.
 *
 *     size_t size = zllm_bound(n);
 *     uint8_t *coded = malloc(size);
 *     zllm_result rc = zllm_compress(NULL, text, n, coded, &size, NULL);
 *
 * Threading: any function may be called by several threads at once.
 */
#ifndef ZLLM_TEXT_H
#define ZLLM_TEXT_H

#include "zllm.h"

#ifdef __cplusplus
extern "C" {
#endif

#define ZLLM_MOST_TEXT ((size_t)64 << 20) /* bytes of a text, at most */

/* Bytes that a text of `size` bytes is coded to, at most. */
ZLLM_API size_t zllm_bound(size_t size);
/* Code a text by the model, or, for NULL, by the adaptive predictor alone. *coded_size: room in, length out;
 * zllm_bound(size) is enough. One thread, about a megabyte a second without a model. ZLLM_E_ARGUMENT: the text is too long.
 * ZLLM_E_VERSION: the library was built without encoders. Tokens are the longest that fit, not those of the model's own
 * tokenizer, which would cost some percent less. */
ZLLM_API zllm_result zllm_compress(const zllm_model *model, const void *text, size_t size, void *coded, size_t *coded_size,
                                   const zllm_options *options);
/* How long the text of a coded buffer is, and whether it takes a model. ZLLM_E_FORMAT: it is none. */
ZLLM_API zllm_result zllm_text_size(const void *coded, size_t coded_size, size_t *size, int *needs_model);
/* The inverse of zllm_compress. *size: room in, length out. ZLLM_E_MISSING: it takes a model, or another one than is given;
 * ZLLM_E_DAMAGED: it is damaged, as its checksum says; ZLLM_E_VERSION: coded with another version of the arithmetic;
 * ZLLM_E_FORMAT, ZLLM_E_SPACE, ZLLM_E_MEMORY. */
ZLLM_API zllm_result zllm_decompress(const zllm_model *model, const void *coded, size_t coded_size, void *text, size_t *size,
                                     const zllm_options *options);

#ifdef __cplusplus
}
#endif

#endif
