#define _GNU_SOURCE /* dladdr */
#include "plugins/7zip/models.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "network/json.h"
#include "plugins/7zip/com.h"
#include "zllm_archive.h"

#define PATH_ROOM 4096u
#define MOST_MODEL ((long)1 << 30)

typedef struct file {
    struct file *next;
    uint8_t *data;
    size_t size;
    uint8_t sha256[HASH_SIZE];
} file_t;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static coder_model_t *loaded;
static file_t *files; /* that archives use */

static void free_model(coder_model_t *m) {
    if (m == NULL) return;
    tokens_free(m->tokens);
    zllm_model_free(m->model);
    free(m);
}

__attribute__((destructor)) static void forget(void) {
    for (coder_model_t *m = loaded, *next; m != NULL; m = next) {
        next = m->next;
        free_model(m);
    }
    for (file_t *f = files, *next; f != NULL; f = next) {
        next = f->next;
        free(f->data);
        free(f);
    }
}

static uint8_t *read_file(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    uint8_t *data = NULL;
    if (file == NULL) return NULL;
    long end;
    if (fseek(file, 0, SEEK_END) == 0 && (end = ftell(file)) > 0 && end <= MOST_MODEL && fseek(file, 0, SEEK_SET) == 0) {
        *size = (size_t)end;
        data = malloc(*size);
        if (data != NULL && fread(data, 1, *size, file) != *size) {
            free(data);
            data = NULL;
        }
    } else errno = EINVAL;
    (void)fclose(file);
    return data;
}

/* What the file's header says: the model's name, and the tokenizer. */
static int read_header(coder_model_t *m, const uint8_t *data, size_t size) {
    zllm_model_file *file;
    size_t length, n;
    json_t json;
    heap_t *heap;
    if (zllm_model_file_open(data, size, NULL, &file) != ZLLM_OK) return 0;
    const char *description = zllm_model_file_description(file, &length);
    if (zllm_heap_open(NULL, &heap) == ZLLM_OK) {
        if (zllm_json_parse(&json, heap, description, length) == JSON_OK) {
            const json_value_t *name = zllm_json_member_of_kind(&json.root, "name", JSON_STRING);
            if (name != NULL) (void)snprintf(m->name, sizeof m->name, "%s", name->as.string);
        }
        zllm_json_free(&json);
        zllm_heap_close(heap);
    }
    const zllm_tensor *tensors = zllm_model_file_tensors(file, &n);
    for (size_t i = 0; i < n && m->tokens == NULL; i++)
        if (tensors[i].name_size == 14 && memcmp(tensors[i].name, "tokenizer.json", 14) == 0)
            m->tokens = tokens_new(m->model, (const char *)tensors[i].data, (size_t)tensors[i].size);
    zllm_model_file_free(file);
    return m->tokens != NULL;
}

static const coder_model_t *load(const char *path, const uint8_t *data, size_t size, const uint8_t hash[HASH_SIZE]) {
    for (const coder_model_t *m = loaded; m != NULL; m = m->next)
        if (memcmp(m->sha256, hash, HASH_SIZE) == 0) return m;
    coder_model_t *m = calloc(1, sizeof *m);
    if (m == NULL) return NULL;
    memcpy(m->sha256, hash, HASH_SIZE);
    const zllm_result rc = zllm_model_parse(data, size, NULL, NULL, &m->model);
    if (rc != ZLLM_OK || !read_header(m, data, size)) {
        complain("%s: %s", path, rc == ZLLM_E_MODEL ? zllm_model_error()
                                 : rc == ZLLM_OK || rc == ZLLM_E_MEMORY ? "out of memory" : "its kernel is refused");
        free_model(m);
        return NULL;
    }
    m->next = loaded;
    return loaded = m;
}

/* The folder of models beside the plug-in, with a slash. (Of a file beside it 7-Zip would say that it is no codec.) */
static const char *folder(char out[PATH_ROOM]) {
    static const char anchor;
    Dl_info info;
    out[0] = 0;
    if (dladdr(&anchor, &info) == 0 || info.dli_fname == NULL || strlen(info.dli_fname) + 8 >= PATH_ROOM) return out;
    const char *slash = strrchr(info.dli_fname, '/');
    const int length = slash == NULL ? 0 : (int)(slash + 1 - info.dli_fname);
    (void)snprintf(out, PATH_ROOM, "%.*smodels/", length, info.dli_fname);
    return out;
}

/* The path of a model that is asked for: a file, or a name beside the plug-in. */
static int path_of(const char *wanted, char out[PATH_ROOM]) {
    char beside[PATH_ROOM];
    const size_t length = strlen(wanted);
    const int is_path = strchr(wanted, '/') != NULL || (length > 4 && strcmp(wanted + length - 4, ".zlm") == 0);
    const int n = is_path ? snprintf(out, PATH_ROOM, "%s", wanted)
                          : snprintf(out, PATH_ROOM, "%s%s.zlm", folder(beside), wanted);
    return n > 0 && (size_t)n < PATH_ROOM;
}

static int named(const char *wanted, int demanded, const coder_model_t **out) {
    char path[PATH_ROOM];
    uint8_t hash[HASH_SIZE];
    size_t size = 0;
    *out = NULL;
    if (!path_of(wanted, path)) {
        complain("%s: the path is too long", wanted);
        return 0;
    }
    uint8_t *data = read_file(path, &size);
    if (data == NULL) {
        if (demanded) complain("the model %s cannot be read: %s: %s", wanted, path, strerror(errno));
        return !demanded;
    }
    zllm_hash(data, size, hash);
    *out = load(path, data, size, hash);
    free(data);
    return *out != NULL;
}

int model_named(const char *wanted, const coder_model_t **out) {
    const char *environment = getenv("ZLLM_MODEL");
    int demanded = wanted[0] != 0;
    *out = NULL;
    if (!demanded && environment != NULL && environment[0] != 0) {
        wanted = environment;
        demanded = 1;
    }
    if (strcmp(wanted, "none") == 0) return 1;
    (void)pthread_mutex_lock(&lock);
    const int rc = named(demanded ? wanted : "default", demanded, out);
    (void)pthread_mutex_unlock(&lock);
    return rc;
}

/* The bytes of the file at that path if its hash begins so; they are the caller's. */
static uint8_t *matching(const char *path, const uint8_t *hash, size_t length, size_t *size, uint8_t own[HASH_SIZE]) {
    uint8_t *data = read_file(path, size);
    if (data == NULL) return NULL;
    zllm_hash(data, *size, own);
    if (memcmp(own, hash, length) == 0) return data;
    free(data);
    return NULL;
}

/* The same of the file that ZLLM_MODEL names, and of all models beside the plug-in; `path` is where it was. */
static uint8_t *search(const uint8_t *hash, size_t length, size_t *size, uint8_t own[HASH_SIZE], char path[PATH_ROOM]) {
    const char *environment = getenv("ZLLM_MODEL");
    char beside[PATH_ROOM];
    uint8_t *data = NULL;
    if (environment != NULL && path_of(environment, path) && (data = matching(path, hash, length, size, own)) != NULL)
        return data;
    DIR *entries = opendir(folder(beside));
    if (entries == NULL) return NULL;
    for (const struct dirent *e; data == NULL && (e = readdir(entries)) != NULL;) {
        const size_t n = strlen(e->d_name);
        if (n < 5 || strcmp(e->d_name + n - 4, ".zlm") != 0) continue;
        if ((size_t)snprintf(path, PATH_ROOM, "%s%s", beside, e->d_name) >= PATH_ROOM) continue;
        data = matching(path, hash, length, size, own);
    }
    (void)closedir(entries);
    return data;
}

static const coder_model_t *of_hash(const uint8_t *hash, size_t length) {
    char path[PATH_ROOM];
    uint8_t own[HASH_SIZE];
    size_t size;
    for (const coder_model_t *m = loaded; m != NULL; m = m->next)
        if (memcmp(m->sha256, hash, length) == 0) return m;
    uint8_t *data = search(hash, length, &size, own, path);
    const coder_model_t *m = data != NULL ? load(path, data, size, own) : NULL;
    free(data);
    return m;
}

const coder_model_t *model_of_hash(const uint8_t *hash, size_t size) {
    (void)pthread_mutex_lock(&lock);
    const coder_model_t *m = of_hash(hash, size);
    (void)pthread_mutex_unlock(&lock);
    return m;
}

static file_t *file_of_hash(const uint8_t *hash) {
    char path[PATH_ROOM];
    for (file_t *f = files; f != NULL; f = f->next)
        if (memcmp(f->sha256, hash, HASH_SIZE) == 0) return f;
    file_t *f = calloc(1, sizeof *f);
    if (f == NULL) return NULL;
    f->data = search(hash, HASH_SIZE, &f->size, f->sha256, path);
    if (f->data == NULL) {
        free(f);
        return NULL;
    }
    f->next = files;
    return files = f;
}

int model_file_of_hash(const uint8_t *hash, const uint8_t **data, size_t *size) {
    (void)pthread_mutex_lock(&lock);
    const file_t *f = file_of_hash(hash);
    (void)pthread_mutex_unlock(&lock);
    if (f == NULL) return 0;
    *data = f->data;
    *size = f->size;
    return 1;
}
