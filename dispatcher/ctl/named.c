/* SPDX-License-Identifier: Apache-2.0
 * Failure policy: one word that names nothing fails all of it, so that nothing is left out unseen. */
#include "dispatcher/ctl/named.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dispatcher/ctl/tree.h"

static int add(struct named *n, const char *path)
{
    char **more = realloc(n->paths, (n->count + 1) * sizeof *more);
    char *copy = strdup(path);
    if (more)
        n->paths = more;
    if (more && copy) {
        n->paths[n->count++] = copy;
        return SC_OK;
    }
    free(copy);
    (void)fprintf(stderr, "shardcapctl: out of memory\n");
    return SC_ENOMEM;
}

struct search {
    struct named *named;
    const char *uuid;
    int rc;
};

static bool take(void *ctx, const struct tree_file *f)
{
    struct search *s = ctx;
    if (strcmp(f->uuid, s->uuid) == 0)
        s->rc = add(s->named, f->path);
    return s->rc == SC_OK;
}

static int find_uuid(struct named *out, const char *uuid, const char *datadir)
{
    struct search s = {out, uuid, SC_OK};
    size_t before = out->count;
    if (tree_walk(datadir, take, &s) != SC_OK) {
        (void)fprintf(stderr, "shardcapctl: cannot read %s: %s\n", datadir, strerror(errno));
        return SC_ESYS;
    }
    if (s.rc == SC_OK && out->count == before) {
        (void)fprintf(stderr, "shardcapctl: %s is no file, nor a UUID below %s; say where with -datadir\n", uuid,
                      datadir);
        return SC_ENOENT;
    }
    return s.rc;
}

int named_find(struct named *out, char *const *words, int count, const char *datadir)
{
    int rc = SC_OK;
    *out = (struct named){0};
    for (int i = 0; i < count && rc == SC_OK; i++) {
        bool path = strcmp(words[i], "-") == 0 || access(words[i], F_OK) == 0;
        rc = path ? add(out, words[i]) : find_uuid(out, words[i], datadir);
    }
    return rc;
}

void named_free(struct named *n)
{
    for (size_t i = 0; i < n->count; i++)
        free(n->paths[i]);
    free(n->paths);
    *n = (struct named){0};
}
