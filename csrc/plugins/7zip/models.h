/* The models that coders use: found by name or by hash, loaded once, kept until the plug-in is unloaded. */
#ifndef ZLLM_7ZIP_MODELS_H
#define ZLLM_7ZIP_MODELS_H

#include "plugins/7zip/tokens.h"

#define HASH_SIZE 32u
#define NAME_ROOM 64u

typedef struct coder_model {
    struct coder_model *next;
    zllm_model *model;
    tokens_t *tokens;
    char name[NAME_ROOM];
    uint8_t sha256[HASH_SIZE];
} coder_model_t;

/* The model to encode with. `wanted` is a file, or the name, without .zlm, of one in the folder models beside the plug-in;
 * "": what ZLLM_MODEL says, or "default" if it is there; "none": no model. Returns 0, with a line on stderr, if there is no
 * such model; *out may be NULL otherwise. */
int model_named(const char *wanted, const coder_model_t **out);
/* The model whose file's hash begins with these bytes: ZLLM_MODEL's, or one in that folder. NULL: it is not here. */
const coder_model_t *model_of_hash(const uint8_t *hash, size_t size);
/* The file of the model with that hash and size, for archives: its bytes stay until the plug-in is unloaded. */
int model_file_of_hash(const uint8_t *hash, const uint8_t **data, size_t *size);

#endif
