/* Writes members to disk, one by one: each is there whole and right, or what was there before still is. Links are placed after
 * everything else, so that none from the archive can be in the way of a member; folders get their modes and times at the very
 * end. Owners, set-id bits and devices are never restored. */
#define _GNU_SOURCE
#include "tools/tree.h"
#include "tools/unzllm.h"

#if defined(_WIN32) /* it has no folders by descriptor, and its names are no bytes */
int extract(zllm_archive *archive, const char *folder, outcome_t *outcome) {
    (void)archive;
    say("%s: -x is not possible on Windows: unzllm ARCHIVE > x.tar, then tar -xf x.tar", folder);
    outcome_add(outcome, EXIT_FAILED);
    return -1;
}
#else
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define STEP ((size_t)64 << 10)
#define NEW (O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC)

/* What waits for the end: a link, or what a folder is to get. */
typedef struct {
    path_t path, target_path;
    char *target;          /* of a symbolic link */
    zllm_kind kind;
    uint32_t mode;
    struct timespec time;
    int gone, placed;      /* another member took its name; it is on disk */
} waiting_t;

typedef struct {
    zllm_archive *archive;
    tree_t tree;
    outcome_t *outcome;
    waiting_t *waiting;
    size_t n, room;
    size_t *table, slots;  /* of those that wait by their names: number + 1 */
    mode_t umask;
    int noted;             /* that names lose their slashes */
    unsigned char *buffer;
} work_t;

static void complain(work_t *w, const zllm_member *m, const char *problem, int code) {
    say("%s: %s", shown(m->name, m->name_size), problem);
    outcome_add(w->outcome, code);
}

/* Those that wait, by name. */

static size_t *slot_of(work_t *w, const path_t *p) {
    uint64_t hash = 14695981039346656037u; /* FNV-1a */
    for (size_t i = 0; i < p->size; i++) hash = (hash ^ (unsigned char)p->text[i]) * 1099511628211u;
    for (size_t i = (size_t)hash;; i++) {
        size_t *slot = &w->table[i & (w->slots - 1)];
        const path_t *other = *slot == 0 ? NULL : &w->waiting[*slot - 1].path;
        if (other == NULL || (other->size == p->size && memcmp(other->text, p->text, p->size) == 0)) return slot;
    }
}

static waiting_t *find_waiting(work_t *w, const path_t *p) {
    if (w->slots == 0) return NULL;
    const size_t number = *slot_of(w, p);
    return number == 0 || w->waiting[number - 1].gone ? NULL : &w->waiting[number - 1];
}

/* Something else has that name now. */
static void forget(work_t *w, const path_t *p) {
    waiting_t *one = find_waiting(w, p);
    if (one != NULL) one->gone = 1;
}

static int grow(work_t *w) {
    const size_t room = w->room == 0 ? 64 : 2 * w->room, slots = 4 * room;
    waiting_t *more = realloc(w->waiting, room * sizeof *more);
    if (more == NULL) return -1;
    w->waiting = more;
    w->room = room;
    free(w->table);
    w->table = calloc(slots, sizeof *w->table);
    w->slots = w->table == NULL ? 0 : slots;
    if (w->table == NULL) return -1;
    for (size_t i = 0; i < w->n; i++) *slot_of(w, &w->waiting[i].path) = i + 1;
    return 0;
}

/* It becomes the owner of the paths and the target. */
static int wait_for_end(work_t *w, waiting_t one) {
    if (w->n == w->room && grow(w) != 0) return -1;
    forget(w, &one.path);
    w->waiting[w->n++] = one;
    *slot_of(w, &one.path) = w->n;
    return 0;
}

/* Members. */

static int is_zero(const unsigned char *data, size_t size) {
    return data[0] == 0 && memcmp(data, data + 1, size - 1) == 0;
}

static int write_all(int file, const unsigned char *data, size_t size) {
    while (size > 0) {
        const ssize_t count = write(file, data, size);
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) return -1;
        data += count;
        size -= (size_t)count;
    }
    return 0;
}

/* The member's data. Long runs of zeros become holes. 0, -1 with errno, or 1: the archive's problem. */
static int write_data(work_t *w, int file, zllm_result *rc) {
    off_t end = 0;
    for (;;) {
        size_t size = STEP;
        *rc = zllm_archive_read(w->archive, w->buffer, &size);
        if (*rc != ZLLM_OK) return 1;
        if (size == 0) return ftruncate(file, end);
        end += (off_t)size;
        if (size == STEP && is_zero(w->buffer, size)) {
            if (lseek(file, end, SEEK_SET) < 0) return -1;
        } else if (write_all(file, w->buffer, size) != 0) return -1;
    }
}

static struct timespec time_of(const zllm_member *m) {
    return (struct timespec){.tv_sec = (time_t)m->mtime, .tv_nsec = (long)m->mtime_ns};
}

static void set_attributes(work_t *w, int file, const zllm_member *m) {
    const struct timespec times[2] = {{.tv_nsec = UTIME_NOW}, time_of(m)};
    if (fchmod(file, m->mode & 0777 & ~w->umask) != 0 || futimens(file, times) != 0)
        complain(w, m, "its mode or time cannot be set", EXIT_WARNED);
}

static int make_file(work_t *w, int folder, const char *temporary, const zllm_member *m, zllm_result *rc) {
    const int file = openat(folder, temporary, NEW, 0600);
    if (file < 0) return -1;
    int failed = write_data(w, file, rc);
    if (failed == 0) set_attributes(w, file, m);
    const int error = errno;
    if (close(file) != 0 && failed == 0) failed = -1;
    else errno = error;
    return failed;
}

static int make_fifo(work_t *w, int folder, const char *temporary, const zllm_member *m) {
    const struct timespec times[2] = {{.tv_nsec = UTIME_NOW}, time_of(m)};
    if (mkfifoat(folder, temporary, m->mode & 0777 & ~w->umask) != 0) return -1;
    return utimensat(folder, temporary, times, AT_SYMLINK_NOFOLLOW);
}

/* A file or a pipe. */
static void place_entry(work_t *w, const path_t *p, const zllm_member *m) {
    char temporary[32];
    zllm_result rc = ZLLM_OK;
    const int folder = tree_enter(&w->tree, p, 1);
    int failed = folder < 0 ? -1 : 0;
    tree_temporary(temporary);
    if (failed == 0 && m->kind == ZLLM_FIFO) failed = make_fifo(w, folder, temporary, m);
    else if (failed == 0) failed = make_file(w, folder, temporary, m, &rc);
    if (failed == 0) failed = tree_place(&w->tree, folder, temporary, p);
    const int error = errno;
    if (failed != 0 && folder >= 0) (void)unlinkat(folder, temporary, 0);
    if (failed < 0) complain(w, m, strerror(error), EXIT_FAILED);
    if (failed > 0) complain(w, m, zllm_archive_error(w->archive), code_of(rc));
    if (failed == 0) forget(w, p);
}

static void keep_folder(work_t *w, path_t *p, const zllm_member *m) {
    waiting_t one = {.path = *p, .kind = ZLLM_FOLDER, .mode = m->mode & 0777 & ~w->umask, .time = time_of(m)};
    if (p->parts > 0 && tree_make(&w->tree, p) != 0) complain(w, m, strerror(errno), EXIT_FAILED);
    else if (wait_for_end(w, one) != 0) complain(w, m, strerror(ENOMEM), EXIT_FAILED);
    else *p = (path_t){0};
}

/* Make a hard link to what is on disk. */
static int link_to(work_t *w, const path_t *p, const path_t *target, zllm_kind kind) {
    char temporary[32];
    struct stat state;
    const waiting_t *link = find_waiting(w, target);
    int from = tree_enter(&w->tree, target, 0);
    if (from < 0 || (from = dup(from)) < 0) return -1;
    int failed = fstatat(from, path_last(target), &state, AT_SYMLINK_NOFOLLOW);
    const int ours = S_ISREG(state.st_mode) || S_ISFIFO(state.st_mode) || (link != NULL && link->placed);
    if (failed == 0 && (!ours || kind != ZLLM_HARD_LINK)) {
        errno = EPERM;
        failed = -1;
    }
    const int folder = failed == 0 ? tree_enter(&w->tree, p, 1) : -1;
    tree_temporary(temporary);
    if (folder < 0) failed = -1;
    if (failed == 0) failed = linkat(from, path_last(target), folder, temporary, 0);
    if (failed == 0 && (failed = tree_place(&w->tree, folder, temporary, p)) == 0)
        (void)unlinkat(folder, temporary, 0); /* of two names of one file, a rename leaves both */
    else if (folder >= 0) (void)unlinkat(folder, temporary, 0);
    const int error = errno;
    (void)close(from);
    errno = error;
    return failed;
}

static void keep_link(work_t *w, path_t *p, const zllm_member *m) {
    waiting_t one = {.kind = m->kind, .time = time_of(m)};
    if (m->link_name_size == 0 || strlen(m->link_name) != m->link_name_size) {
        complain(w, m, "a link to an impossible name: not extracted", EXIT_FAILED);
        return;
    }
    if (m->kind == ZLLM_HARD_LINK) {
        const char *refused = path_split(m->link_name, m->link_name_size, &one.target_path);
        if (refused != NULL || one.target_path.parts == 0) {
            path_free(&one.target_path);
            complain(w, m, "a hard link to an impossible name: not extracted", EXIT_FAILED);
            return;
        }
        if (find_waiting(w, &one.target_path) == NULL && link_to(w, p, &one.target_path, m->kind) == 0) {
            forget(w, p);
            path_free(&one.target_path);
            return;
        }
    } else if ((one.target = strdup(m->link_name)) == NULL) {
        complain(w, m, strerror(ENOMEM), EXIT_FAILED);
        return;
    }
    one.path = *p;
    if (wait_for_end(w, one) == 0) {
        *p = (path_t){0};
        return;
    }
    path_free(&one.target_path);
    free(one.target);
    complain(w, m, strerror(ENOMEM), EXIT_FAILED);
}

static void extract_member(work_t *w, const zllm_member *m) {
    path_t p;
    if (m->type == 'V') return; /* a volume's label */
    const char *refused = m->kind == ZLLM_RAW ? "the archive contains a single raw stream: unzllm ARCHIVE > FILE"
                                              : path_split(m->name, m->name_size, &p);
    if (refused != NULL) {
        complain(w, m, refused, EXIT_FAILED);
        return;
    }
    if (m->name[0] == '/' && !w->noted) {
        say("names lose the '/' that they begin with");
        w->noted = 1;
    }
    if (p.parts == 0 && m->kind != ZLLM_FOLDER) complain(w, m, "no name for anything but a folder: not extracted", EXIT_FAILED);
    else if (m->kind == ZLLM_FOLDER) keep_folder(w, &p, m);
    else if (m->kind == ZLLM_SYMBOLIC_LINK || m->kind == ZLLM_HARD_LINK) keep_link(w, &p, m);
    else if (m->kind == ZLLM_CHARACTER_DEVICE || m->kind == ZLLM_BLOCK_DEVICE)
        complain(w, m, "a device: not extracted", EXIT_FAILED);
    else if (m->type == 'M') complain(w, m, "continued from another volume: not extracted", EXIT_FAILED);
    else if (m->sparse) complain(w, m, "a file with holes: unpack it with unzllm ARCHIVE | tar x", EXIT_FAILED);
    else {
        place_entry(w, &p, m);
        if (m->kind == ZLLM_OTHER) complain(w, m, "unknown type: extracted as a regular file", EXIT_WARNED);
    }
    path_free(&p);
}

/* The end. */

static void complain_of(work_t *w, const path_t *p, const char *problem, int code) {
    char *name = malloc(p->size + 2);
    if (name == NULL) return;
    memcpy(name, p->text == NULL ? "" : p->text, p->size);
    for (size_t i = 0; i + 1 < p->size; i++)
        if (name[i] == 0) name[i] = '/';
    const size_t size = p->size == 0 ? 0 : p->size - 1;
    say("%s: %s", size == 0 ? "." : shown(name, size), problem);
    free(name);
    outcome_add(w->outcome, code);
}

static void place_symbolic(work_t *w, waiting_t *one) {
    char temporary[32];
    const struct timespec times[2] = {{.tv_nsec = UTIME_NOW}, one->time};
    const int folder = tree_enter(&w->tree, &one->path, 1);
    tree_temporary(temporary);
    int failed = folder < 0 ? -1 : symlinkat(one->target, folder, temporary);
    if (failed == 0) (void)utimensat(folder, temporary, times, AT_SYMLINK_NOFOLLOW);
    if (failed == 0 && (failed = tree_place(&w->tree, folder, temporary, &one->path)) != 0) {
        const int error = errno;
        (void)unlinkat(folder, temporary, 0);
        errno = error;
    }
    if (failed != 0) complain_of(w, &one->path, strerror(errno), EXIT_FAILED);
    else one->placed = 1;
}

static void finish_folder(work_t *w, const waiting_t *one) {
    const struct timespec times[2] = {{.tv_nsec = UTIME_NOW}, one->time};
    const int above = one->path.parts == 0 ? w->tree.root : tree_enter(&w->tree, &one->path, 0);
    const int own = above < 0 ? -1
                              : openat(above, one->path.parts == 0 ? "." : path_last(&one->path),
                                       O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (own < 0) return; /* it is not a folder any more */
    struct stat state;
    const mode_t special = fstat(own, &state) == 0 ? state.st_mode & 07000 : 0; /* from the folder above it */
    if (fchmod(own, one->mode | special) != 0 || futimens(own, times) != 0)
        complain_of(w, &one->path, "its mode or time cannot be set", EXIT_WARNED);
    (void)close(own);
}

/* Deeper folders first: their names are longer than those of the folders above them. */
static int by_depth(const void *a, const void *b) {
    const size_t x = ((const waiting_t *)a)->path.size, y = ((const waiting_t *)b)->path.size;
    return (x < y) - (x > y);
}

static void finish(work_t *w) {
    for (size_t i = 0; i < w->n; i++)
        if (w->waiting[i].kind == ZLLM_SYMBOLIC_LINK && !w->waiting[i].gone) place_symbolic(w, &w->waiting[i]);
    for (size_t i = 0; i < w->n; i++) {
        waiting_t *one = &w->waiting[i];
        if (one->kind != ZLLM_HARD_LINK || one->gone) continue;
        if (link_to(w, &one->path, &one->target_path, one->kind) == 0) one->placed = 1;
        else complain_of(w, &one->path, "the file that this hard link leads to was not extracted", EXIT_FAILED);
    }
    free(w->table); /* numbers change */
    w->table = NULL;
    w->slots = 0;
    if (w->n > 1) qsort(w->waiting, w->n, sizeof *w->waiting, by_depth);
    for (size_t i = 0; i < w->n; i++)
        if (w->waiting[i].kind == ZLLM_FOLDER && !w->waiting[i].gone) finish_folder(w, &w->waiting[i]);
}

int extract(zllm_archive *archive, const char *folder, outcome_t *outcome) {
    work_t w = {.archive = archive, .outcome = outcome, .buffer = malloc(STEP)};
    zllm_member member;
    zllm_result rc = ZLLM_OK;
    w.umask = umask(077);
    (void)umask(w.umask);
    if (w.buffer == NULL || tree_open(&w.tree, folder) != 0) {
        say("%s: %s", folder, strerror(errno));
        outcome_add(outcome, EXIT_FAILED);
        free(w.buffer);
        return -1;
    }
    while ((rc = zllm_archive_next(archive, &member)) == ZLLM_OK) extract_member(&w, &member);
    if (rc != ZLLM_END) say("%s", zllm_archive_error(archive));
    outcome_add(outcome, code_of(rc));
    finish(&w);
    tree_close(&w.tree);
    for (size_t i = 0; i < w.n; i++) {
        path_free(&w.waiting[i].path);
        path_free(&w.waiting[i].target_path);
        free(w.waiting[i].target);
    }
    free(w.waiting);
    free(w.table);
    free(w.buffer);
    return 0;
}
#endif
