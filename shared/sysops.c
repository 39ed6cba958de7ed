/* SPDX-License-Identifier: Apache-2.0
 * The table of real system calls. Failure policy: none of its own; errors go to the caller as errno. */
#include "shared/sysops.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

static int real_openat(void *ctx, int dirfd, const char *path, int flags, mode_t mode)
{
    (void)ctx;
    return openat(dirfd, path, flags, mode);
}

static int real_mkdirat(void *ctx, int dirfd, const char *path, mode_t mode)
{
    (void)ctx;
    return mkdirat(dirfd, path, mode);
}

static ssize_t real_pwritev(void *ctx, int fd, const struct iovec *iov, int n, off_t offset)
{
    (void)ctx;
    return pwritev(fd, iov, n, offset);
}

static int real_ftruncate(void *ctx, int fd, off_t length)
{
    (void)ctx;
    return ftruncate(fd, length);
}

static int real_close(void *ctx, int fd)
{
    (void)ctx;
    return close(fd);
}

static int real_renameat2(void *ctx, int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
    (void)ctx;
    return renameat2(from_dir, from, to_dir, to, flags);
}

static int real_unlinkat(void *ctx, int dirfd, const char *path, int flags)
{
    (void)ctx;
    return unlinkat(dirfd, path, flags);
}

static int real_fstatat(void *ctx, int dirfd, const char *path, struct stat *out, int flags)
{
    (void)ctx;
    return fstatat(dirfd, path, out, flags);
}

static int real_syncfs(void *ctx, int fd)
{
    (void)ctx;
    return syncfs(fd);
}

static int real_fstatvfs(void *ctx, int fd, struct statvfs *out)
{
    (void)ctx;
    return fstatvfs(fd, out);
}

const struct sysops *sysops_system(void)
{
    static const struct sysops real = {
        .openat = real_openat,
        .mkdirat = real_mkdirat,
        .pwritev = real_pwritev,
        .ftruncate = real_ftruncate,
        .close = real_close,
        .renameat2 = real_renameat2,
        .unlinkat = real_unlinkat,
        .fstatat = real_fstatat,
        .syncfs = real_syncfs,
        .fstatvfs = real_fstatvfs,
    };
    return &real;
}
