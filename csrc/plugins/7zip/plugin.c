/* What 7-Zip looks for in a library of its Codecs folder: the method ZLLM, and the archive format. */
#include <stdatomic.h>
#include <string.h>

#include "plugins/7zip/coder.h"
#include "zllm.h"

#define EXPORT __attribute__((visibility("default")))

const guid_t DECODER_CLASS = {{0x8a, 0x5d, 0x1f, 0x6e, 0x27, 0xc4, 0x09, 0x4b, 0x9d, 0x31, 0x5a, 0x4c, 0x4d, 0x01, 0x00, 0x01}};
const guid_t ENCODER_CLASS = {{0x8a, 0x5d, 0x1f, 0x6e, 0x27, 0xc4, 0x09, 0x4b, 0x9d, 0x31, 0x5a, 0x4c, 0x4d, 0x01, 0x00, 0x02}};
const guid_t ARCHIVE_CLASS = {{0x8a, 0x5d, 0x1f, 0x6e, 0x27, 0xc4, 0x09, 0x4b, 0x9d, 0x31, 0x5a, 0x4c, 0x4d, 0x01, 0x00, 0x03}};

EXPORT result_t GetModuleProp(uint32_t property, variant_t *out);
EXPORT result_t GetNumberOfMethods(uint32_t *n);
EXPORT result_t GetMethodProperty(uint32_t index, uint32_t property, variant_t *out);
EXPORT result_t CreateDecoder(uint32_t index, const guid_t *interface, void **out);
EXPORT result_t CreateEncoder(uint32_t index, const guid_t *interface, void **out);
EXPORT result_t CreateObject(const guid_t *class, const guid_t *interface, void **out);
EXPORT result_t GetNumberOfFormats(uint32_t *n);
EXPORT result_t GetHandlerProperty2(uint32_t index, uint32_t property, variant_t *out);

/* 0: objects have no virtual destructor; 1: a version. */
result_t GetModuleProp(uint32_t property, variant_t *out) {
    *out = (variant_t){0};
    if (property == 0) return put_u32(out, 0);
    if (property == 1) return put_u32(out, zllm_version_number());
    return S_OK;
}

result_t GetNumberOfMethods(uint32_t *n) {
    *n = 1;
    return S_OK;
}

result_t GetMethodProperty(uint32_t index, uint32_t property, variant_t *out) {
    enum { ID, NAME, DECODER, ENCODER, DESCRIPTION = 6, HAS_DECODER, HAS_ENCODER };
    static const char description[] = "adaptive context mixing and an exact language model";
    *out = (variant_t){0};
    if (index > 0) return E_INVALIDARG;
    switch (property) {
        case ID: return put_u64(out, METHOD_ID);
        case NAME: return put_text(out, "ZLLM", 4);
        case DECODER: return put_bytes(out, &DECODER_CLASS, sizeof DECODER_CLASS);
        case ENCODER: return put_bytes(out, &ENCODER_CLASS, sizeof ENCODER_CLASS);
        case DESCRIPTION: return put_text(out, description, sizeof description - 1);
        case HAS_DECODER:
        case HAS_ENCODER: return put_truth(out, 1);
        default: return S_OK;
    }
}

result_t CreateDecoder(uint32_t index, const guid_t *interface, void **out) {
    return index == 0 ? coder_new(0, interface, out) : E_INVALIDARG;
}

result_t CreateEncoder(uint32_t index, const guid_t *interface, void **out) {
    return index == 0 ? coder_new(1, interface, out) : E_INVALIDARG;
}

result_t CreateObject(const guid_t *class, const guid_t *interface, void **out) {
    *out = NULL;
    if (same_guid(class, &DECODER_CLASS)) return coder_new(0, interface, out);
    if (same_guid(class, &ENCODER_CLASS)) return coder_new(1, interface, out);
    if (same_guid(class, &ARCHIVE_CLASS)) return archive_new(interface, out);
    return CLASS_E_CLASSNOTAVAILABLE;
}

result_t GetNumberOfFormats(uint32_t *n) {
    *n = 1;
    return S_OK;
}

result_t GetHandlerProperty2(uint32_t index, uint32_t property, variant_t *out) {
    enum { NAME, CLASS, EXTENSION, UPDATE = 4, SIGNATURE = 6, FLAGS = 11, TIMES };
    enum { SYMBOLIC_LINKS = 1 << 10, HARD_LINKS = 1 << 11, START_ALONE = 1 << 7, MODIFICATION = 1 << 18 };
    static const uint8_t signature[] = {0x8d, 0x5a, 0x4c, 0x4d, 0x0d, 0x0a, 0x1a, 0x0a};
    *out = (variant_t){0};
    if (index > 0) return E_INVALIDARG;
    switch (property) {
        case NAME: return put_text(out, "zllm", 4);
        case CLASS: return put_bytes(out, &ARCHIVE_CLASS, sizeof ARCHIVE_CLASS);
        case EXTENSION: return put_text(out, "zllm", 4);
        case UPDATE: return put_truth(out, 0);
        case SIGNATURE: return put_bytes(out, signature, sizeof signature);
        case FLAGS: return put_u32(out, SYMBOLIC_LINKS | HARD_LINKS | START_ALONE | MODIFICATION);
        case TIMES: return put_u32(out, 1u << 3 | 3u << 27); /* to the nanosecond */
        default: return S_OK;
    }
}
