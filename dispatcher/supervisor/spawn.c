/* SPDX-License-Identifier: Apache-2.0
 * See spawn.h. Failure policy: what fails before the fork is returned; what fails after it ends the new child with
 * EXIT_TEMPFAIL, which the supervisor sees as a death like any other. */
#include "dispatcher/supervisor/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shared/proto.h"

/* Room for all PROTO_FDS messages of one attachment: proto_send never waits. */
#define SOCKET_BUFFER (1 << 20)

int spawn_open(struct program *p, const char *name)
{
    char path[4096];
    ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);
    p->name = name;
    p->fd = -1;
    if (n < 0)
        return SC_ESYS;
    path[n] = '\0';
    char *slash = strrchr(path, '/');
    size_t room = sizeof(path) - (size_t)(slash + 1 - path);
    if (strlen(name) >= room) {
        errno = ENAMETOOLONG;
        return SC_ESYS;
    }
    memcpy(slash + 1, name, strlen(name) + 1);
    p->fd = open(path, O_PATH | O_CLOEXEC);
    return p->fd < 0 ? SC_ESYS : SC_OK;
}

int spawn_open_self(struct program *p)
{
    *p = (struct program){"shardcap", open("/proc/self/exe", O_PATH | O_CLOEXEC)};
    return p->fd < 0 ? SC_ESYS : SC_OK;
}

static void reset_signals(void)
{
    sigset_t none;
    for (int i = 1; i < NSIG; i++)
        signal(i, SIG_DFL);  /* refused for SIGKILL and SIGSTOP, which need none */
    signal(SIGINT, SIG_IGN); /* a terminal sends both to all: also a child that has not ignored them by itself yet */
    signal(SIGHUP, SIG_IGN);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static _Noreturn void become(const struct program *p, int sock)
{
    char *argv[] = {(char *)(uintptr_t)p->name, NULL}; /* exec does not write to it */
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    int exe = fcntl(p->fd, F_DUPFD_CLOEXEC, PROTO_FD + 1); /* out of the way of what is placed below */
    int end = fcntl(sock, F_DUPFD_CLOEXEC, PROTO_FD + 1);
    reset_signals();
    if (null >= 0 && exe >= 0 && end >= 0 && dup2(null, STDIN_FILENO) >= 0 && dup2(end, PROTO_FD) == PROTO_FD &&
        syscall(SYS_close_range, PROTO_FD + 1, ~0u, CLOSE_RANGE_CLOEXEC) == 0)
        syscall(SYS_execveat, exe, "", argv, environ, AT_EMPTY_PATH);
    _exit(EXIT_TEMPFAIL);
}

pid_t spawn_child(const struct program *p, int *sock_r)
{
    int pair[2];
    int size = SOCKET_BUFFER;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0)
        return SC_ESYS;
    /* Best effort: the default of 208 KiB holds what a small family needs. */
    (void)setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    pid_t pid = fork();
    if (pid == 0)
        become(p, pair[1]);
    int saved = errno;
    close(pair[1]);
    if (pid < 0) {
        close(pair[0]);
        errno = saved;
        return SC_ESYS;
    }
    *sock_r = pair[0];
    return pid;
}

pid_t spawn_question(const struct program *p, const char *arg, int *fd_r)
{
    char *argv[] = {(char *)(uintptr_t)p->name, (char *)(uintptr_t)arg, NULL};
    int pair[2];
    if (pipe2(pair, O_CLOEXEC | O_NONBLOCK) != 0)
        return SC_ESYS;
    pid_t pid = fork();
    if (pid == 0) {
        int null = open("/dev/null", O_RDWR | O_CLOEXEC);
        reset_signals();
        if (dup2(null, STDIN_FILENO) >= 0 && dup2(pair[1], STDOUT_FILENO) >= 0 && dup2(null, STDERR_FILENO) >= 0)
            syscall(SYS_execveat, p->fd, "", argv, environ, AT_EMPTY_PATH);
        _exit(EXIT_TEMPFAIL);
    }
    int why = errno;
    close(pair[1]);
    if (pid < 0)
        close(pair[0]);
    else
        *fd_r = pair[0];
    errno = why;
    return pid < 0 ? SC_ESYS : pid;
}

static size_t read_all(int fd, char *out, size_t cap)
{
    size_t len = 0;
    ssize_t n;
    while (len + 1 < cap && ((n = read(fd, out + len, cap - 1 - len)) > 0 || (n < 0 && errno == EINTR)))
        len += n > 0 ? (size_t)n : 0;
    out[len] = '\0';
    return len;
}

int spawn_ask(const struct program *p, const char *arg1, const char *arg2, char *out, size_t cap)
{
    char *argv[] = {(char *)(uintptr_t)p->name, (char *)(uintptr_t)arg1, (char *)(uintptr_t)arg2, NULL};
    int pair[2], status;
    if (pipe2(pair, O_CLOEXEC) != 0)
        return SC_ESYS;
    pid_t pid = fork();
    if (pid == 0) {
        reset_signals();
        if (dup2(pair[1], STDOUT_FILENO) >= 0)
            syscall(SYS_execveat, p->fd, "", argv, environ, AT_EMPTY_PATH);
        _exit(EXIT_TEMPFAIL);
    }
    close(pair[1]);
    if (pid > 0)
        (void)read_all(pair[0], out, cap);
    close(pair[0]);
    if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
        return SC_ESYS;
    return WEXITSTATUS(status);
}

int spawn_pidfd(pid_t pid)
{
    return (int)syscall(SYS_pidfd_open, pid, 0); /* close-on-exec by itself */
}

void spawn_kill(int pidfd)
{
    (void)syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
}

pid_t spawn_reap(pid_t pid, int *status_r)
{
    pid_t got = waitpid(pid, status_r, WNOHANG);
    return got < 0 ? SC_ESYS : got;
}

const char *spawn_death_text(int wait_status, char out[SPAWN_DEATH_TEXT])
{
    if (WIFEXITED(wait_status))
        snprintf(out, SPAWN_DEATH_TEXT, "exit status %d", WEXITSTATUS(wait_status));
    else
        snprintf(out, SPAWN_DEATH_TEXT, "signal %d (%s)", WTERMSIG(wait_status), strsignal(WTERMSIG(wait_status)));
    return out;
}
