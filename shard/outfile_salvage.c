/* SPDX-License-Identifier: Apache-2.0
 * What a predecessor left in staging. At the start every such file is renamed to *.left, so that no name of ours can
 * meet it; later, one job each, it is published if it is whole, or ended after its last whole chunk and then published,
 * or set aside as *.aside. Killed in between, a *.left is found again by the next start. Failure policy: nothing is
 * removed but a second link of a file that is published already; what cannot be done now stays as it is. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shard/outfile_map.h"
#include "shard/salvage.h"
#include "shared/log.h"

#define LEFT ".left"
#define LEFT_NAME (NAME_MAX + 1)

/* ---- names ---- */

struct staged {
    uint32_t yyyymmdd, shard;
    uint64_t number;
    struct uuid uuid;
};

static bool take_number(const char *begin, const char **end, uint64_t *out)
{
    const char *p = *end;
    uint64_t unit = 1;
    *out = 0;
    while (p > begin && p[-1] >= '0' && p[-1] <= '9' && *end - p < 20) {
        p--;
        *out += unit * (uint64_t)(*p - '0');
        unit *= 10;
    }
    bool fine = p != *end && p > begin && p[-1] == '.';
    *end = fine ? p - 1 : p;
    return fine;
}

/* The .left[.n] at the end of the name, or NULL: a UUID may hold the like, too. */
static const char *left_end(const char *name)
{
    const char *last = NULL;
    for (const char *p = strstr(name, LEFT); p; p = strstr(p + 1, LEFT))
        last = p;
    if (last && (last[5] == '\0' || (last[5] == '.' && strspn(last + 6, "0123456789") == strlen(last + 6))))
        return last;
    return NULL;
}

/* Reads [.]YYYYMMDD.<uuid>.<shard>.<number>.part[.left[.n]]. */
static bool parse(const char *name, struct staged *out)
{
    const char *begin = name + (name[0] == '.'), *end = left_end(begin);
    if (!end)
        end = begin + strlen(begin);
    uint64_t shard = 0;
    if (end - begin < 14 || strncmp(end - 5, ".part", 5) != 0)
        return false;
    end -= 5;
    if (!take_number(begin, &end, &out->number) || !take_number(begin, &end, &shard) || shard > UINT32_MAX)
        return false;
    out->shard = (uint32_t)shard;
    if (end - begin < 10 || strspn(begin, "0123456789") != 8 || begin[8] != '.')
        return false;
    out->yyyymmdd = (uint32_t)strtoul(begin, NULL, 10);
    return uuid_set(&out->uuid, begin + 9, (size_t)(end - begin - 9)) == SC_OK;
}

/* Renames name to <base><end>[.n]. The new name goes to `to`. */
static bool rename_to(struct outfile_calls *c, const char *name, size_t base, const char *end, char to[LEFT_NAME + 32])
{
    const struct sysops *s = c->sys;
    for (unsigned n = 0; n < 1000; n++) {
        if (n == 0)
            snprintf(to, LEFT_NAME + 32, "%.*s%s", (int)base, name, end);
        else
            snprintf(to, LEFT_NAME + 32, "%.*s%s.%u", (int)base, name, end, n);
        if (s->renameat2(s->ctx, c->staging, name, c->staging, to, RENAME_NOREPLACE) == 0)
            return true;
        if ((errno == EINVAL || errno == ENOSYS) && faccessat(c->staging, to, F_OK, AT_SYMLINK_NOFOLLOW) != 0 &&
            s->renameat2(s->ctx, c->staging, name, c->staging, to, 0) == 0)
            return true;
        if (errno != EEXIST)
            break;
    }
    return false;
}

/* ---- at the start ---- */

static bool remember(struct outfile_calls *c, const char *name)
{
    char **more = reallocarray(c->left, c->left_count + 1, sizeof *more);
    char *copy = more ? strdup(name) : NULL;
    if (more)
        c->left = more;
    if (copy)
        c->left[c->left_count++] = copy;
    return copy != NULL;
}

static void take_left(struct outfile_calls *c, const char *name)
{
    char to[LEFT_NAME + 32], quoted[LOG_QUOTED];
    if (left_end(name) ? remember(c, name) : rename_to(c, name, strlen(name), LEFT, to) && remember(c, to))
        return;
    log_warn("an unfinished file stays as it is file=%s: %s", log_quote(name, strlen(name), quoted), strerror(errno));
}

static bool is_mine(const struct outfile_calls *c, uint32_t shard)
{
    return shard == c->shard || (c->shard == 0 && shard >= c->config->shards); /* of a family with more shards */
}

/* The names first: a directory that is changed while it is read may show a file twice. */
static int list(struct outfile_calls *c, DIR *dir, char ***names_r)
{
    int count = 0;
    *names_r = NULL;
    for (struct dirent *e; (e = readdir(dir)) != NULL;) {
        struct staged st;
        if (!parse(e->d_name, &st) || !is_mine(c, st.shard))
            continue;
        char **more = reallocarray(*names_r, (size_t)count + 1, sizeof *more);
        if (more)
            *names_r = more;
        if (more && (more[count] = strdup(e->d_name)) != NULL)
            count++;
    }
    return count;
}

int outfile_sweep_calls(struct outfile_calls *c, bool (*wanted)(void *ctx, uint32_t idx, uint32_t generation),
                        void *ctx)
{
    const struct sysops *s = c->sys;
    char **names;
    int fd = s->openat(s->ctx, c->staging, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (!dir) {
        if (fd >= 0)
            (void)close(fd);
        return SC_ESYS;
    }
    int count = list(c, dir, &names);
    (void)closedir(dir);
    for (int i = 0; i < count; i++) {
        struct staged st;
        if (parse(names[i], &st) && (st.shard != c->shard || left_end(names[i]) ||
                                     !wanted(ctx, (uint32_t)st.number, (uint32_t)(st.number >> 32))))
            take_left(c, names[i]);
        free(names[i]);
    }
    free(names);
    return (int)c->left_count;
}

/* ---- one file ---- */

static bool refuse(struct outfile_result *out)
{
    out->error = errno ? errno : EIO;
    return false;
}

static void set_aside(struct outfile_calls *c, const char *name, struct outfile_result *out)
{
    char to[LEFT_NAME + 32], quoted[LOG_QUOTED];
    const char *left = left_end(name);
    out->aside = rename_to(c, name, left ? (size_t)(left - name) : strlen(name), ".aside", to);
    if (out->aside)
        log_warn("an unfinished file of a predecessor holds no whole packet; it is set aside file=%s",
                 log_quote(to, strlen(to), quoted));
    else
        (void)refuse(out);
}

/* Cuts the file behind what is whole, and ends it. */
static bool complete(struct outfile_calls *c, int fd, const struct salvage *v, struct outfile_result *out)
{
    const struct sysops *s = c->sys;
    struct iovec tail = {.iov_base = (void *)(uintptr_t)v->tail, .iov_len = v->tail_len}; /* only read */
    if (s->ftruncate(s->ctx, fd, (off_t)v->keep) < 0)
        return refuse(out);
    while (tail.iov_len > 0) {
        ssize_t n = s->pwritev(s->ctx, fd, &tail, 1, (off_t)(v->keep + v->tail_len - tail.iov_len));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return refuse(out);
        tail.iov_base = (uint8_t *)tail.iov_base + n;
        tail.iov_len -= (size_t)n;
    }
    return true;
}

static bool sync_file(struct outfile_calls *c, int fd, struct outfile_result *out)
{
    return c->config->syncinterval_ns == 0 || c->sys->syncfs(c->sys->ctx, fd) == 0 || refuse(out);
}

static void salvage(struct outfile_calls *c, int fd, const char *name, struct outfile_result *out)
{
    struct salvage v;
    struct staged st;
    char quoted[LOG_QUOTED];
    int err = parse(name, &st) ? salvage_read(fd, &v) : SC_EFORMAT;
    if (err == SC_EFORMAT) {
        set_aside(c, name, out);
        return;
    }
    if (err) {
        (void)refuse(out);
        return;
    }
    if (!v.whole && !complete(c, fd, &v, out))
        return;
    if (!sync_file(c, fd, out))
        return;
    out->job.uuid = st.uuid;
    out->job.yyyymmdd = st.yyyymmdd;
    if (!outfile_publish_as(c, st.yyyymmdd, &st.uuid, v.gzip, name, out))
        return;
    out->salvaged = v.packets;
    if (!v.whole)
        log_info("a cut file of a predecessor was ended and published packets=%llu bytes=%llu of=%llu file=%s",
                 (unsigned long long)v.packets, (unsigned long long)v.keep, (unsigned long long)v.bytes,
                 log_quote(name, strlen(name), quoted));
}

void outfile_salvage(struct outfile_calls *c, uint32_t index, struct outfile_result *out)
{
    const struct sysops *s = c->sys;
    const char *name = c->left[index];
    struct stat st;
    int fd = s->openat(s->ctx, c->staging, name, O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0);
    if (fd < 0 || fstat(fd, &st) < 0) {
        (void)refuse(out);
    } else if (!S_ISREG(st.st_mode)) {
        set_aside(c, name, out);
    } else {
        salvage(c, fd, name, out);
    }
    if (fd >= 0)
        (void)s->close(s->ctx, fd);
}
