#include "archive/limits.h"

#define MAX_RATIO ((uint64_t)1 << 32) /* times MAX_MAP it is still a number */

static uint64_t chosen(uint64_t given, uint64_t own) { return given == 0 ? own : given; }

zllm_result zllm_limits_read(const zllm_limits *from, zllm_limits *to) {
    zllm_limits l = {.size = sizeof l};
    if (from != NULL) {
        const unsigned char *bytes = (const unsigned char *)from;
        if (from->size < sizeof l) return ZLLM_E_ARGUMENT;
        for (size_t i = sizeof l; i < from->size; i++)
            if (bytes[i] != 0) return ZLLM_E_ARGUMENT;
        l = *from;
    }
    l.output_bytes = chosen(l.output_bytes, UINT64_MAX);
    l.members = chosen(l.members, UINT64_MAX);
    l.map_bytes = lesser(chosen(l.map_bytes, MAX_MAP), MAX_MAP);
    l.map_ratio = lesser(chosen(l.map_ratio, MAX_MAP_RATIO), MAX_RATIO);
    l.records = lesser(chosen(l.records, MAX_RECORDS), MAX_RECORDS);
    l.records_ratio = lesser(chosen(l.records_ratio, MAX_HEADERS_RATIO), MAX_RATIO);
    l.name_bytes = chosen(l.name_bytes, MAX_EXTENDED);
    l.directory_bytes = lesser(chosen(l.directory_bytes, MAX_DIRECTORY), MAX_DIRECTORY);
    l.model_bytes = lesser(chosen(l.model_bytes, MAX_MODEL), MAX_MODEL);
    l.frame_bytes = chosen(l.frame_bytes, WINDOW);
    *to = l;
    return ZLLM_OK;
}
