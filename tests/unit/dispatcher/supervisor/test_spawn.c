/* SPDX-License-Identifier: Apache-2.0
 * A real child: this very program, which reports what it was started with and then does what it is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "dispatcher/supervisor/spawn.h"
#include "shared/proto.h"

#define ME "test_spawn"
#define FDS_LOOKED_AT 64

struct report {
    int argc;
    char name[32];
    char open[FDS_LOOKED_AT]; /* 1 = open */
    bool stdin_null, ignores_int, ignores_hup, term_by_default, blocked_none;
    pid_t parent;
};

static bool has(int signo, void (*handler)(int))
{
    struct sigaction a;
    return sigaction(signo, NULL, &a) == 0 && a.sa_handler == handler;
}

/* The child: reports, then obeys one byte: e = exit 7, a = abort, anything else or the end = exit 0. */
static int child(int argc, char **argv)
{
    struct report r = {.argc = argc, .parent = getppid()};
    struct stat in, null;
    sigset_t blocked;
    char order = 0;
    snprintf(r.name, sizeof(r.name), "%s", argv[0]);
    for (int fd = 0; fd < FDS_LOOKED_AT; fd++)
        r.open[fd] = fcntl(fd, F_GETFD) >= 0;
    r.stdin_null = fstat(0, &in) == 0 && stat("/dev/null", &null) == 0 && in.st_rdev == null.st_rdev;
    r.ignores_int = has(SIGINT, SIG_IGN);
    r.ignores_hup = has(SIGHUP, SIG_IGN);
    r.term_by_default = has(SIGTERM, SIG_DFL);
    r.blocked_none = sigprocmask(SIG_BLOCK, NULL, &blocked) == 0 && sigismember(&blocked, SIGTERM) == 0;
    (void)prctl(PR_SET_DUMPABLE, 0); /* no core of an abort that is wanted */
    if (send(PROTO_FD, &r, sizeof(r), MSG_NOSIGNAL) != (ssize_t)sizeof(r))
        return 1;
    struct pollfd p = {.fd = PROTO_FD, .events = POLLIN};
    while (poll(&p, 1, -1) < 0 && errno == EINTR)
        continue;
    if (recv(PROTO_FD, &order, 1, 0) == 1 && order == 'a')
        abort();
    return order == 'e' ? 7 : 0;
}

static pid_t start(int *sock, struct report *r)
{
    struct program program;
    assert_int_equal(spawn_open(&program, ME), SC_OK);
    pid_t pid = spawn_child(&program, sock);
    assert_true(pid > 0);
    close(program.fd);
    struct pollfd p = {.fd = *sock, .events = POLLIN};
    assert_int_equal(poll(&p, 1, 60000), 1);
    assert_int_equal(recv(*sock, r, sizeof(*r), 0), sizeof(*r));
    return pid;
}

/* Waits for the end of the socket, which comes with the child's. */
static int end_of(pid_t pid, int sock)
{
    int status = 0;
    char byte;
    struct pollfd p = {.fd = sock, .events = POLLIN};
    assert_int_equal(poll(&p, 1, 60000), 1);
    assert_true(recv(sock, &byte, 1, 0) <= 0);
    while (spawn_reap(pid, &status) == 0) { /* the socket ends a moment before the process does */
        siginfo_t info;
        assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
    }
    close(sock);
    return status;
}

static void test_what_a_child_is_started_with(void **state)
{
    struct report r;
    int sock;
    (void)state;
    int secret = open("/dev/null", O_RDONLY); /* without close-on-exec: a mistake that must not leak */
    assert_true(secret > PROTO_FD || dup2(secret, 20) == 20);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, NULL); /* as the supervisor does at start */
    pid_t pid = start(&sock, &r);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    assert_int_equal(r.argc, 1);
    assert_string_equal(r.name, ME);
    assert_int_equal(r.parent, getpid());
    for (int fd = 0; fd < FDS_LOOKED_AT; fd++)
        assert_int_equal(r.open[fd], fd <= PROTO_FD);
    assert_true(r.stdin_null);
    assert_true(r.ignores_int && r.ignores_hup);
    assert_true(r.term_by_default && r.blocked_none);
    int status = 0;
    assert_int_equal(spawn_reap(pid, &status), 0); /* it runs */
    assert_int_equal(send(sock, "x", 1, 0), 1);
    assert_int_equal(end_of(pid, sock), 0);
    close(secret);
}

static void test_deaths_are_told(void **state)
{
    char text[SPAWN_DEATH_TEXT];
    struct report r;
    int sock;
    (void)state;
    pid_t pid = start(&sock, &r);
    assert_int_equal(send(sock, "e", 1, 0), 1);
    assert_string_equal(spawn_death_text(end_of(pid, sock), text), "exit status 7");
    pid = start(&sock, &r);
    assert_int_equal(send(sock, "a", 1, 0), 1);
    assert_string_equal(spawn_death_text(end_of(pid, sock), text), "signal 6 (Aborted)");
    pid = start(&sock, &r);
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_string_equal(spawn_death_text(end_of(pid, sock), text), "signal 9 (Killed)");
}

static void test_our_end_is_the_child_s_end(void **state)
{
    struct report r;
    int sock, status;
    (void)state;
    pid_t pid = start(&sock, &r);
    close(sock);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void test_what_cannot_be_started(void **state)
{
    struct program program;
    int sock, status;
    (void)state;
    assert_int_equal(spawn_open(&program, "no-such-program"), SC_ESYS);
    assert_int_equal(errno, ENOENT);
    program = (struct program){.name = "null", .fd = open("/dev/null", O_PATH | O_CLOEXEC)};
    pid_t pid = spawn_child(&program, &sock); /* the fork works, the exec does not */
    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == EXIT_TEMPFAIL);
    close(sock);
    close(program.fd);
}

int main(int argc, char **argv)
{
    if (argc == 1 && strcmp(argv[0], ME) == 0) /* only spawn.c gives it this bare name */
        return child(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_a_child_is_started_with),
        cmocka_unit_test(test_deaths_are_told),
        cmocka_unit_test(test_our_end_is_the_child_s_end),
        cmocka_unit_test(test_what_cannot_be_started),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
