/* What a coded buffer begins with (docs/c-library.md). */
#ifndef ZLLM_BUFFER_H
#define ZLLM_BUFFER_H

#include "archive/part.h"
#include "zllm_text.h"

#define BUFFER_MARK_0 0xb5u
#define BUFFER_MARK_1 0x54u
#define TEXT_CHECK_SIZE 4u
#define BUFFER_FRONT (3 + MAX_VARINT_BYTES + 1 + ANSWER_SIZE)

#endif
