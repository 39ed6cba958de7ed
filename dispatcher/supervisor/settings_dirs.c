/* SPDX-License-Identifier: Apache-2.0
 * See settings_dirs.h. The supervisor walks the paths, with the rights of the caller; the others get directory fds, so
 * that a shard of another user never needs to pass a home of mode 0700.
 * What the user may write to is not trusted by a supervisor that is root: nothing is given away through a path that may
 * have become a link, and no file is opened through one. */
#include "dispatcher/supervisor/settings_dirs.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "shared/confine.h"

#define STAGING_WAIT_TRIES 30 /* three seconds: a family without its supervisor flushes in two */

int dirs_failed(char *error, const char *what, const char *path, const char *remedy)
{
    settings_error(error, "%s %s: %s%s%s", what, path, strerror(errno), *remedy ? "; " : "", remedy);
    return SC_ESYS;
}

int dirs_give_away(const struct config *c, int fd)
{
    return c->user_switch ? fchownat(fd, "", c->uid, c->gid, AT_EMPTY_PATH) : 0;
}

int dirs_make(const struct config *c, const char *path, mode_t mode, bool *made_r)
{
    struct stat st;
    *made_r = mkdir(path, mode) == 0;
    if (!*made_r) {
        int why = errno; /* of a read-only file system or an automounter, also where the directory is there */
        if (stat(path, &st) == 0) {
            errno = ENOTDIR;
            return S_ISDIR(st.st_mode) ? 0 : -1;
        }
        errno = why;
        return -1;
    }
    int fd = open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    int rc = fd < 0 ? -1 : dirs_give_away(c, fd);
    if (fd >= 0)
        close(fd);
    return rc;
}

/* The same with its parents. */
static int make_path(const struct config *c, const char *path, mode_t mode)
{
    char part[CONFIG_PATH];
    bool made;
    if (strlen(path) >= sizeof(part)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(part, path, strlen(path) + 1);
    for (char *slash = strchr(part + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (dirs_make(c, part, mode, &made) != 0)
            return -1;
        *slash = '/';
    }
    return dirs_make(c, part, mode, &made);
}

int dirs_as_user(const struct config *c, int (*what)(const void *ctx), const void *ctx)
{
    int status = 0;
    if (!c->user_switch)
        return what(ctx);
    pid_t pid = fork();
    if (pid == 0) {
        bool became = confine_user(c->uid, c->gid) == SC_OK && confine_capabilities(false) == SC_OK;
        _exit(became ? what(ctx) : EPERM);
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        return errno;
    return WIFEXITED(status) ? WEXITSTATUS(status) : EIO;
}

struct two_dirs {
    int staging, datadir;
};

/* A rename without replacing, from staging into datadir, as a shard will do it. Two names, for the two may be one. */
static int try_rename(const void *ctx)
{
    const struct two_dirs *d = ctx;
    char from[64], to[72];
    struct stat st;
    snprintf(from, sizeof(from), ".shardcap-trial.%d", (int)getpid());
    snprintf(to, sizeof(to), "%s.done", from);
    (void)unlinkat(d->staging, from, 0); /* of one with our pid that was killed here */
    (void)unlinkat(d->datadir, to, 0);
    int fd = openat(d->staging, from, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return errno;
    close(fd);
    int why = renameat2(d->staging, from, d->datadir, to, RENAME_NOREPLACE) == 0 ? 0 : errno;
    if ((why == EINVAL || why == ENOSYS) && fstatat(d->datadir, to, &st, AT_SYMLINK_NOFOLLOW) != 0)
        why = renameat(d->staging, from, d->datadir, to) == 0 ? 0 : errno; /* NFS knows no flags */
    (void)unlinkat(d->staging, from, 0);
    (void)unlinkat(d->datadir, to, 0);
    return why;
}

static int open_dir(const char *path)
{
    return open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

/* Tries path as the staging directory; false with errno. What was not made here stays. */
static bool try_staging(struct config *c, struct settings_fds *fds, const char *path)
{
    bool made = false;
    errno = ENAMETOOLONG;
    if (strlen(path) >= sizeof(c->stagingdir) || dirs_make(c, path, 0775, &made) != 0)
        return false;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC); /* not O_PATH: it carries the lock */
    struct two_dirs dirs = {fd, fds->datadir};
    int why = fd < 0 ? errno : dirs_as_user(c, try_rename, &dirs);
    if (why) {
        if (fd >= 0)
            close(fd);
        if (made)
            (void)rmdir(path);
        errno = why;
        return false;
    }
    fds->stagingdir = fd;
    memcpy(c->stagingdir, path, strlen(path) + 1);
    return true;
}

static int no_staging(const struct config *c, char *error)
{
    char what[64] = "flag -datadir: cannot create files in";
    if (c->user_switch)
        snprintf(what, sizeof(what), "flag -datadir: uid %u cannot create files in", (unsigned)c->uid);
    return dirs_failed(error, what, c->datadir, "give it to that user, or choose another -datadir or -user");
}

static int open_staging(struct config *c, struct settings_fds *fds, char *error)
{
    char path[CONFIG_PATH + 16];
    if (c->stagingdir[0]) {
        bool made;
        if (dirs_make(c, c->stagingdir, 0775, &made) != 0 || !realpath(c->stagingdir, path) ||
            !try_staging(c, fds, path))
            return dirs_failed(error, "flag -stagingdir: cannot stage files in", c->stagingdir,
                               "it must be a directory that the user may write to, on the file system of -datadir");
        size_t n = strlen(c->datadir);
        c->staging_inside = strncmp(c->stagingdir, c->datadir, n) == 0 &&
                            (c->stagingdir[n] == '/' || c->stagingdir[n] == '\0' || n == 1);
        return SC_OK;
    }
    snprintf(path, sizeof(path), "%s.staging", c->datadir);
    if (strcmp(c->datadir, "/") != 0 && try_staging(c, fds, path))
        return SC_OK;
    c->staging_inside = true;
    snprintf(path, sizeof(path), "%s/.staging", c->datadir);
    if (!try_staging(c, fds, path))
        return no_staging(c, error);
    return SC_OK;
}

/* One family for a staging directory: another would take our unfinished files for leftovers. Shards get this same open
 * directory, so the lock lasts until the last of them has flushed after its supervisor died. */
static int lock_staging(const struct config *c, const struct settings_fds *fds, char *error)
{
    const struct timespec nap = {0, 100 * NS_PER_MS};
    for (int tries = 0; flock(fds->stagingdir, LOCK_EX | LOCK_NB) != 0; tries++) {
        if (errno != EWOULDBLOCK)
            return dirs_failed(error, "flag -stagingdir: cannot lock", c->stagingdir, "");
        if (tries == STAGING_WAIT_TRIES) {
            settings_error(error,
                           "another shardcap writes below %s; stop it, or choose another -datadir or -stagingdir",
                           c->datadir);
            return SC_EEXIST;
        }
        nanosleep(&nap, NULL);
    }
    return SC_OK;
}

int dirs_open_data(struct config *c, struct settings_fds *fds, char *error)
{
    char real[PATH_MAX];
    if (make_path(c, c->datadir, 0775) != 0)
        return dirs_failed(error, "flag -datadir: cannot create", c->datadir, "choose a place that you may write to");
    if (!realpath(c->datadir, real))
        return dirs_failed(error, "flag -datadir: cannot open", c->datadir, "");
    memcpy(c->datadir, real, strlen(real) + 1);
    fds->datadir = open_dir(c->datadir);
    if (fds->datadir < 0)
        return dirs_failed(error, "flag -datadir: cannot open", c->datadir, "it must be a directory");
    int err = open_staging(c, fds, error);
    return err ? err : lock_staging(c, fds, error);
}

static bool is_removed(int fd)
{
    struct stat st;
    return fstat(fd, &st) != 0 ? errno == ESTALE : st.st_nlink == 0;
}

/* Opens anew what was removed; the fds that stay -1 are still good. */
static int open_removed(struct config *c, const struct settings_fds *fds, struct settings_fds *now, char *error)
{
    bool staging = is_removed(fds->stagingdir);
    if (is_removed(fds->datadir)) {
        if (make_path(c, c->datadir, 0775) != 0)
            return dirs_failed(error, "flag -datadir: cannot create again", c->datadir, "");
        now->datadir = open(c->datadir, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        struct two_dirs dirs = {fds->stagingdir, now->datadir};
        if (now->datadir < 0 || (!staging && (errno = dirs_as_user(c, try_rename, &dirs)) != 0))
            return dirs_failed(error, "flag -datadir: cannot open again", c->datadir, "");
    }
    if (!staging)
        return SC_OK;
    struct settings_fds tried = {.datadir = now->datadir >= 0 ? now->datadir : fds->datadir, .stagingdir = -1};
    if (!try_staging(c, &tried, c->stagingdir))
        return dirs_failed(error, "flag -stagingdir: cannot open again", c->stagingdir, "");
    now->stagingdir = tried.stagingdir;
    if (flock(now->stagingdir, LOCK_EX | LOCK_NB) != 0)
        return dirs_failed(error, "flag -stagingdir: cannot lock", c->stagingdir, "");
    return SC_OK;
}

/* Puts fd under the number of another. */
static bool take_place(int fd, int place)
{
    return fd < 0 || dup3(fd, place, O_CLOEXEC) == place;
}

int dirs_open_again(const struct config *config, const struct settings_fds *fds, bool *again_r, char *error)
{
    static struct config c; /* large; its paths are only read */
    struct settings_fds now = {.datadir = -1, .stagingdir = -1};
    c = *config;
    int err = open_removed(&c, fds, &now, error);
    *again_r = !err && (now.datadir >= 0 || now.stagingdir >= 0);
    if (!err && (!take_place(now.datadir, fds->datadir) || !take_place(now.stagingdir, fds->stagingdir)))
        err = dirs_failed(error, "flag -datadir: cannot take the place of", c.datadir, "");
    if (now.datadir >= 0)
        (void)close(now.datadir);
    if (now.stagingdir >= 0)
        (void)close(now.stagingdir);
    return err;
}
