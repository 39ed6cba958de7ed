/* SPDX-License-Identifier: Apache-2.0
 * What each role can no longer do, and what it still can. Every attempt is made in a child of its own, first without a
 * sandbox: what fails there anyway (not root, switched off in this kernel) proves nothing and is not held against the
 * other modes; what must work for anybody is asserted to work, so that a test which refuses nothing is noticed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <linux/netlink.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shared/sandbox.h"
#include "tests/unit/skip.h"

enum outcome { THROUGH = 0, KILLED, REFUSED, BROKEN };
#define EXIT_REFUSED 77
#define EXIT_BROKEN 78

struct place {
    char dir[64], data[80], staging[80], outside[80];
    int data_fd, staging_fd, memory;
};
static struct place place;

/* ---- attempts: the result of the call, with errno ---- */

static long try_execve(void)
{
    char *argv[] = {(char *)(uintptr_t) "true", NULL};
    return execve("/bin/true", argv, environ);
}

static long try_fork(void)
{
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    if (pid > 0)
        (void)waitpid(pid, NULL, 0);
    return pid;
}

static long try_socket_inet(void)
{
    return socket(AF_INET, SOCK_STREAM, 0);
}

static long try_socket_inet6(void)
{
    return socket(AF_INET6, SOCK_DGRAM, 0);
}

static long try_open_outside(void)
{
    return open(place.outside, O_WRONLY | O_CREAT, 0600);
}

static long try_reopen_memory(void)
{
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", place.memory);
    return open(path, O_RDWR);
}

static long try_ptrace(void)
{
    return ptrace(PTRACE_TRACEME, 0, NULL, NULL);
}

static long try_kill(void)
{
    return kill(getppid(), 0);
}

static long try_tgkill(void)
{
    return syscall(SYS_tgkill, getppid(), getppid(), 0);
}

static long try_read_of_another(void)
{
    char here[8];
    struct iovec local = {here, sizeof here}, remote = {&place, sizeof here};
    return process_vm_readv(getppid(), &local, 1, &remote, 1, 0);
}

static long try_unshare(void)
{
    return unshare(CLONE_FS);
}

static long try_user_namespace(void)
{
    return unshare(CLONE_NEWUSER);
}

static long try_mount(void)
{
    return mount("none", "/nonexistent", "tmpfs", 0, NULL); /* looked up after the filter, before the rights */
}

static long try_bpf(void)
{
    return syscall(SYS_bpf, 0, NULL, 0);
}

static long try_io_uring(void)
{
    return syscall(SYS_io_uring_setup, 1, NULL);
}

static long try_code_in_memory(void)
{
    void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? -1 : 0;
}

static long try_raise_limit(void)
{
    struct rlimit none = {0, 0};
    return setrlimit(RLIMIT_CORE, &none);
}

static long try_become_dumpable(void)
{
    return prctl(PR_SET_DUMPABLE, 1UL, 0UL, 0UL, 0UL);
}

static long try_signals_by_owner(void)
{
    int pair[2];
    return socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0 ? -1 : fcntl(pair[0], F_SETOWN, getppid());
}

#if defined(__x86_64__) && !SANDBOX_SANITIZED
/* getpid as a 32-bit program asks for it. A kernel without those sends SIGSEGV. */
static long try_foreign_call(void)
{
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(20L) : "memory", "r8", "r9", "r10", "r11");
    return result;
}
#endif

static const struct {
    const char *name;
    long (*attempt)(void);
    bool anybody; /* without a sandbox it works for anybody */
} attempts[] = {
    {"execve", try_execve, true},
    {"fork", try_fork, true},
    {"socket(AF_INET)", try_socket_inet, true},
    {"socket(AF_INET6)", try_socket_inet6, false},
    {"open outside", try_open_outside, true},
    {"reopen memory", try_reopen_memory, true},
    {"ptrace", try_ptrace, true},
    {"kill", try_kill, true},
    {"tgkill", try_tgkill, true},
    {"process_vm_readv", try_read_of_another, false},
    {"unshare", try_unshare, true},
    {"unshare(CLONE_NEWUSER)", try_user_namespace, false},
    {"mount", try_mount, false},
    {"bpf", try_bpf, false},
    {"io_uring_setup", try_io_uring, false},
    {"mmap(PROT_EXEC)", try_code_in_memory, true},
    {"setrlimit", try_raise_limit, true},
    {"PR_SET_DUMPABLE", try_become_dumpable, true},
    {"F_SETOWN", try_signals_by_owner, true},
#if defined(__x86_64__) && !SANDBOX_SANITIZED
    {"int 0x80", try_foreign_call, false},
#endif
};
#define ATTEMPTS (sizeof attempts / sizeof attempts[0])

static const char *const roles[SANDBOX_ROLES] = {"live", "files", "hub", "shard"};

/* ---- a child in its sandbox ---- */

/* As the programs give them. */
static int restrict_files(enum sandbox_role role)
{
    const struct sandbox_tree shard[] = {{SANDBOX_SAVES, place.data_fd, NULL}, {SANDBOX_SAVES, place.staging_fd, NULL}};
    const struct sandbox_tree hub[] = {{SANDBOX_BINDS, -1, place.data}, {SANDBOX_READS, -1, "/proc"}};
    const struct sandbox_tree names[] = {{SANDBOX_READS, -1, "/etc/hosts"}, {SANDBOX_READS, -1, "/nonexistent"}};
    int rc = role == SANDBOX_SHARD ? sandbox_files(shard, 2)
             : role == SANDBOX_HUB ? sandbox_files(hub, 2)
                                   : sandbox_files(names, 2);
    return rc == SC_EVERSION ? SC_OK : rc;
}

/* Landlock does not follow the mode in the programs; here it would hide what the filter lets through. */
static bool enter(enum sandbox_role role, enum sandbox_mode mode)
{
    return prctl(PR_SET_NO_NEW_PRIVS, 1UL, 0UL, 0UL, 0UL) == 0 &&
           (mode != SANDBOX_KILL || restrict_files(role) == SC_OK) && sandbox_calls(role, mode) == SC_OK;
}

static enum outcome outcome_of(pid_t pid)
{
    int status;
    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
    if (WIFSIGNALED(status))
        return WTERMSIG(status) == SIGSYS || WTERMSIG(status) == SIGSEGV ? KILLED : BROKEN;
    if (!WIFEXITED(status))
        return BROKEN;
    return WEXITSTATUS(status) == 0 ? THROUGH : WEXITSTATUS(status) == EXIT_REFUSED ? REFUSED : BROKEN;
}

/* With no sandbox at all if role is SANDBOX_ROLES. */
static enum outcome attempt_in(enum sandbox_role role, enum sandbox_mode mode, long (*attempt)(void))
{
    pid_t pid = fork();
    if (pid == 0) {
        alarm(20);
        if (role != SANDBOX_ROLES && !enter(role, mode))
            _exit(EXIT_BROKEN);
        errno = 0;
        long rc = attempt();
        _exit(rc < 0 && (errno == EPERM || errno == EACCES || errno == ELOOP) ? EXIT_REFUSED : 0);
    }
    return outcome_of(pid);
}

static void kill_refuses_all(void **state)
{
    (void)state;
    if (SANDBOX_SANITIZED)
        SKIP_BECAUSE("under a sanitizer the filter only logs");
    for (size_t i = 0; i < ATTEMPTS; i++) {
        for (int role = 0; role < SANDBOX_ROLES; role++) {
            enum outcome o = attempt_in((enum sandbox_role)role, SANDBOX_KILL, attempts[i].attempt);
            if (o != KILLED && o != REFUSED)
                fail_msg("%s: %s got through (%d)", roles[role], attempts[i].name, (int)o);
        }
    }
}

static void the_others_refuse_nothing(void **state)
{
    (void)state;
    for (size_t i = 0; i < ATTEMPTS; i++) {
        enum outcome plain = attempt_in(SANDBOX_ROLES, SANDBOX_NONE, attempts[i].attempt);
        if (attempts[i].anybody && plain != THROUGH)
            fail_msg("%s proves nothing: it fails without a sandbox, too", attempts[i].name);
        for (int role = 0; role < SANDBOX_ROLES; role++) {
            if (attempt_in((enum sandbox_role)role, SANDBOX_NONE, attempts[i].attempt) != plain)
                fail_msg("%s: %s with no filter", roles[role], attempts[i].name);
        }
        if (plain == THROUGH && attempts[i].anybody && attempts[i].attempt != try_open_outside)
            assert_int_equal(attempt_in(SANDBOX_SHARD, SANDBOX_LOG, attempts[i].attempt), THROUGH);
    }
}

/* ---- what still works ---- */

#define NEED(condition)                                                                                                \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: %s (errno %d)\n", __FILE__, __LINE__, #condition, errno);                          \
            return -1;                                                                                                 \
        }                                                                                                              \
    } while (0)

static void *in_thread(void *at)
{
    void *memory = malloc(1 << 20);
    *(bool *)at = memory != NULL;
    free(memory);
    return NULL;
}

static int works_for_threads(void)
{
    pthread_t thread;
    bool ran = false;
    NEED(pthread_create(&thread, NULL, in_thread, &ran) == 0 && pthread_join(thread, NULL) == 0 && ran);
    return 0;
}

/* The way of a file: staged, moved to its day, and the way of one that is taken back. */
static int works_for_files(void)
{
    struct stat st;
    int fd = openat(place.staging_fd, "a.part", O_WRONLY | O_NOFOLLOW | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    NEED(fd >= 0 && write(fd, "a", 1) == 1 && ftruncate(fd, 1) == 0 && close(fd) == 0);
    fd = openat(place.staging_fd, "a.part", O_WRONLY | O_NOFOLLOW | O_TRUNC | O_CLOEXEC);
    NEED(fd >= 0 && close(fd) == 0);
    NEED(renameat2(place.staging_fd, "a.part", place.staging_fd, "b.part", 0) == 0);
    NEED(mkdirat(place.data_fd, "2024", 0700) == 0);
    int day = openat(place.data_fd, "2024", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    NEED(day >= 0 && renameat2(place.staging_fd, "b.part", day, "a", RENAME_NOREPLACE) == 0);
    NEED(fstatat(day, "a", &st, AT_SYMLINK_NOFOLLOW) == 0);
    int list = openat(place.staging_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    NEED(list >= 0 && syncfs(list) == 0 && close(list) == 0);
    NEED(unlinkat(day, "a", 0) == 0);
    return 0;
}

static int works_for_a_shard(void)
{
    NEED(works_for_threads() == 0);
    NEED(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0) >= 0);
    NEED(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG) >= 0);
    return works_for_files();
}

static int works_for_the_hub(void)
{
    NEED(works_for_threads() == 0);
    NEED(open("/proc/self/stat", O_RDONLY | O_CLOEXEC) >= 0);
    /* A client of the HTTP server, from fe80::1%lo. */
    struct sockaddr_in6 client = {.sin6_family = AF_INET6, .sin6_scope_id = 1};
    client.sin6_addr.s6_addr[0] = 0xfe;
    client.sin6_addr.s6_addr[1] = 0x80;
    client.sin6_addr.s6_addr[15] = 1;
    char host[NI_MAXHOST], port[NI_MAXSERV];
    NEED(getnameinfo((struct sockaddr *)&client, sizeof client, host, sizeof host, port, sizeof port,
                     NI_NUMERICHOST | NI_NUMERICSERV) == 0);
    return 0;
}

static int works_for_capture(void)
{
    NEED(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE) >= 0);
    NEED(open("/etc/hosts", O_RDONLY | O_CLOEXEC) >= 0);
    return 0;
}

static void what_is_needed_still_works(void **state)
{
    static int (*const works[SANDBOX_ROLES])(void) = {works_for_capture, NULL, works_for_the_hub, works_for_a_shard};
    (void)state;
    for (int role = 0; role < SANDBOX_ROLES; role++) {
        pid_t pid = works[role] ? fork() : -1;
        if (pid == 0) {
            alarm(20);
            _exit(enter((enum sandbox_role)role, SANDBOX_KILL) && works[role]() == 0 ? 0 : EXIT_BROKEN);
        }
        if (works[role] && outcome_of(pid) != THROUGH)
            fail_msg("%s cannot do its work", roles[role]);
    }
}

static void an_abort_is_an_abort(void **state)
{
    (void)state;
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        (void)signal(SIGABRT, SIG_DFL);
        if (enter(SANDBOX_SHARD, SANDBOX_KILL))
            abort();
        _exit(EXIT_BROKEN);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
}

/* ---- Landlock ---- */

static bool has_landlock(void)
{
    return syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION) >= 2;
}

static long try_read_outside(void)
{
    return open("/etc/passwd", O_RDONLY | O_CLOEXEC);
}

static long try_list_outside(void)
{
    return open(place.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static long try_write_outside(void)
{
    return open(place.outside, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
}

static long try_move_outside(void)
{
    long rc = renameat2(place.staging_fd, "moved", AT_FDCWD, place.outside, 0);
    return rc < 0 && errno == EXDEV ? (errno = EACCES, -1) : rc;
}

static long try_socket_inside(void)
{
    return mknodat(place.data_fd, "socket", S_IFSOCK | 0600, 0);
}

static long try_read_inside(void)
{
    return openat(place.data_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static long try_write_inside(void)
{
    return openat(place.data_fd, "file", O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
}

static long try_read_names(void)
{
    return open("/etc/hosts", O_RDONLY | O_CLOEXEC);
}

static long try_read_processes(void)
{
    return open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
}

/* Landlock by itself, so that the filter cannot be what refuses; role SANDBOX_ROLES: not even that. */
static enum outcome below(enum sandbox_role role, long (*attempt)(void))
{
    int moved = openat(place.staging_fd, "moved", O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    assert_true(moved >= 0);
    (void)close(moved);
    pid_t pid = fork();
    if (pid == 0) {
        alarm(20);
        if (prctl(PR_SET_NO_NEW_PRIVS, 1UL, 0UL, 0UL, 0UL) != 0 ||
            (role != SANDBOX_ROLES && restrict_files(role) != SC_OK))
            _exit(EXIT_BROKEN);
        errno = 0;
        _exit(attempt() >= 0 ? 0 : errno == EACCES || errno == EPERM ? EXIT_REFUSED : EXIT_BROKEN);
    }
    enum outcome o = outcome_of(pid);
    (void)unlinkat(place.data_fd, "socket", 0);
    (void)unlinkat(place.data_fd, "file", 0);
    (void)unlink(place.outside);
    return o;
}

static const struct {
    const char *name;
    long (*attempt)(void);
    bool allowed[SANDBOX_ROLES]; /* live, files, hub, shard */
} trees[] = {
    {"read /etc/passwd", try_read_outside, {false, false, false, false}},
    {"list outside", try_list_outside, {false, false, false, false}},
    {"write outside", try_write_outside, {false, false, false, false}},
    {"move outside", try_move_outside, {false, false, false, false}},
    {"execve", try_execve, {false, false, false, false}},
    {"make a socket", try_socket_inside, {false, false, true, false}},
    {"list the data", try_read_inside, {false, false, false, true}},
    {"write data", try_write_inside, {false, false, false, true}},
    {"read names", try_read_names, {true, true, false, false}},
    {"read of processes", try_read_processes, {false, false, true, false}},
};

static void only_its_directories(void **state)
{
    (void)state;
    if (!has_landlock())
        SKIP_BECAUSE("this kernel has no Landlock with renames across directories");
    for (size_t i = 0; i < sizeof trees / sizeof trees[0]; i++) {
        if (below(SANDBOX_ROLES, trees[i].attempt) != THROUGH)
            fail_msg("%s proves nothing: it fails without Landlock, too", trees[i].name);
        for (int role = 0; role < SANDBOX_ROLES; role++) {
            bool allowed = trees[i].allowed[role] || (SANDBOX_SANITIZED && trees[i].attempt == try_read_processes);
            enum outcome want = allowed ? THROUGH : REFUSED;
            enum outcome o = below((enum sandbox_role)role, trees[i].attempt);
            if (o != want)
                fail_msg("%s: %s ended as %d, not %d", roles[role], trees[i].name, (int)o, (int)want);
        }
    }
}

static long try_signal_to_parent(void)
{
    return kill(getppid(), 0);
}

static void signals_to_nobody_else(void **state)
{
    (void)state;
    if (syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION) < 6)
        SKIP_BECAUSE("the Landlock of this kernel knows no signals");
    assert_int_equal(below(SANDBOX_ROLES, try_signal_to_parent), THROUGH);
    for (int role = 0; role < SANDBOX_ROLES; role++)
        assert_int_equal(below((enum sandbox_role)role, try_signal_to_parent), REFUSED);
}

/* ---- place ---- */

static int make_place(void **state)
{
    (void)state;
    (void)snprintf(place.dir, sizeof place.dir, "/tmp/shardcap-sandbox-XXXXXX");
    assert_non_null(mkdtemp(place.dir));
    (void)snprintf(place.data, sizeof place.data, "%s/data", place.dir);
    (void)snprintf(place.staging, sizeof place.staging, "%s/staging", place.dir);
    (void)snprintf(place.outside, sizeof place.outside, "%s/outside", place.dir);
    assert_int_equal(mkdir(place.data, 0700), 0);
    assert_int_equal(mkdir(place.staging, 0700), 0);
    place.data_fd = open(place.data, O_PATH | O_DIRECTORY | O_CLOEXEC);
    place.staging_fd = open(place.staging, O_PATH | O_DIRECTORY | O_CLOEXEC);
    place.memory = memfd_create("memory", MFD_CLOEXEC);
    assert_true(place.data_fd >= 0 && place.staging_fd >= 0 && place.memory >= 0);
    return 0;
}

static int remove_place(void **state)
{
    (void)state;
    (void)unlinkat(place.data_fd, "2024", AT_REMOVEDIR);
    (void)unlinkat(place.staging_fd, "moved", 0);
    (void)close(place.data_fd);
    (void)close(place.staging_fd);
    (void)close(place.memory);
    (void)unlink(place.outside);
    return rmdir(place.data) == 0 && rmdir(place.staging) == 0 && rmdir(place.dir) == 0 ? 0 : -1;
}

/* valgrind makes system calls of its own in our name, and has its own ideas of SIGSYS. */
static bool under_valgrind(void)
{
    const char *preloaded = getenv("LD_PRELOAD");
    return preloaded && strstr(preloaded, "vgpreload");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kill_refuses_all),           cmocka_unit_test(the_others_refuse_nothing),
        cmocka_unit_test(what_is_needed_still_works), cmocka_unit_test(an_abort_is_an_abort),
        cmocka_unit_test(only_its_directories),       cmocka_unit_test(signals_to_nobody_else),
    };
    if (under_valgrind()) {
        (void)printf("sandbox: not under valgrind\n");
        return 0;
    }
    return cmocka_run_group_tests_name("sandbox", tests, make_place, remove_place);
}
