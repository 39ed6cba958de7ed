/* SPDX-License-Identifier: Apache-2.0
 * What the file thread does with one job. Failure policy: the first error ends the job and is its result; a file that
 * is not whole keeps its .part name. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "shard/crashpoint.h"
#include "shard/outfile_map.h"

#define IOV_SLICE 256
#define SUFFIX_MAX 1000000000u /* what OUTFILE_PATH has room for */

static int failed(struct outfile_result *out, enum outfile_step step)
{
    out->error = errno ? errno : EIO;
    out->step = step;
    return -1;
}

/* What was removed while it was open has no name left, and takes none. */
static bool is_removed(const struct outfile_calls *c, int dir)
{
    struct stat st;
    if (c->sys->fstatat(c->sys->ctx, dir, "", &st, AT_EMPTY_PATH) != 0)
        return errno == ESTALE; /* so says NFS */
    return st.st_nlink == 0;
}

static const char *path_of(char out[OUTFILE_PATH], bool gzip, uint32_t yyyymmdd, const struct uuid *uuid,
                           uint32_t suffix)
{
    unsigned y = yyyymmdd / 10000 % 10000, m = yyyymmdd / 100 % 100, d = yyyymmdd % 100;
    int n = snprintf(out, OUTFILE_PATH, "%04u/%02u/%02u/%s", y, m, d, uuid->text);
    if (suffix > 0)
        n += snprintf(out + n, OUTFILE_PATH - (size_t)n, ".%u", suffix);
    snprintf(out + n, OUTFILE_PATH - (size_t)n, "%s", gzip ? ".pcap.gz" : ".pcap");
    return out;
}

const char *outfile_path(char out[OUTFILE_PATH], const struct config *config, uint32_t yyyymmdd,
                         const struct uuid *uuid, uint32_t suffix)
{
    return path_of(out, config->gzip != GZIP_NONE, yyyymmdd, uuid, suffix);
}

void outfile_staged_name(char out[OUTFILE_STAGED], const struct outfile_calls *c, const struct outfile_job *job)
{
    snprintf(out, OUTFILE_STAGED, "%s%08u.%s.%u.%llu.part", c->config->staging_inside ? "." : "",
             job->yyyymmdd % 100000000u, job->uuid.text, c->shard, (unsigned long long)job->number);
}

/* ---- write ---- */

/* Writes all of iov, in slices, going on after short writes. What is empty is passed over: a write of nothing would
 * look like one that does not get on. */
static int write_all(struct outfile_calls *c, int fd, struct iovec *iov, int count, uint64_t offset)
{
    while (count > 0) {
        if (iov->iov_len == 0) {
            iov++;
            count--;
            continue;
        }
        int n = count < IOV_SLICE ? count : IOV_SLICE;
        ssize_t done = c->sys->pwritev(c->sys->ctx, fd, iov, n, (off_t)offset);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0) {
            if (done == 0)
                errno = EIO;
            return -1;
        }
        offset += (uint64_t)done;
        size_t left = (size_t)done;
        while (count > 0 && left >= iov->iov_len) {
            left -= iov->iov_len;
            iov++;
            count--;
        }
        if (left > 0) {
            iov->iov_base = (uint8_t *)iov->iov_base + left;
            iov->iov_len -= left;
        }
    }
    return 0;
}

static int open_part(struct outfile_calls *c, const struct outfile_job *job, const char *part)
{
    const struct sysops *s = c->sys;
    int flags = O_WRONLY | O_NOFOLLOW | O_CLOEXEC;
    if (!job->create)
        return s->openat(s->ctx, c->staging, part, flags, 0);
    int fd = s->openat(s->ctx, c->staging, part, flags | O_CREAT | O_EXCL, 0664);
    if (fd < 0 && errno == EEXIST) /* of a predecessor that was killed */
        fd = s->openat(s->ctx, c->staging, part, flags | O_TRUNC, 0);
    return fd;
}

static int fill(struct outfile_calls *c, const struct outfile_job *job, int fd)
{
    const struct sysops *s = c->sys;
    int count = job->iov_count;
    uint64_t end = job->offset;
    if (job->tail_len > 0)
        job->iov[count++] =
            (struct iovec){.iov_base = (void *)(uintptr_t)job->tail, .iov_len = job->tail_len}; /* only read */
    for (int i = 0; i < count; i++)
        end += job->iov[i].iov_len;
    if (write_all(c, fd, job->iov, count, job->offset) < 0)
        return -1;
    return job->finish && !job->create ? s->ftruncate(s->ctx, fd, (off_t)end) : 0;
}

static void do_write(struct outfile_calls *c, const struct outfile_job *job, struct outfile_result *out)
{
    const struct sysops *s = c->sys;
    char part[OUTFILE_STAGED];
    outfile_staged_name(part, c, job);
    int fd = open_part(c, job, part);
    if (fd < 0) {
        failed(out, STEP_OPEN);
        return;
    }
    if (fill(c, job, fd) < 0) {
        failed(out, STEP_WRITE);
        (void)s->close(s->ctx, fd);
        return;
    }
    if (s->close(s->ctx, fd) < 0 && errno != EINTR) /* close(2): EINTR has closed it on Linux */
        failed(out, STEP_WRITE);
    CRASHPOINT("publish.written");
}

/* ---- publish ---- */

static void close_day(struct outfile_calls *c)
{
    if (c->day_fd >= 0)
        (void)c->sys->close(c->sys->ctx, c->day_fd);
    c->day_fd = -1;
    c->day = 0;
}

/* Opens the child directory of dir, making it if need be. Never through a symbolic link. */
static int enter(struct outfile_calls *c, int dir, const char *name)
{
    const struct sysops *s = c->sys;
    int flags = O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    int fd = s->openat(s->ctx, dir, name, flags, 0);
    if (fd >= 0 || errno != ENOENT)
        return fd;
    if (s->mkdirat(s->ctx, dir, name, 0777) < 0 && errno != EEXIST)
        return -1;
    return s->openat(s->ctx, dir, name, flags, 0);
}

static int open_day(struct outfile_calls *c, uint32_t yyyymmdd)
{
    char name[16];
    unsigned part[3] = {yyyymmdd / 10000 % 10000, yyyymmdd / 100 % 100, yyyymmdd % 100};
    if (c->day_fd >= 0 && c->day == yyyymmdd)
        return 0;
    close_day(c);
    int dir = c->datadir;
    for (int i = 0; i < 3; i++) {
        snprintf(name, sizeof(name), i == 0 ? "%04u" : "%02u", part[i]);
        int fd = enter(c, dir, name);
        int err = errno;
        if (dir != c->datadir)
            (void)c->sys->close(c->sys->ctx, dir);
        errno = err;
        if (fd < 0)
            return -1;
        dir = fd;
    }
    c->day_fd = dir;
    c->day = yyyymmdd;
    return 0;
}

/* Moves without replacing: 0, or -1 with errno (EEXIST: the name is taken). NFS and others know no RENAME_NOREPLACE;
 * there the name is looked for first. Not by a hard link: watchers would see it created and never moved in. */
static int move(struct outfile_calls *c, const char *part, const char *name)
{
    const struct sysops *s = c->sys;
    struct stat st;
    if (s->renameat2(s->ctx, c->staging, part, c->day_fd, name, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno != EINVAL && errno != ENOSYS)
        return -1;
    if (s->fstatat(s->ctx, c->day_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
        errno = EEXIST;
        return -1;
    }
    return errno == ENOENT ? s->renameat2(s->ctx, c->staging, part, c->day_fd, name, 0) : -1;
}

static const char *name_of(char path[OUTFILE_PATH], bool gzip, const struct uuid *uuid, uint32_t suffix)
{
    return strrchr(path_of(path, gzip, 0, uuid, suffix), '/') + 1;
}

/* A free suffix behind `taken`, which is taken: the first, as long as none of those between has been removed. In steps
 * that grow, for a connection that pauses again and again may have thousands of files. */
static uint32_t free_suffix(struct outfile_calls *c, const struct uuid *uuid, bool gzip, uint32_t taken)
{
    const struct sysops *s = c->sys;
    char path[OUTFILE_PATH];
    struct stat st;
    uint32_t step = 1, free = SUFFIX_MAX;
    while (free - taken > 1) {
        uint32_t n = free < SUFFIX_MAX ? taken + (free - taken) / 2 : taken + step;
        if (n >= SUFFIX_MAX)
            break;
        if (s->fstatat(s->ctx, c->day_fd, name_of(path, gzip, uuid, n), &st, AT_SYMLINK_NOFOLLOW) == 0)
            taken = n;
        else
            free = n;
        step *= 2;
    }
    return free;
}

static int move_to_free_name(struct outfile_calls *c, const struct uuid *uuid, bool gzip, const char *part,
                             struct outfile_result *out)
{
    char path[OUTFILE_PATH];
    for (uint32_t n = 0; n < SUFFIX_MAX; n = free_suffix(c, uuid, gzip, n)) {
        if (move(c, part, name_of(path, gzip, uuid, n)) == 0) {
            out->suffix = n;
            return 0;
        }
        if (errno != EEXIST)
            return -1;
    }
    errno = EEXIST;
    return -1;
}

/* Under which suffix a predecessor published it. Nobody else publishes files of this UUID, so it is the last one,
 * unless two flows with one UUID were renamed at the moment of death: then both are told apart by nobody. */
static uint32_t last_suffix(struct outfile_calls *c, const struct uuid *uuid, bool gzip)
{
    return free_suffix(c, uuid, gzip, 0) - 1;
}

bool outfile_publish_as(struct outfile_calls *c, uint32_t yyyymmdd, const struct uuid *uuid, bool gzip,
                        const char *name, struct outfile_result *out)
{
    const struct sysops *s = c->sys;
    struct stat st;
    for (int tries = 0; tries < 2; tries++) {
        if (open_day(c, yyyymmdd) < 0) {
            failed(out, STEP_MKDIR);
            return false;
        }
        if (move_to_free_name(c, uuid, gzip, name, out) == 0)
            return true;
        int err = errno;
        if (err == ENOENT && s->fstatat(s->ctx, c->staging, name, &st, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT) {
            if (is_removed(c, c->staging)) { /* it went with the directory, not by a rename of ours */
                errno = ENOENT;
                (void)failed(out, STEP_OPEN);
                return false;
            }
            out->was_published = true;
            out->suffix = last_suffix(c, uuid, gzip);
            return false;
        }
        close_day(c); /* the directory may have been removed */
        errno = err;
        if (err != ENOENT)
            break;
    }
    failed(out, STEP_RENAME);
    return false;
}

static void do_publish(struct outfile_calls *c, const struct outfile_job *job, struct outfile_result *out)
{
    char part[OUTFILE_STAGED];
    outfile_staged_name(part, c, job);
    (void)outfile_publish_as(c, job->yyyymmdd, &job->uuid, c->config->gzip != GZIP_NONE, part, out);
    CRASHPOINT("publish.renamed");
}

/* ---- the rest ---- */

static void do_sync(struct outfile_calls *c, struct outfile_result *out)
{
    const struct sysops *s = c->sys;
    if (c->sync_fd < 0)
        c->sync_fd = s->openat(s->ctx, c->staging, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (c->sync_fd < 0 || s->syncfs(s->ctx, c->sync_fd) < 0)
        failed(out, STEP_SYNC);
}

static void do_space(struct outfile_calls *c, struct outfile_result *out)
{
    struct statvfs st;
    if (c->sys->fstatvfs(c->sys->ctx, c->staging, &st) < 0) {
        failed(out, STEP_SPACE);
        return;
    }
    out->free = (uint64_t)st.f_bavail * st.f_frsize;
    out->total = (uint64_t)st.f_blocks * st.f_frsize;
    out->files_free = st.f_favail;
    out->files_total = st.f_files;
}

static void do_remove(struct outfile_calls *c, const struct outfile_job *job)
{
    char name[OUTFILE_STAGED];
    outfile_staged_name(name, c, job);
    (void)c->sys->unlinkat(c->sys->ctx, c->staging, name, 0); /* may not be there */
}

static void do_job(struct outfile_calls *c, const struct outfile_job *job, struct outfile_result *out)
{
    switch (job->kind) {
    case OUTFILE_WRITE:
        do_write(c, job, out);
        return;
    case OUTFILE_SYNC:
        do_sync(c, out);
        return;
    case OUTFILE_PUBLISH:
        do_publish(c, job, out);
        return;
    case OUTFILE_REMOVE:
        do_remove(c, job);
        return;
    case OUTFILE_DAY:
        if (open_day(c, job->yyyymmdd) < 0)
            failed(out, STEP_MKDIR);
        return;
    case OUTFILE_SPACE:
        do_space(c, out);
        return;
    case OUTFILE_SALVAGE:
        outfile_salvage(c, job->idx, out);
        return;
    case OUTFILE_RETENTION:
        retention_step(&c->retention, c->sys, c->datadir, c->config, job->remove, job->now, &job->spared, &out->scan);
        return;
    }
}

void outfile_do(struct outfile_calls *c, const struct outfile_job *job, struct outfile_result *out)
{
    out->error = 0;
    out->step = STEP_NONE;
    out->suffix = 0;
    out->was_published = false;
    out->salvaged = 0;
    out->aside = false;
    errno = 0;
    do_job(c, job, out);
    out->removed =
        (out->error == ENOENT || out->error == ESTALE) && (is_removed(c, c->datadir) || is_removed(c, c->staging));
}
