/* SPDX-License-Identifier: Apache-2.0
 * See settings_inputs.h. Failure policy: the first input that cannot be read is refused, by name. */
#include "dispatcher/supervisor/settings_inputs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shared/proto.h"

static int check_readable(const char *flag, const char *path, char *error, int *status_r)
{
    struct stat st;
    if (faccessat(AT_FDCWD, path, R_OK, AT_EACCESS) != 0 || stat(path, &st) != 0)
        return settings_refuse(error, status_r, EXIT_FAILED, "flag %s: cannot read %s: %s", flag, path,
                               strerror(errno));
    if (S_ISDIR(st.st_mode))
        return settings_refuse(error, status_r, EXIT_FAILED, "flag %s: %s is a directory", flag, path);
    return SC_OK;
}

/* libpcap reads what is in it, not it. A pipe shows only later what comes. */
static bool is_gzip(const char *path)
{
    struct stat st;
    unsigned char magic[2] = {0};
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    bool read_it = fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && pread(fd, magic, 2, 0) == 2;
    if (fd >= 0)
        close(fd);
    return read_it && magic[0] == 0x1f && magic[1] == 0x8b;
}

static int check_savefile(const char *path, char *error, int *status_r)
{
    if (strcmp(path, "-") == 0)
        return SC_OK;
    if (check_readable("-read", path, error, status_r) != SC_OK)
        return SC_EINVAL;
    if (is_gzip(path))
        return settings_refuse(error, status_r, EXIT_FAILED,
                               "flag -read: %s is compressed; give what is in it: gzip -dc FILE | shardcap -read=- ..",
                               path);
    return SC_OK;
}

int settings_check_inputs(const struct config *c, char *error, int *status_r)
{
    for (unsigned i = 0; i < c->savefile_count; i++)
        if (check_savefile(c->savefiles[i], error, status_r) != SC_OK)
            return SC_EINVAL;
    if (c->uuid_events[0] && check_readable("-uuid.events", c->uuid_events, error, status_r) != SC_OK)
        return SC_EINVAL;
    return SC_OK;
}

/* Into fresh memory; -1 with errno. */
static int copy_events(int fd)
{
    char buf[65536];
    ssize_t n, done;
    int copy = memfd_create("events", MFD_CLOEXEC);
    if (copy < 0)
        return -1;
    while ((n = read(fd, buf, sizeof(buf))) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        for (done = 0; done < n;) {
            ssize_t put = write(copy, buf + done, (size_t)(n - done));
            if (put < 0)
                break;
            done += put;
        }
        if (n < 0 || done < n) {
            int why = errno;
            close(copy);
            errno = why;
            return -1;
        }
    }
    return copy;
}

/* A pipe is copied, because every shard reads the file for itself. */
static int open_events(const char *path)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0 || S_ISREG(st.st_mode))
        return fd;
    int copy = copy_events(fd);
    int why = errno;
    close(fd);
    errno = why;
    return copy;
}

int settings_open_inputs(const struct config *c, struct settings_fds *fds, char *error, int *status_r)
{
    for (unsigned i = 0; i < c->savefile_count; i++) {
        bool in = strcmp(c->savefiles[i], "-") == 0;
        fds->savefiles[i] = in ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3) : open(c->savefiles[i], O_RDONLY | O_CLOEXEC);
        if (fds->savefiles[i] < 0)
            return settings_refuse(error, status_r, EXIT_FAILED, "flag -read: cannot open %s: %s", c->savefiles[i],
                                   strerror(errno));
    }
    fds->events = c->uuid_events[0] ? open_events(c->uuid_events) : -1;
    if (c->uuid_events[0] && fds->events < 0)
        return settings_refuse(error, status_r, EXIT_FAILED, "flag -uuid.events: cannot open %s: %s", c->uuid_events,
                               strerror(errno));
    return SC_OK;
}
