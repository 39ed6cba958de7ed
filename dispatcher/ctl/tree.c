/* SPDX-License-Identifier: Apache-2.0
 * Failure policy: what vanishes while we walk is passed over: an uploader may be at work. A directory that is there but
 * cannot be read is told and the walk goes on. Symbolic links are not followed. */
#include "dispatcher/ctl/tree.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define LEVELS 3

struct walk {
    bool (*take)(void *ctx, const struct tree_file *f);
    void *ctx;
    bool in_part, any;
    struct tree_file file; /* of the moment */
};

static void note_unreadable(struct walk *w)
{
    if (errno == ENOENT || errno == ENOTDIR)
        return;
    (void)fprintf(stderr, "shardcapctl: cannot read %s: %s\n", w->file.path, strerror(errno));
    w->in_part = true;
}

static bool ends_with(const char *name, size_t n, const char *suffix, size_t *stem_r)
{
    size_t m = strlen(suffix);
    if (n <= m || memcmp(name + n - m, suffix, m) != 0)
        return false;
    *stem_r = n - m;
    return true;
}

bool tree_uuid(const char *name, char uuid[TREE_UUID])
{
    size_t n = strlen(name), stem;
    if (name[0] == '.' || (!ends_with(name, n, ".pcap.gz", &stem) && !ends_with(name, n, ".pcap", &stem)))
        return false;
    size_t digits = stem;
    while (digits > 0 && name[digits - 1] >= '0' && name[digits - 1] <= '9')
        digits--;
    if (digits < stem && digits > 1 && name[digits - 1] == '.')
        stem = digits - 1;
    if (stem >= TREE_UUID)
        return false;
    memcpy(uuid, name, stem);
    uuid[stem] = '\0';
    return true;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static bool take_file(struct walk *w, const char *name)
{
    struct stat st;
    if (!tree_uuid(name, w->file.uuid))
        return true;
    if (lstat(w->file.path, &st) < 0) {
        note_unreadable(w);
        return true;
    }
    if (!S_ISREG(st.st_mode))
        return true;
    w->file.changed = (struct wall){(int64_t)st.st_mtim.tv_sec * NS_PER_SEC + st.st_mtim.tv_nsec};
    return w->take(w->ctx, &w->file);
}

static bool is_part_of_date(const char *name, int level)
{
    return strlen(name) == (level == 0 ? 4u : 2u) && strspn(name, "0123456789") == strlen(name);
}

static bool take_directory(struct walk *w, int level);

/* What stands at file.path, which ends with this name. Returns false to stop. */
static bool take_entry(struct walk *w, const char *name, int level)
{
    struct stat st;
    if (level == LEVELS)
        return take_file(w, name);
    if (!is_part_of_date(name, level))
        return true;
    if (lstat(w->file.path, &st) < 0) {
        note_unreadable(w);
        return true;
    }
    if (!S_ISDIR(st.st_mode))
        return true;
    w->any = true;
    uint32_t before = w->file.yyyymmdd;
    w->file.yyyymmdd = before * 100 + (uint32_t)strtoul(name, NULL, 10);
    if (level == 0)
        w->file.yyyymmdd = (uint32_t)strtoul(name, NULL, 10);
    bool more = take_directory(w, level + 1); /* NOLINT(misc-no-recursion): LEVELS deep */
    w->file.yyyymmdd = before;
    return more;
}

static bool take_directory(struct walk *w, int level)
{
    struct dirent **names;
    size_t len = strlen(w->file.path);
    int n = scandir(w->file.path, &names, NULL, by_name);
    bool more = true;
    if (n < 0)
        note_unreadable(w);
    for (int i = 0; i < n; i++) {
        int m = snprintf(w->file.path + len, sizeof w->file.path - len, "/%s", names[i]->d_name);
        if (more && m > 0 && (size_t)m < sizeof w->file.path - len)
            more = take_entry(w, names[i]->d_name, level); /* NOLINT(misc-no-recursion): LEVELS deep */
        w->file.path[len] = '\0';
        free(names[i]);
    }
    if (n >= 0)
        free(names);
    return more;
}

int tree_walk(const char *datadir, bool (*take)(void *ctx, const struct tree_file *f), void *ctx)
{
    struct walk *w = calloc(1, sizeof *w);
    struct stat st;
    size_t len = strlen(datadir);
    while (len > 1 && datadir[len - 1] == '/')
        len--;
    if (!w || len >= sizeof w->file.path || stat(datadir, &st) < 0 || !S_ISDIR(st.st_mode)) {
        if (w && len < sizeof w->file.path && errno == 0)
            errno = ENOTDIR;
        free(w);
        return SC_ESYS;
    }
    w->take = take;
    w->ctx = ctx;
    (void)snprintf(w->file.path, sizeof w->file.path, "%.*s", (int)len, datadir);
    (void)take_directory(w, 0);
    int rc = w->in_part ? SC_EPERM : w->any ? SC_OK : SC_ENOENT;
    free(w);
    return rc;
}

const char *tree_datadir(const char *given)
{
    if (!given)
        given = getenv("DATADIR");
    return given && given[0] ? given : ".";
}
