#define _GNU_SOURCE /* O_PATH */
#include "tools/tree.h"

#if !defined(_WIN32) /* see extract.c */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MOST_MADE 1024 /* folders that one member may need which do not exist */
#define FOLDER (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)

const char *path_split(const char *name, size_t size, path_t *out) {
    *out = (path_t){0};
    if (memchr(name, 0, size) != NULL) return "its name contains a NUL, which no file name can: not extracted";
    if (size > LONGEST_NAME) return "its name is too long: not extracted";
    out->text = malloc(size + 1);
    if (out->text == NULL) return "out of memory";
    for (size_t at = 0; at < size;) {
        const char *slash = memchr(name + at, '/', size - at);
        const size_t end = slash == NULL ? size : (size_t)(slash - name), length = end - at;
        const int dots = length == 2 && name[at] == '.' && name[at + 1] == '.';
        if (dots) {
            path_free(out);
            return "its name contains '..' and may lead out of the folder: not extracted";
        }
        if (length > 0 && !(length == 1 && name[at] == '.')) {
            memcpy(out->text + out->size, name + at, length);
            out->text[out->size + length] = 0;
            out->size += length + 1;
            out->parts++;
        }
        at = end + 1;
    }
    return NULL;
}

void path_free(path_t *p) {
    free(p->text);
    *p = (path_t){0};
}

const char *path_last(const path_t *p) {
    size_t at = p->size - 1;
    while (at > 0 && p->text[at - 1] != 0) at--;
    return p->text + at;
}

int tree_open(tree_t *t, const char *path) {
    *t = (tree_t){.folder = -1};
    if (mkdir(path, 0777) != 0 && errno != EEXIST) return -1;
    t->root = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return t->root < 0 ? -1 : 0;
}

static void leave(tree_t *t) {
    if (t->folder >= 0) (void)close(t->folder);
    t->folder = -1;
    path_free(&t->entered);
}

void tree_close(tree_t *t) {
    leave(t);
    if (t->root >= 0) (void)close(t->root);
}

/* A folder in place of a link; of anything else that is no folder an error. */
static int replace_link(int folder, const char *name) {
    struct stat state;
    if (fstatat(folder, name, &state, AT_SYMLINK_NOFOLLOW) != 0) return -1;
    if (!S_ISLNK(state.st_mode)) {
        errno = ENOTDIR;
        return -1;
    }
    return unlinkat(folder, name, 0) != 0 ? -1 : mkdirat(folder, name, 0777);
}

static int step(int folder, const char *name, int make, int *made) {
    int next = openat(folder, name, FOLDER);
    if (next >= 0 || !make) return next;
    if (errno == ENOENT) {
        if (++*made > MOST_MADE) {
            errno = ENAMETOOLONG;
            return -1;
        }
        if (mkdirat(folder, name, 0777) != 0 && errno != EEXIST) return -1;
    } else if ((errno != ENOTDIR && errno != ELOOP) || replace_link(folder, name) != 0) return -1;
    next = openat(folder, name, FOLDER);
    return next;
}

int tree_enter(tree_t *t, const path_t *p, int make) {
    const size_t above = p->size - (p->parts == 0 ? 0 : strlen(path_last(p)) + 1);
    int made = 0;
    if (t->folder >= 0 && t->entered.size == above && (above == 0 || memcmp(t->entered.text, p->text, above) == 0))
        return t->folder;
    leave(t);
    int folder = dup(t->root);
    for (size_t at = 0; folder >= 0 && at < above; at += strlen(p->text + at) + 1) {
        const int next = step(folder, p->text + at, make, &made), error = errno;
        (void)close(folder);
        errno = error;
        folder = next;
    }
    if (folder < 0) return -1;
    t->entered.text = malloc(above + 1);
    if (t->entered.text == NULL) {
        (void)close(folder);
        errno = ENOMEM;
        return -1;
    }
    if (above > 0) memcpy(t->entered.text, p->text, above);
    t->entered.size = above;
    return t->folder = folder;
}

void tree_temporary(char out[32]) {
    static unsigned long count;
    (void)snprintf(out, 32, ".unzllm.%lx.%lx", (unsigned long)getpid(), count++);
}

int tree_place(tree_t *t, int folder, const char *temporary, const path_t *p) {
    const char *name = path_last(p);
    if (renameat(folder, temporary, folder, name) == 0) return 0;
    if (errno != EISDIR && errno != ENOTEMPTY && errno != EEXIST) return -1;
    if (unlinkat(folder, name, AT_REMOVEDIR) != 0) return -1;
    const int rc = renameat(folder, temporary, folder, name);
    if (rc != 0) return -1;
    t->entered.size = SIZE_MAX; /* the folder that is gone may have been above others */
    return 0;
}

int tree_make(tree_t *t, const path_t *p) {
    const int folder = tree_enter(t, p, 1);
    struct stat state;
    const char *name = path_last(p);
    if (folder < 0) return -1;
    if (mkdirat(folder, name, 0700) == 0) return 0;
    if (errno != EEXIST || fstatat(folder, name, &state, AT_SYMLINK_NOFOLLOW) != 0) return -1;
    if (!S_ISDIR(state.st_mode)) return unlinkat(folder, name, 0) != 0 ? -1 : mkdirat(folder, name, 0700);
    if ((state.st_mode & 0700) == 0700) return 0;
    const int own = openat(folder, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    char link[64];
    if (own < 0) return -1;
    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", own); /* what cannot be opened for reading has no other way */
    const int rc = chmod(link, (state.st_mode & 0777) | 0700);
    (void)close(own);
    return rc;
}
#endif
