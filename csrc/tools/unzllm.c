/* unzllm: .zllm archives listed, tested and unpacked. Without an option the tar stream goes to stdout:
 * unzllm a.zllm | tar x */
#define _POSIX_C_SOURCE 200809L
#include "tools/system.h"
#include "tools/unzllm.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MOST_MODELS 8
#define MOST_AT_ONCE ((size_t)1 << 30) /* bytes: what every system can read or write in one call */

static const char USAGE[] =
    "usage: unzllm [-l | -t | -x DIR | --note NAME] [--model FILE.zlm] [--generation N] [--threads N] [--memory MIB] ARCHIVE|-\n"
    "  without an option  write the tar stream to stdout: unzllm a.zllm | tar x\n"
    "  -l                 list the members\n"
    "  -t                 decode everything and compare every checksum\n"
    "  -x DIR             extract into the folder DIR\n"
    "  --note NAME        write the content of a note to stdout\n"
    "  --model FILE.zlm   a model that the archive needs and does not contain; may be repeated\n"
    "  --generation N     the archive as it was when it had no later generation; the first is 0\n"
    "  --threads N        decode with N threads (1)\n"
    "  --memory MIB       refuse what needs more memory\n"
    "  --version, --help\n";

typedef struct {
    uint8_t *data;
    size_t size;
} file_t;

typedef struct {
    char mode;          /* 0, l, t, x or n */
    const char *folder, *path, *note;
    file_t models[MOST_MODELS];
    size_t n_models;
    uint32_t threads;
    size_t memory;
    int wants_generation;
    uint64_t generation;
} arguments_t;

void outcome_add(outcome_t *o, int code) {
    static const int RANK[] = {0, 1, 2, 4, 3};
    if (RANK[code] > RANK[o->code]) o->code = code;
}

int code_of(zllm_result result) {
    switch (result) {
        case ZLLM_OK:
        case ZLLM_END: return EXIT_DONE;
        case ZLLM_E_DAMAGED:
        case ZLLM_E_DATA: return EXIT_DAMAGED;
        case ZLLM_E_MISSING: return EXIT_MISSING;
        default: return EXIT_FAILED;
    }
}

void say(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    (void)fputs("unzllm: ", stderr);
    (void)vfprintf(stderr, format, arguments);
    (void)fputc('\n', stderr);
    va_end(arguments);
}

const char *shown(const char *name, size_t size) {
    static char texts[4][1024];
    static int turn;
    char *out = texts[turn = (turn + 1) % 4];
    size_t used = 0;
    for (size_t i = 0; i < size && used + 5 < sizeof texts[0]; i++) {
        const unsigned char c = (unsigned char)name[i];
        if (c >= 0x20 && c != 0x7f && c != '\\') out[used++] = (char)c;
        else used += (size_t)snprintf(out + used, 5, "\\%03o", c);
    }
    out[used] = 0;
    return out;
}

static int usage(const char *problem, const char *what) {
    say("%s%s", problem, what);
    (void)fputs(USAGE, stderr);
    return EXIT_FAILED;
}

/* A model file, in memory until the program ends. */
static int open_model(const char *path, arguments_t *a) {
    uint64_t size;
    const char *why = NULL;
    if (a->n_models == MOST_MODELS) return usage("too many models: ", path);
    uint8_t *data = system_map(path, &size, &why);
    if (data == NULL) {
        say("%s: %s", path, why);
        return EXIT_FAILED;
    }
    a->models[a->n_models++] = (file_t){data, (size_t)size};
    return 0;
}

static int number(const char *text, uint64_t least, uint64_t most, uint64_t *out) {
    char *end;
    errno = 0;
    *out = strtoull(text, &end, 10);
    return *text >= '0' && *text <= '9' && *end == 0 && errno == 0 && *out >= least && *out <= most;
}

/* The option `name`, in one of its two forms; *value is its argument. */
static int option(char **arguments, int *i, const char *name, const char **value) {
    const size_t size = strlen(name);
    if (strncmp(arguments[*i], name, size) != 0) return 0;
    if (arguments[*i][size] == 0 && arguments[*i + 1] != NULL) *value = arguments[++*i];
    else if (arguments[*i][size] == '=' || (size == 2 && arguments[*i][size] != 0))
        *value = arguments[*i] + size + (size > 2);
    else return 0;
    return 1;
}

static int read_argument(char **arguments, int *i, arguments_t *a) {
    const char *value, *own = arguments[*i];
    uint64_t n;
    if (strcmp(own, "-l") == 0 || strcmp(own, "-t") == 0) a->mode = own[1];
    else if (option(arguments, i, "-x", &value)) {
        a->mode = 'x';
        a->folder = value;
    } else if (option(arguments, i, "--note", &value)) {
        a->mode = 'n';
        a->note = value;
    } else if (option(arguments, i, "--model", &value)) return open_model(value, a);
    else if (option(arguments, i, "--threads", &value)) {
        if (!number(value, 1, 64, &n)) return usage("not a number of threads: ", value);
        a->threads = (uint32_t)n;
    } else if (option(arguments, i, "--memory", &value)) {
        if (!number(value, 1, SIZE_MAX >> 20, &n)) return usage("not a number of MiB: ", value);
        a->memory = (size_t)n << 20;
    } else if (option(arguments, i, "--generation", &value)) {
        if (!number(value, 0, UINT64_MAX, &n)) return usage("not the number of a generation: ", value);
        a->wants_generation = 1;
        a->generation = n;
    } else if (own[0] == '-' && own[1] != 0) return usage("unknown option, or one that lacks its argument: ", own);
    else if (a->path != NULL) return usage("one archive at a time: ", own);
    else a->path = own;
    return 0;
}

/* The file of the model with that hash. */

static zllm_result find_model(void *context, const zllm_model_ref *model, const uint8_t **data, size_t *size) {
    const arguments_t *a = context;
    for (size_t i = 0; i < a->n_models; i++) {
        uint8_t hash[32];
        if (a->models[i].size != model->size) continue;
        zllm_hash(a->models[i].data, a->models[i].size, hash);
        if (memcmp(hash, model->sha256, sizeof hash) != 0) continue;
        *data = a->models[i].data;
        *size = a->models[i].size;
        return ZLLM_OK;
    }
    return ZLLM_E_MISSING;
}

static int read_pipe(void *context, uint64_t offset, void *data, size_t *size) {
    const size_t wanted = *size;
    (void)context;
    (void)offset;
    for (*size = 0; *size < wanted;) {
        const size_t left = wanted - *size;
        const ssize_t got = read(STDIN_FILENO, (char *)data + *size, left < MOST_AT_ONCE ? left : MOST_AT_ONCE);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return 1;
        if (got == 0) break;
        *size += (size_t)got;
    }
    return 0;
}

static zllm_result open_archive(const arguments_t *a, zllm_archive **out) {
    const zllm_options memory = {.size = sizeof memory, .memory_limit = a->memory};
    const zllm_archive_options options = {.size = sizeof options, .memory = &memory, .threads = a->threads,
                                          .find_model = find_model, .context = (void *)(uintptr_t)a,
                                          .generation = a->wants_generation ? &a->generation : NULL};
    const zllm_input pipe = {.read = read_pipe, .sequential = 1};
    if (strcmp(a->path, "-") == 0) return zllm_archive_open_input(&pipe, &options, out);
    const int piped = system_pipe(a->path);
    if (piped == 0) return zllm_archive_open(a->path, &options, out);
    if (piped < 0) {
        say("%s: %s", a->path, strerror(errno));
        return ZLLM_E_INPUT;
    }
    return zllm_archive_open_input(&pipe, &options, out);
}

static void list_member(const zllm_member *m) {
    static const char KINDS[] = "-hlcbdp?-";
    char mode[11] = "?rwxrwxrwx", date[32] = "?";
    const time_t seconds = (time_t)m->mtime;
    mode[0] = KINDS[m->kind];
    for (int i = 0; i < 9; i++)
        if (!(m->mode >> (8 - i) & 1)) mode[1 + i] = '-';
    const struct tm *parts = gmtime(&seconds);
    if (parts != NULL) (void)strftime(date, sizeof date, "%Y-%m-%d %H:%M", parts);
    (void)printf("%s %s/%s %10llu %s %s", mode, shown(m->user, strlen(m->user)), shown(m->group, strlen(m->group)),
                 m->size == ZLLM_UNKNOWN ? 0 : (unsigned long long)m->size, date, shown(m->name, m->name_size));
    if (m->kind == ZLLM_SYMBOLIC_LINK) (void)printf(" -> %s", shown(m->link_name, m->link_name_size));
    if (m->kind == ZLLM_HARD_LINK) (void)printf(" link to %s", shown(m->link_name, m->link_name_size));
    (void)putchar('\n');
}

static void list(zllm_archive *archive, outcome_t *o) {
    zllm_member member;
    zllm_result rc;
    while ((rc = zllm_archive_next(archive, &member)) == ZLLM_OK) list_member(&member);
    if (rc != ZLLM_END) say("%s", zllm_archive_error(archive));
    outcome_add(o, code_of(rc));
    zllm_note note;
    for (size_t i = 0; zllm_archive_note(archive, i, &note) == ZLLM_OK; i++)
        say("there is a note: --note %s writes its %llu bytes, of type %s", shown(note.name, strlen(note.name)),
            (unsigned long long)note.size, shown(note.media_type, strlen(note.media_type)));
}

static void told(void *context, const char *member, zllm_result result, const char *message) {
    if (member != NULL) say("%s: %s", shown(member, strlen(member)), message);
    else say("%s", message);
    outcome_add(context, code_of(result));
}

static void test(zllm_archive *archive, outcome_t *o) {
    const int before = o->code;
    const zllm_result rc = zllm_archive_verify(archive, told, o);
    if (rc != ZLLM_OK && o->code == before) say("%s", zllm_archive_error(archive));
    outcome_add(o, code_of(rc));
}

static int write_out(void *context, const void *data, size_t size) {
    const char *at = data;
    (void)context;
    while (size > 0) {
        const ssize_t count = write(STDOUT_FILENO, at, size < MOST_AT_ONCE ? size : MOST_AT_ONCE);
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) return 1;
        at += count;
        size -= (size_t)count;
    }
    return 0;
}

static void show_note(zllm_archive *archive, const char *name, outcome_t *o) {
    zllm_note note;
    zllm_result rc;
    size_t i = 0;
    while ((rc = zllm_archive_note(archive, i++, &note)) == ZLLM_OK && strcmp(note.name, name) != 0) continue;
    if (rc == ZLLM_END) say("there is no note %s in the archive", shown(name, strlen(name)));
    else if (rc != ZLLM_OK) say("%s", zllm_archive_error(archive));
    else if (write_out(NULL, note.data, (size_t)note.size) != 0) say("stdout: %s", strerror(errno));
    else return;
    outcome_add(o, rc == ZLLM_OK || rc == ZLLM_END ? EXIT_FAILED : code_of(rc));
}

static void stream(zllm_archive *archive, outcome_t *o) {
    if (isatty(STDOUT_FILENO)) {
        say("a tar stream is not for a terminal: unzllm ARCHIVE | tar x, or unzllm -x DIR ARCHIVE");
        outcome_add(o, EXIT_FAILED);
        return;
    }
    const zllm_result rc = zllm_archive_tar(archive, write_out, NULL);
    if (rc != ZLLM_OK) say("%s", rc == ZLLM_E_OUTPUT ? strerror(errno) : zllm_archive_error(archive));
    outcome_add(o, code_of(rc));
}

static int run(const arguments_t *a) {
    outcome_t o = {0};
    zllm_archive *archive;
    const zllm_result rc = open_archive(a, &archive);
    if (rc != ZLLM_OK) {
        say("%s: %s", strcmp(a->path, "-") == 0 ? "stdin" : a->path, zllm_archive_error(NULL));
        return code_of(rc);
    }
    if (a->mode == 'l') list(archive, &o);
    else if (a->mode == 't') test(archive, &o);
    else if (a->mode == 'n') show_note(archive, a->note, &o);
    else if (a->mode == 'x') extract(archive, a->folder, &o);
    else stream(archive, &o);
    if (zllm_archive_ignored(archive) > 0 && o.code == EXIT_DONE) {
        say("%llu bytes after the end of the archive are not part of it: ignored",
            (unsigned long long)zllm_archive_ignored(archive));
        outcome_add(&o, EXIT_WARNED);
    }
    if (zllm_archive_unfinished(archive) > 0 && o.code == EXIT_DONE) {
        say("%llu bytes behind the archive are a generation that was never finished, and are passed over",
            (unsigned long long)zllm_archive_unfinished(archive));
        outcome_add(&o, EXIT_WARNED);
    }
    zllm_archive_close(archive);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        say("stdout: %s", strerror(errno));
        outcome_add(&o, EXIT_FAILED);
    }
    return o.code;
}

int main(int count, char **arguments) {
    arguments_t a = {0};
    if (system_begin(&count, &arguments) != 0) {
        say("out of memory");
        return EXIT_FAILED;
    }
    for (int i = 1; i < count; i++) {
        if (strcmp(arguments[i], "--help") == 0) return fputs(USAGE, stdout) == EOF ? EXIT_FAILED : EXIT_DONE;
        if (strcmp(arguments[i], "--version") == 0)
            return printf("unzllm %s\n", zllm_version()) < 0 ? EXIT_FAILED : EXIT_DONE;
        const int rc = read_argument(arguments, &i, &a);
        if (rc != 0) return rc;
    }
    if (a.path == NULL) return usage("which archive?", "");
    return run(&a);
}
