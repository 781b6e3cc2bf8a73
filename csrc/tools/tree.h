/* The folder that is extracted to. Everything below it is reached component by component, relative to the folder above, and no
 * link is followed. */
#ifndef UNZLLM_TREE_H
#define UNZLLM_TREE_H

#include <stddef.h>
#include <stdint.h>
#include <time.h>

#define LONGEST_NAME ((size_t)1 << 16)

/* A member's name as the file system takes it: components with a NUL behind each, none empty, `.` or `..`. */
typedef struct {
    char *text;
    size_t size, parts; /* bytes with their NULs */
} path_t;

/* Why a name is refused; NULL: it is not, and `out` has to be freed. */
const char *path_split(const char *name, size_t size, path_t *out);
void path_free(path_t *p);
const char *path_last(const path_t *p); /* its last component; there has to be one */

typedef struct {
    int root, folder; /* `folder`: that was entered last, or -1 */
    path_t entered;
} tree_t;

/* All of these give 0, or -1 with errno set. */
int tree_open(tree_t *t, const char *path); /* which is made if it does not exist, and may be a link to a folder */
void tree_close(tree_t *t);
/* The folder of what has that name: a descriptor, until the next call. With `make`, folders that are missing are made, and
 * links in the way replaced by folders. */
int tree_enter(tree_t *t, const path_t *p, int make);
/* A name for something that is being made in a folder. */
void tree_temporary(char out[32]);
/* Give what was made its name, in place of a file, a link or an empty folder. */
int tree_place(tree_t *t, int folder, const char *temporary, const path_t *p);
/* Make that folder for its owner; in place of a file or link of that name. */
int tree_make(tree_t *t, const path_t *p);

#endif
