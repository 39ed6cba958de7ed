/* SPDX-License-Identifier: Apache-2.0
 * See settings_dirs.h. The supervisor walks the paths, with the rights of the caller; the others get directory fds, so
 * that a shard of another user never needs to pass a home of mode 0700. */
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
#include <unistd.h>

#include "shared/confine.h"

#define TRIAL "shardcap-trial"

static int failed(char *error, const char *what, const char *path, const char *remedy)
{
    settings_error(error, "%s %s: %s%s%s", what, path, strerror(errno), *remedy ? "; " : "", remedy);
    return SC_ESYS;
}

/* mkdir; what was made here belongs to the user. */
static int make_dir(const struct config *c, const char *path, mode_t mode)
{
    if (mkdir(path, mode) != 0)
        return errno == EEXIST ? 0 : -1;
    if (c->user_switch && chown(path, c->uid, c->gid) != 0)
        return -1;
    return 0;
}

/* The same with its parents. */
static int make_path(const struct config *c, const char *path, mode_t mode)
{
    char part[CONFIG_PATH];
    if (strlen(path) >= sizeof(part)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(part, path, strlen(path) + 1);
    for (char *slash = strchr(part + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (make_dir(c, part, mode) != 0)
            return -1;
        *slash = '/';
    }
    return make_dir(c, part, mode);
}

/* A real rename without replacing, from staging into datadir. */
static bool rename_works(int staging, int datadir)
{
    char name[64];
    snprintf(name, sizeof(name), "." TRIAL ".%d", (int)getpid());
    int fd = openat(staging, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return false;
    close(fd);
    bool works = renameat2(staging, name, datadir, name, RENAME_NOREPLACE) == 0;
    unlinkat(works ? datadir : staging, name, 0);
    return works;
}

static int open_dir(const char *path)
{
    return open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

/* Tries path as the staging directory. */
static bool try_staging(struct config *c, struct settings_fds *fds, const char *path)
{
    if (strlen(path) >= sizeof(c->stagingdir) || make_dir(c, path, 0775) != 0)
        return false;
    int fd = open_dir(path);
    if (fd < 0)
        return false;
    if (!rename_works(fd, fds->datadir)) {
        close(fd);
        rmdir(path); /* only an empty one goes */
        return false;
    }
    fds->stagingdir = fd;
    if (path != c->stagingdir)
        memcpy(c->stagingdir, path, strlen(path) + 1);
    return true;
}

static int open_staging(struct config *c, struct settings_fds *fds, char *error)
{
    char path[CONFIG_PATH + 16];
    if (c->stagingdir[0]) {
        char asked[CONFIG_PATH];
        memcpy(asked, c->stagingdir, sizeof(asked));
        if (make_dir(c, asked, 0775) != 0 || !realpath(asked, path) || !try_staging(c, fds, path))
            return failed(error, "flag -stagingdir: cannot stage files in", asked,
                          "it must be a writable directory on the file system of -datadir");
        size_t n = strlen(c->datadir);
        c->staging_inside = strncmp(c->stagingdir, c->datadir, n) == 0 && c->stagingdir[n] == '/';
        return SC_OK;
    }
    snprintf(path, sizeof(path), "%s.staging", c->datadir);
    if (strcmp(c->datadir, "/") != 0 && try_staging(c, fds, path))
        return SC_OK;
    c->staging_inside = true;
    snprintf(path, sizeof(path), "%s/.staging", c->datadir);
    if (!try_staging(c, fds, path))
        return failed(error, "flag -datadir: cannot create files below", c->datadir,
                      "choose a writable directory, or another -user");
    return SC_OK;
}

int dirs_open_data(struct config *c, struct settings_fds *fds, char *error)
{
    char real[PATH_MAX];
    if (make_path(c, c->datadir, 0775) != 0)
        return failed(error, "flag -datadir: cannot create", c->datadir, "choose a place that you may write to");
    if (!realpath(c->datadir, real))
        return failed(error, "flag -datadir: cannot open", c->datadir, "");
    memcpy(c->datadir, real, strlen(real) + 1);
    fds->datadir = open_dir(c->datadir);
    if (fds->datadir < 0)
        return failed(error, "flag -datadir: cannot open", c->datadir, "it must be a directory");
    return open_staging(c, fds, error);
}

static int lock_run(const struct config *c, struct settings_fds *fds, char *error)
{
    char path[CONFIG_PATH + 16], pid[32] = "";
    snprintf(path, sizeof(path), "%s/lock", c->rundir);
    fds->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (fds->lock < 0)
        return failed(error, "flag -rundir: cannot create", path, "choose a writable directory");
    if (flock(fds->lock, LOCK_EX | LOCK_NB) != 0) {
        ssize_t n = read(fds->lock, pid, sizeof(pid) - 1);
        pid[n > 0 ? n : 0] = '\0';
        pid[strcspn(pid, "\n")] = '\0';
        settings_error(error, "another shardcap (pid %s) runs in %s; stop it, or choose another -rundir", pid,
                       c->rundir);
        return SC_EEXIST;
    }
    int n = snprintf(pid, sizeof(pid), "%d\n", (int)getpid());
    if (ftruncate(fds->lock, 0) != 0 || pwrite(fds->lock, pid, (size_t)n, 0) != n)
        return failed(error, "flag -rundir: cannot write", path, "");
    return SC_OK;
}

/* Can the user of hub and shards create sockets there? Only a process of that user knows for sure. */
static bool user_may_write(const struct config *c, const char *dir)
{
    int status = 1;
    pid_t pid = fork();
    if (pid == 0)
        _exit(confine_user(c->uid, c->gid) == SC_OK && access(dir, W_OK | X_OK) == 0 ? 0 : 1);
    return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
}

int dirs_open_run(struct config *c, bool temp, struct settings_fds *fds, char *error)
{
    char bus[CONFIG_PATH + 16];
    fds->temp_rundir = temp;
    if (temp) {
        snprintf(c->rundir, sizeof(c->rundir), "/tmp/shardcap-XXXXXX");
        if (!mkdtemp(c->rundir))
            return failed(error, "cannot create", c->rundir, "");
        if (c->user_switch && chown(c->rundir, c->uid, c->gid) != 0)
            return failed(error, "cannot give away", c->rundir, "");
    } else if (make_dir(c, c->rundir, 0750) != 0) {
        return failed(error, "flag -rundir: cannot create", c->rundir, "choose a writable directory");
    }
    int err = lock_run(c, fds, error);
    if (err)
        return err;
    snprintf(bus, sizeof(bus), "%s/bus", c->rundir);
    if (make_dir(c, bus, 0750) != 0)
        return failed(error, "flag -rundir: cannot create", bus, "choose a writable directory");
    if (c->user_switch && (chown(c->rundir, c->uid, c->gid) != 0 || chown(bus, c->uid, c->gid) != 0))
        return failed(error, "flag -rundir: cannot give away", c->rundir, "");
    if (c->user_switch && !user_may_write(c, bus)) {
        settings_error(error,
                       "flag -rundir: the user of hub and shards (uid %u) cannot reach %s; choose a directory that it "
                       "may pass, or another -user",
                       (unsigned)c->uid, bus);
        return SC_EPERM;
    }
    return SC_OK;
}

void dirs_remove_temp(const struct config *c)
{
    static const char *const names[] = {"ctl.sock", "inject.sock", "events.sock", "lock"};
    char path[CONFIG_PATH + 32];
    for (unsigned i = 0; i < c->shards; i++) {
        snprintf(path, sizeof(path), "%s/bus/%02u.sock", c->rundir, i);
        unlink(path);
    }
    snprintf(path, sizeof(path), "%s/bus", c->rundir);
    rmdir(path);
    for (unsigned i = 0; i < sizeof(names) / sizeof(*names); i++) {
        snprintf(path, sizeof(path), "%s/%s", c->rundir, names[i]);
        unlink(path);
    }
    rmdir(c->rundir);
}
