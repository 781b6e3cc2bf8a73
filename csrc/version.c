#include "zllm.h"

const char *zllm_version(void) { return ZLLM_VERSION_STRING; }

uint32_t zllm_version_number(void) { return ZLLM_VERSION_NUMBER; }

uint32_t zllm_arithmetic_version(void) { return ZLLM_ARITHMETIC_VERSION; }
