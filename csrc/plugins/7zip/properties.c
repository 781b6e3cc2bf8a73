#include <string.h>

#include "plugins/7zip/archive.h"

/* Numbers of 7-Zip's properties. */
enum { PATH = 3, IS_FOLDER = 6, SIZE = 7, ATTRIBUTES = 9, MODIFIED = 12, SOLID = 13, USER = 25, GROUP = 26, BYTES = 44,
       MODE = 53, SYMBOLIC_LINK = 54, PROBLEM = 55, PROBLEM_FLAGS = 71, TAIL = 87, HARD_LINK = 90, USER_ID = 99,
       GROUP_ID = 100, MAJOR = 101, MINOR = 102 };
enum { IS_NOT_ARCHIVE = 1 << 0, UNEXPECTED_END = 1 << 5, UNSUPPORTED_FEATURE = 1 << 8, DATA_WRONG = 1 << 9 };

static const struct {
    uint32_t property;
    uint16_t type;
} SHOWN[] = {{PATH, VT_BSTR}, {IS_FOLDER, VT_BOOL}, {SIZE, VT_UI8}, {MODIFIED, VT_FILETIME}, {MODE, VT_UI4},
             {USER, VT_BSTR}, {GROUP, VT_BSTR}, {SYMBOLIC_LINK, VT_BSTR}, {HARD_LINK, VT_BSTR}, {USER_ID, VT_UI4},
             {GROUP_ID, VT_UI4}, {MAJOR, VT_UI4}, {MINOR, VT_UI4}};

uint32_t property_count(void) { return sizeof SHOWN / sizeof SHOWN[0]; }

result_t property_info(uint32_t index, uint32_t *property, uint16_t *type) {
    if (index >= property_count()) return E_INVALIDARG;
    *property = SHOWN[index].property;
    *type = SHOWN[index].type;
    return S_OK;
}

static uint32_t whole_mode(const item_t *item) {
    static const uint32_t KINDS[] = {0100000, 0100000, 0120000, 0020000, 0060000, 0040000, 0010000, 0100000, 0100000};
    return KINDS[item->kind] | (item->mode & 07777);
}

/* Those of Windows: a folder is 10 hex; 8000 hex says that the upper half is the mode. */
static uint32_t attributes(const item_t *item) {
    return whole_mode(item) << 16 | 0x8000u | (item->kind == ZLLM_FOLDER ? 0x10u : 0);
}

static result_t put_time(variant_t *out, const item_t *item) {
    const int64_t from_1601 = 11644473600;
    if (item->mtime < -from_1601 || item->mtime > 900000000000) return S_OK;
    *out = (variant_t){.type = VT_FILETIME, .precision = 16 + 9, .hundredths = (uint16_t)(item->mtime_ns % 100),
                       .as.u64 = (uint64_t)(item->mtime + from_1601) * 10000000 + item->mtime_ns / 100};
    return S_OK;
}

static result_t put_id(variant_t *out, uint64_t id) { return id <= UINT32_MAX ? put_u32(out, (uint32_t)id) : S_OK; }

result_t item_property(const opened_t *a, uint32_t index, uint32_t property, variant_t *out) {
    *out = (variant_t){0};
    if (index >= a->n) return E_INVALIDARG;
    const item_t *item = &a->items[index];
    const int device = item->kind == ZLLM_CHARACTER_DEVICE || item->kind == ZLLM_BLOCK_DEVICE;
    switch (property) {
        case PATH: return item->kind == ZLLM_RAW ? S_OK : put_text(out, item->name, item->name_size); /* 7-Zip makes one */
        case IS_FOLDER: return put_truth(out, item->kind == ZLLM_FOLDER);
        case SIZE: return item->kind == ZLLM_FOLDER || item->size == ZLLM_UNKNOWN ? S_OK : put_u64(out, item->size);
        case ATTRIBUTES: return item->kind == ZLLM_RAW ? S_OK : put_u32(out, attributes(item));
        case MODE: return item->kind == ZLLM_RAW ? S_OK : put_u32(out, whole_mode(item));
        case MODIFIED: return item->kind == ZLLM_RAW ? S_OK : put_time(out, item);
        case USER: return item->user[0] == 0 ? S_OK : put_text(out, item->user, strlen(item->user));
        case GROUP: return item->group[0] == 0 ? S_OK : put_text(out, item->group, strlen(item->group));
        case USER_ID: return item->kind == ZLLM_RAW ? S_OK : put_id(out, item->uid);
        case GROUP_ID: return item->kind == ZLLM_RAW ? S_OK : put_id(out, item->gid);
        case SYMBOLIC_LINK: return item->kind == ZLLM_SYMBOLIC_LINK ? put_text(out, item->link, item->link_size) : S_OK;
        case HARD_LINK: return item->kind == ZLLM_HARD_LINK ? put_text(out, item->link, item->link_size) : S_OK;
        case MAJOR: return device ? put_u32(out, item->device_major) : S_OK;
        case MINOR: return device ? put_u32(out, item->device_minor) : S_OK;
        default: return S_OK;
    }
}

static uint32_t flags_of(zllm_result damage) {
    switch (damage) {
        case ZLLM_OK: return 0;
        case ZLLM_E_FORMAT: return IS_NOT_ARCHIVE;
        case ZLLM_E_VERSION: return UNSUPPORTED_FEATURE;
        case ZLLM_E_INPUT: return UNEXPECTED_END;
        default: return DATA_WRONG;
    }
}

result_t archive_property(const opened_t *a, uint32_t property, variant_t *out) {
    *out = (variant_t){0};
    const uint64_t ignored = a->archive != NULL ? zllm_archive_ignored(a->archive) : 0;
    switch (property) {
        case BYTES: return a->archive != NULL ? put_u64(out, a->stream_size - ignored) : S_OK;
        case SOLID: return put_truth(out, 1);
        case TAIL: return ignored > 0 ? put_u64(out, ignored) : S_OK;
        case PROBLEM: return a->problem[0] != 0 ? put_text(out, a->problem, strlen(a->problem)) : S_OK;
        case PROBLEM_FLAGS: return a->damage != ZLLM_OK ? put_u32(out, flags_of(a->damage)) : S_OK;
        default: return S_OK;
    }
}
