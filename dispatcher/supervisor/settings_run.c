/* SPDX-License-Identifier: Apache-2.0
 * See settings_run.h. The directory may be another user's; what is said of that in settings_dirs.c holds here, too. */
#include "dispatcher/supervisor/settings_run.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "dispatcher/supervisor/settings_dirs.h"

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

int rundir_check_free(const struct config *c, char *error)
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
        return dirs_failed(error, "flag -rundir: cannot create the lock in", c->rundir, "choose a writable directory");
    if (fstat(fds->lock, &st) != 0 || !S_ISREG(st.st_mode) || st.st_nlink != 1) {
        settings_error(error, "flag -rundir: %s/lock is no lock file; remove it, or choose another -rundir", c->rundir);
        return SC_ESYS;
    }
    if (flock(fds->lock, LOCK_EX | LOCK_NB) != 0)
        return taken(c, fds->lock, error);
    int n = snprintf(pid, sizeof(pid), "%d\n", (int)getpid());
    if (ftruncate(fds->lock, 0) != 0 || pwrite(fds->lock, pid, (size_t)n, 0) != n)
        return dirs_failed(error, "flag -rundir: cannot write the lock in", c->rundir, "");
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
        return dirs_failed(error, "flag -rundir: cannot read", c->rundir, "");
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
    return dirs_give_away(c, run) == 0 ? SC_OK : dirs_failed(error, "flag -rundir: cannot give away", c->rundir, "");
}

static int make_bus(const struct config *c, int run, char *error)
{
    int bus = mkdirat(run, "bus", 0750) == 0 || errno == EEXIST
                  ? openat(run, "bus", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
                  : -1;
    int rc = bus < 0 ? -1 : dirs_give_away(c, bus);
    if (rc != 0)
        rc = dirs_failed(error, "flag -rundir: cannot create the bus in", c->rundir, "choose a writable directory");
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
        return dirs_failed(error, "flag -shards.external: no socket in", c->rundir, "");
    (void)unlink(at.sun_path); /* the lock says that nobody lives here */
    mode_t old = umask(0117);
    int rc = bind(fds->attach, (const struct sockaddr *)&at, sizeof(at));
    umask(old);
    if (rc != 0 || listen(fds->attach, SHARDS_MAX) != 0 || (c->user_switch && lchown(at.sun_path, c->uid, c->gid) != 0))
        return dirs_failed(error, "flag -shards.external: cannot listen in", c->rundir, "");
    return SC_OK;
}

void rundir_remove_attach(const struct config *c)
{
    char path[CONFIG_PATH + 16];
    snprintf(path, sizeof(path), "%s/attach.sock", c->rundir);
    unlink(path);
}

static int try_reach(const void *ctx)
{
    const char *dir = ctx;
    return access(dir, W_OK | X_OK) == 0 ? 0 : errno;
}

/* Hub and shards walk the path of their sockets. */
static int check_reach(const struct config *c, char *error)
{
    char bus[CONFIG_PATH + 16];
    snprintf(bus, sizeof(bus), "%s/bus", c->rundir);
    errno = dirs_as_user(c, try_reach, bus);
    if (errno == 0)
        return SC_OK;
    settings_error(error,
                   "flag -rundir: the user of hub and shards (uid %u) cannot reach %s: %s; choose a directory that it "
                   "may pass, or another -user",
                   (unsigned)c->uid, bus, strerror(errno));
    return SC_EPERM;
}

int rundir_open(struct config *c, bool temp, struct settings_fds *fds, char *error)
{
    bool made;
    if (temp) {
        snprintf(c->rundir, sizeof(c->rundir), "/tmp/shardcap-XXXXXX");
        if (!mkdtemp(c->rundir)) {
            int err = dirs_failed(error, "cannot create", c->rundir, "name a directory with -rundir");
            c->rundir[0] = '\0';
            return err;
        }
        fds->temp_rundir = true;
    } else if (dirs_make(c, c->rundir, geteuid() == 0 ? 0750 : 0700, &made) != 0) {
        return dirs_failed(error, "flag -rundir: cannot create", c->rundir, "choose a writable directory");
    }
    int run = open(c->rundir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (run < 0)
        return dirs_failed(error, "flag -rundir: cannot open", c->rundir, "it must be a directory, not a link");
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

void rundir_remove_temp(const struct config *c)
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
