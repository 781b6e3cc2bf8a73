/* The plug-in's objects, as 7-Zip makes them. */
#ifndef ZLLM_7ZIP_CODER_H
#define ZLLM_7ZIP_CODER_H

#include "plugins/7zip/com.h"

/* "3F", which anybody may use, five random bytes, and the number of the method (7-Zip's DOC/Methods.txt). */
#define METHOD_ID 0x3fa47d1c965e0001u

extern const guid_t DECODER_CLASS, ENCODER_CLASS, ARCHIVE_CLASS;

/* A coder, of which `interface` is asked. */
result_t coder_new(int encoding, const guid_t *interface, void **out);
/* A reader of .zllm archives. */
result_t archive_new(const guid_t *interface, void **out);

#endif
