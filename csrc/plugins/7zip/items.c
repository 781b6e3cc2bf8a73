#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plugins/7zip/archive.h"

void free_items(opened_t *a) {
    for (size_t i = 0; i < a->n; i++) free(a->items[i].name);
    free(a->items);
    a->items = NULL;
    a->n = a->room = 0;
}

static int is(const char *text, size_t size, const char *wanted) {
    return size == strlen(wanted) && memcmp(text, wanted, size) == 0;
}

/* Where a member has holes: the size of the file, if it is stored as GNU tar's format 1.0. */
static void read_holes(const zllm_member *m, item_t *item) {
    const char *key, *value;
    size_t at = 0, key_size, value_size;
    int major = 0;
    uint64_t size = 0;
    if (!m->sparse) return;
    while (zllm_member_pax(m, &at, &key, &key_size, &value, &value_size)) {
        char number[24] = {0};
        if (value_size >= sizeof number) continue;
        memcpy(number, value, value_size);
        if (is(key, key_size, "GNU.sparse.major")) major = number[0] == '1' && number[1] == 0;
        if (is(key, key_size, "GNU.sparse.realsize")) size = strtoull(number, NULL, 10);
    }
    item->holes = major;
    item->unknown_holes = !major;
    if (major) item->size = size;
}

static char *copy(char **to, const char *text, size_t size) {
    char *own = *to;
    memcpy(own, text, size);
    own[size] = 0;
    *to += size + 1;
    return own;
}

static int add(opened_t *a, const zllm_member *m, size_t number) {
    if (a->n == a->room) {
        const size_t room = a->room == 0 ? 64 : 2 * a->room;
        item_t *items = realloc(a->items, room * sizeof *items);
        if (items == NULL) return 0;
        a->items = items;
        a->room = room;
    }
    const size_t user = strlen(m->user), group = strlen(m->group);
    char *texts = malloc(m->name_size + m->link_name_size + user + group + 4);
    if (texts == NULL) return 0;
    item_t *item = &a->items[a->n++];
    *item = (item_t){.name_size = m->name_size, .link_size = m->link_name_size, .number = number, .place = m->place,
                     .uid = m->uid, .gid = m->gid, .mtime = m->mtime, .mtime_ns = m->mtime_ns, .mode = m->mode,
                     .device_major = m->device_major, .device_minor = m->device_minor, .kind = m->kind,
                     .size = m->kind == ZLLM_FILE || m->kind == ZLLM_OTHER || m->kind == ZLLM_RAW ? m->size : 0};
    item->name = copy(&texts, m->name, m->name_size);
    item->link = copy(&texts, m->link_name, m->link_name_size);
    item->user = copy(&texts, m->user, user);
    item->group = copy(&texts, m->group, group);
    read_holes(m, item);
    return 1;
}

static int by_name(const void *left, const void *right) {
    const item_t *a = *(const item_t *const *)left, *b = *(const item_t *const *)right;
    const int order = memcmp(a->name, b->name, a->name_size < b->name_size ? a->name_size : b->name_size);
    if (order != 0) return order;
    if (a->name_size != b->name_size) return a->name_size < b->name_size ? -1 : 1;
    return a->number < b->number ? -1 : 1;
}

/* Members supersede earlier ones of the same name. */
static int drop_superseded(opened_t *a) {
    item_t **sorted = malloc((a->n + 1) * sizeof *sorted);
    size_t left = 0;
    if (sorted == NULL) return 0;
    for (size_t i = 0; i < a->n; i++) sorted[i] = &a->items[i];
    qsort(sorted, a->n, sizeof *sorted, by_name);
    for (size_t i = 0; i + 1 < a->n; i++) {
        if (sorted[i]->name_size != sorted[i + 1]->name_size ||
            memcmp(sorted[i]->name, sorted[i + 1]->name, sorted[i]->name_size) != 0)
            continue;
        free(sorted[i]->name);
        sorted[i]->name = NULL;
    }
    free(sorted);
    for (size_t i = 0; i < a->n; i++)
        if (a->items[i].name != NULL) a->items[left++] = a->items[i];
    a->n = left;
    return 1;
}

result_t read_items(opened_t *a) {
    zllm_member member;
    size_t number = 0;
    zllm_result rc;
    while ((rc = zllm_archive_next(a->archive, &member)) == ZLLM_OK)
        if (a->n == UINT32_MAX - 1 || !add(a, &member, number++)) return E_OUTOFMEMORY;
    if (rc == ZLLM_E_MEMORY) return E_OUTOFMEMORY;
    if (rc != ZLLM_END) {
        a->damage = rc;
        (void)snprintf(a->problem, sizeof a->problem, "%s", zllm_archive_error(a->archive));
    }
    a->next = SIZE_MAX;
    return drop_superseded(a) ? S_OK : E_OUTOFMEMORY;
}
