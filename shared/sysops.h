/* SPDX-License-Identifier: Apache-2.0
 * The system calls that can fail in interesting ways, as one replaceable table: tests fail call N for all N. Each entry
 * has the contract of the call it is named after (errno included). */
#ifndef SHARED_SYSOPS_H
#define SHARED_SYSOPS_H

#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/types.h>
#include <sys/uio.h>

struct sysops {
    int (*openat)(void *ctx, int dirfd, const char *path, int flags, mode_t mode);
    int (*mkdirat)(void *ctx, int dirfd, const char *path, mode_t mode);
    ssize_t (*pwritev)(void *ctx, int fd, const struct iovec *iov, int n, off_t offset);
    int (*ftruncate)(void *ctx, int fd, off_t length);
    int (*close)(void *ctx, int fd);
    int (*renameat2)(void *ctx, int from_dir, const char *from, int to_dir, const char *to, unsigned flags);
    int (*unlinkat)(void *ctx, int dirfd, const char *path, int flags);
    int (*fstatat)(void *ctx, int dirfd, const char *path, struct stat *out, int flags);
    int (*syncfs)(void *ctx, int fd);
    int (*fstatvfs)(void *ctx, int fd, struct statvfs *out);
    void *ctx;
};

/* The real calls. Static storage. */
const struct sysops *sysops_system(void);

#endif
