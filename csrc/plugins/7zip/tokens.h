/* A text's tokens, as the model's own tokenizer makes them: byte-level BPE with the split that zllm's models have
 * (docs/model-format.md). Of models with another tokenizer they are the longest that fit, which costs some percent. */
#ifndef ZLLM_7ZIP_TOKENS_H
#define ZLLM_7ZIP_TOKENS_H

#include "model.h"

typedef struct tokens tokens_t;

/* json: the model file's tokenizer.json. NULL: out of memory. */
tokens_t *tokens_new(const zllm_model *model, const char *json, size_t size);
void tokens_free(tokens_t *t);
/* Stores at most `size` tokens, and returns how many. */
size_t tokens_of(const tokens_t *t, const uint8_t *text, size_t size, uint32_t *out);
/* Bytes of a token. */
size_t tokens_length(const tokens_t *t, uint32_t token);

#endif
