/* SPDX-License-Identifier: Apache-2.0
 * See settings_dirs.h. The supervisor walks the paths, with the rights of the caller; the others get directory fds, so
 * that a shard of another user never needs to pass a home of mode 0700.
 * What the user may write to is not trusted by a supervisor that is root: nothing is given away through a path that may
 * have become a link, and no file is opened through one. */
#include "dispatcher/supervisor/settings_dirs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "shared/confine.h"

#define STAGING_WAIT_TRIES 30 /* three seconds: a family without its supervisor flushes in two */

static int failed(char *error, const char *what, const char *path, const char *remedy)
{
    settings_error(error, "%s %s: %s%s%s", what, path, strerror(errno), *remedy ? "; " : "", remedy);
    return SC_ESYS;
}

/* fd may be O_PATH. 0, or -1 with errno. */
static int give_away(const struct config *c, int fd)
{
    return c->user_switch ? fchownat(fd, "", c->uid, c->gid, AT_EMPTY_PATH) : 0;
}

/* Sees to it that path is a directory; one that is made here belongs to the user. 0, or -1 with errno. */
static int make_dir(const struct config *c, const char *path, mode_t mode, bool *made_r)
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
    int rc = fd < 0 ? -1 : give_away(c, fd);
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
        if (make_dir(c, part, mode, &made) != 0)
            return -1;
        *slash = '/';
    }
    return make_dir(c, part, mode, &made);
}

/* Runs what with the rights of hub and shards, in a process of its own, because they are taken on for good: nobody else
 * knows for sure. Returns what it returns, 0 or an errno; EPERM if we cannot become that user. */
static int as_user(const struct config *c, int (*what)(const void *ctx), const void *ctx)
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

static int try_reach(const void *ctx)
{
    const char *dir = ctx;
    return access(dir, W_OK | X_OK) == 0 ? 0 : errno;
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
    if (strlen(path) >= sizeof(c->stagingdir) || make_dir(c, path, 0775, &made) != 0)
        return false;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC); /* not O_PATH: it carries the lock */
    struct two_dirs dirs = {fd, fds->datadir};
    int why = fd < 0 ? errno : as_user(c, try_rename, &dirs);
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
    return failed(error, what, c->datadir, "give it to that user, or choose another -datadir or -user");
}

static int open_staging(struct config *c, struct settings_fds *fds, char *error)
{
    char path[CONFIG_PATH + 16];
    if (c->stagingdir[0]) {
        bool made;
        if (make_dir(c, c->stagingdir, 0775, &made) != 0 || !realpath(c->stagingdir, path) ||
            !try_staging(c, fds, path))
            return failed(error, "flag -stagingdir: cannot stage files in", c->stagingdir,
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
            return failed(error, "flag -stagingdir: cannot lock", c->stagingdir, "");
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
        return failed(error, "flag -datadir: cannot create", c->datadir, "choose a place that you may write to");
    if (!realpath(c->datadir, real))
        return failed(error, "flag -datadir: cannot open", c->datadir, "");
    memcpy(c->datadir, real, strlen(real) + 1);
    fds->datadir = open_dir(c->datadir);
    if (fds->datadir < 0)
        return failed(error, "flag -datadir: cannot open", c->datadir, "it must be a directory");
    int err = open_staging(c, fds, error);
    return err ? err : lock_staging(c, fds, error);
}

/* Says who holds the lock. */
static int taken(const struct config *c, int lock, char *error)
{
    char pid[32] = "";
    ssize_t n = pread(lock, pid, sizeof(pid) - 1, 0);
    pid[n > 0 ? n : 0] = '\0';
    pid[strspn(pid, "0123456789")] = '\0';
    settings_error(error, "another shardcap (pid %s) runs in %s; stop it, or choose another -rundir", pid, c->rundir);
    return SC_EEXIST;
}

int dirs_check_free(const struct config *c, char *error)
{
    char path[CONFIG_PATH + 8];
    snprintf(path, sizeof(path), "%s/lock", c->rundir);
    int lock = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (lock < 0)
        return SC_OK;
    int err = flock(lock, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK ? taken(c, lock, error) : SC_OK;
    close(lock);
    return err;
}

static int lock_run(const struct config *c, int run, struct settings_fds *fds, char *error)
{
    char pid[32] = "";
    struct stat st;
    fds->lock = openat(run, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0644);
    if (fds->lock < 0)
        return failed(error, "flag -rundir: cannot create the lock in", c->rundir, "choose a writable directory");
    if (fstat(fds->lock, &st) != 0 || !S_ISREG(st.st_mode) || st.st_nlink != 1) {
        settings_error(error, "flag -rundir: %s/lock is no lock file; remove it, or choose another -rundir", c->rundir);
        return SC_ESYS;
    }
    if (flock(fds->lock, LOCK_EX | LOCK_NB) != 0)
        return taken(c, fds->lock, error);
    int n = snprintf(pid, sizeof(pid), "%d\n", (int)getpid());
    if (ftruncate(fds->lock, 0) != 0 || pwrite(fds->lock, pid, (size_t)n, 0) != n)
        return failed(error, "flag -rundir: cannot write the lock in", c->rundir, "");
    return SC_OK;
}

/* Did an instance of ours leave it? */
static bool has_lock(int run)
{
    struct stat st;
    return fstatat(run, "lock", &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode);
}

/* Nothing in it but what we put there: /run itself is not to be given to a user. */
static bool is_run_directory(int run)
{
    struct stat st;
    if (fstatat(run, "lock", &st, AT_SYMLINK_NOFOLLOW) == 0)
        return true; /* whatever it is, lock_run looks at it */
    int copy = openat(run, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = copy < 0 ? NULL : fdopendir(copy);
    if (!d) {
        if (copy >= 0)
            close(copy);
        return false;
    }
    bool empty = true;
    for (struct dirent *e = readdir(d); e && empty; e = readdir(d))
        empty = strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0;
    closedir(d);
    return empty;
}

/* May run be our rundir? Root also takes over what an instance of another user left behind. */
static int check_run(const struct config *c, int run, char *error)
{
    struct stat st;
    if (fstat(run, &st) != 0)
        return failed(error, "flag -rundir: cannot read", c->rundir, "");
    bool owned = st.st_uid == c->uid || st.st_uid == geteuid() || st.st_uid == 0 || (geteuid() == 0 && has_lock(run));
    if (!owned || (st.st_mode & S_IWOTH)) {
        settings_error(error, "flag -rundir: %s belongs to %s; choose a directory of your own", c->rundir,
                       owned ? "everybody" : "another user");
        return SC_ESYS;
    }
    if (!c->user_switch || (st.st_uid == c->uid && st.st_gid == c->gid))
        return SC_OK;
    if (!is_run_directory(run)) {
        settings_error(error, "flag -rundir: %s holds other things; name an empty directory or a new one", c->rundir);
        return SC_ESYS;
    }
    return SC_OK;
}

/* Once the lock is ours: nobody runs in it. */
static int give_run(const struct config *c, int run, char *error)
{
    return give_away(c, run) == 0 ? SC_OK : failed(error, "flag -rundir: cannot give away", c->rundir, "");
}

static int make_bus(const struct config *c, int run, char *error)
{
    int bus = mkdirat(run, "bus", 0750) == 0 || errno == EEXIST
                  ? openat(run, "bus", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
                  : -1;
    int rc = bus < 0 ? -1 : give_away(c, bus);
    if (rc != 0)
        rc = failed(error, "flag -rundir: cannot create the bus in", c->rundir, "choose a writable directory");
    if (bus >= 0)
        close(bus);
    return rc;
}

/* For shards of other supervisors: as the other sockets, it is the user's and the group's. */
static int listen_for_shards(const struct config *c, struct settings_fds *fds, char *error)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    int n = snprintf(at.sun_path, sizeof(at.sun_path), "%s/attach.sock", c->rundir);
    fds->attach = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (n < 0 || (size_t)n >= sizeof(at.sun_path) || fds->attach < 0)
        return failed(error, "flag -shards.external: no socket in", c->rundir, "");
    (void)unlink(at.sun_path); /* the lock says that nobody lives here */
    mode_t old = umask(0117);
    int rc = bind(fds->attach, (const struct sockaddr *)&at, sizeof(at));
    umask(old);
    if (rc != 0 || listen(fds->attach, SHARDS_MAX) != 0 || (c->user_switch && lchown(at.sun_path, c->uid, c->gid) != 0))
        return failed(error, "flag -shards.external: cannot listen in", c->rundir, "");
    return SC_OK;
}

void dirs_remove_attach(const struct config *c)
{
    char path[CONFIG_PATH + 16];
    snprintf(path, sizeof(path), "%s/attach.sock", c->rundir);
    unlink(path);
}

/* Hub and shards walk the path of their sockets. */
static int check_reach(const struct config *c, char *error)
{
    char bus[CONFIG_PATH + 16];
    snprintf(bus, sizeof(bus), "%s/bus", c->rundir);
    errno = as_user(c, try_reach, bus);
    if (errno == 0)
        return SC_OK;
    settings_error(error,
                   "flag -rundir: the user of hub and shards (uid %u) cannot reach %s: %s; choose a directory that it "
                   "may pass, or another -user",
                   (unsigned)c->uid, bus, strerror(errno));
    return SC_EPERM;
}

int dirs_open_run(struct config *c, bool temp, struct settings_fds *fds, char *error)
{
    bool made;
    if (temp) {
        snprintf(c->rundir, sizeof(c->rundir), "/tmp/shardcap-XXXXXX");
        if (!mkdtemp(c->rundir)) {
            int err = failed(error, "cannot create", c->rundir, "name a directory with -rundir");
            c->rundir[0] = '\0';
            return err;
        }
        fds->temp_rundir = true;
    } else if (make_dir(c, c->rundir, geteuid() == 0 ? 0750 : 0700, &made) != 0) {
        return failed(error, "flag -rundir: cannot create", c->rundir, "choose a writable directory");
    }
    int run = open(c->rundir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (run < 0)
        return failed(error, "flag -rundir: cannot open", c->rundir, "it must be a directory, not a link");
    int err = check_run(c, run, error);
    if (!err)
        err = lock_run(c, run, fds, error);
    if (!err)
        err = give_run(c, run, error);
    if (!err)
        err = make_bus(c, run, error);
    if (!err && c->shards_external)
        err = listen_for_shards(c, fds, error);
    close(run);
    return err ? err : check_reach(c, error);
}

void dirs_remove_temp(const struct config *c)
{
    static const char *const names[] = {"ctl.sock", "inject.sock", "events.sock", "lock"};
    static const char replay[] = "bus/replay.sock";
    char path[CONFIG_PATH + 32];
    for (unsigned i = 0; i < c->shards; i++) {
        snprintf(path, sizeof(path), "%s/bus/%02u.sock", c->rundir, i);
        unlink(path);
    }
    snprintf(path, sizeof(path), "%s/%s", c->rundir, replay);
    unlink(path);
    snprintf(path, sizeof(path), "%s/bus", c->rundir);
    rmdir(path);
    for (unsigned i = 0; i < sizeof(names) / sizeof(*names); i++) {
        snprintf(path, sizeof(path), "%s/%s", c->rundir, names[i]);
        unlink(path);
    }
    rmdir(c->rundir);
}
