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

/* The words that are UUIDs, sorted, and which of them were found. */
struct search {
    struct named *named;
    struct word {
        const char *uuid;
        bool found;
    } * words;
    size_t count;
    int rc;
};

static int by_uuid(const void *a, const void *b)
{
    return strcmp(((const struct word *)a)->uuid, ((const struct word *)b)->uuid);
}

static bool take(void *ctx, const struct tree_file *f)
{
    struct search *s = ctx;
    const struct word wanted = {.uuid = f->uuid};
    struct word *word = bsearch(&wanted, s->words, s->count, sizeof *s->words, by_uuid);
    if (!word)
        return true;
    word->found = true;
    s->rc = add(s->named, f->path);
    return s->rc == SC_OK;
}

/* One walk for all of them. */
static int find_uuids(struct search *s, const char *datadir)
{
    size_t different = 0;
    qsort(s->words, s->count, sizeof *s->words, by_uuid);
    for (size_t i = 0; i < s->count; i++)
        if (i == 0 || strcmp(s->words[i].uuid, s->words[different - 1].uuid) != 0)
            s->words[different++] = s->words[i];
    s->count = different;
    int rc = tree_walk(datadir, take, s);
    if (rc == SC_ESYS) {
        (void)fprintf(stderr, "shardcapctl: cannot read %s: %s\n", datadir, strerror(errno));
        return SC_ESYS;
    }
    s->named->in_part = rc == SC_EPERM;
    for (size_t i = 0; i < s->count && s->rc == SC_OK; i++) {
        if (s->words[i].found)
            continue;
        (void)fprintf(stderr, "shardcapctl: %s is no file, nor a UUID below %s; say where with -datadir\n",
                      s->words[i].uuid, datadir);
        s->rc = SC_ENOENT;
    }
    return s->rc;
}

int named_find(struct named *out, char *const *words, int count, const char *datadir)
{
    *out = (struct named){0};
    struct search s = {.named = out, .words = calloc((size_t)count, sizeof *s.words)};
    if (!s.words) {
        (void)fprintf(stderr, "shardcapctl: out of memory\n");
        return SC_ENOMEM;
    }
    int rc = SC_OK;
    for (int i = 0; i < count && rc == SC_OK; i++) {
        if (strcmp(words[i], "-") == 0 || access(words[i], F_OK) == 0)
            rc = add(out, words[i]);
        else
            s.words[s.count++].uuid = words[i];
    }
    if (rc == SC_OK && s.count > 0)
        rc = find_uuids(&s, datadir);
    free(s.words);
    return rc;
}

void named_free(struct named *n)
{
    for (size_t i = 0; i < n->count; i++)
        free(n->paths[i]);
    free(n->paths);
    *n = (struct named){0};
}
