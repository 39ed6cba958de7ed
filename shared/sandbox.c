/* SPDX-License-Identifier: Apache-2.0
 * The seccomp filters: which system calls each role may make, and with which arguments. The only user of libseccomp.
 * Failure policy: a filter is installed as a whole or the call fails, and the caller must not go on.
 *
 * Where a call is refused with an error instead of the end, it is one that the C library or libpcap makes by itself
 * and can do without. Paths cannot be told apart here; they are Landlock's and the users' business. */
#include "shared/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/prctl.h>
#include <sched.h>
#include <seccomp.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define NAME_OF_MEMORY 0x53564d41u /* PR_SET_VMA, which newer C libraries use to name their memory */

/* A filter under construction; error is sticky. */
struct filter {
    scmp_filter_ctx ctx;
    int error; /* negative errno */
};

/* Bounds of what is compared: at most two arguments of a call. */
static void rule(struct filter *f, uint32_t action, int call, unsigned count, const struct scmp_arg_cmp *args)
{
    if (f->error == 0)
        f->error = seccomp_rule_add_array(f->ctx, action, call, count, args);
}

static void allow_all(struct filter *f, const int *calls, size_t count)
{
    for (size_t i = 0; i < count; i++)
        rule(f, SCMP_ACT_ALLOW, calls[i], 0, NULL);
}
#define ALLOW(f, ...) allow_all((f), (const int[]){__VA_ARGS__}, sizeof((const int[]){__VA_ARGS__}) / sizeof(int))

static void refuse(struct filter *f, int call, int error)
{
    rule(f, SCMP_ACT_ERRNO((uint16_t)error), call, 0, NULL);
}

/* If argument n is equal to value under mask. */
static void allow_if(struct filter *f, int call, unsigned n, uint64_t mask, uint64_t value)
{
    const struct scmp_arg_cmp arg = {.arg = n, .op = SCMP_CMP_MASKED_EQ, .datum_a = mask, .datum_b = value};
    rule(f, SCMP_ACT_ALLOW, call, 1, &arg);
}
#define EXACTLY UINT64_MAX

/* ---- what all need ---- */

static void allow_memory(struct filter *f)
{
    ALLOW(f, SCMP_SYS(brk), SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(madvise));
    allow_if(f, SCMP_SYS(mmap), 2, PROT_EXEC, 0);
    allow_if(f, SCMP_SYS(mprotect), 2, PROT_EXEC, 0);
}

static void allow_files_open(struct filter *f)
{
    static const unsigned long commands[] = {F_GETFL, F_SETFL, F_GETFD, F_SETFD, F_DUPFD, F_DUPFD_CLOEXEC};
    static const unsigned long requests[] = {FIONBIO, FIONREAD, TCGETS};
    ALLOW(f, SCMP_SYS(read), SCMP_SYS(readv), SCMP_SYS(pread64), SCMP_SYS(write), SCMP_SYS(writev), SCMP_SYS(close),
          SCMP_SYS(lseek), SCMP_SYS(fstat), SCMP_SYS(newfstatat), SCMP_SYS(statx), SCMP_SYS(pipe2), SCMP_SYS(eventfd2),
          SCMP_SYS(dup));
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) /* not F_SETOWN, which sends signals */
        allow_if(f, SCMP_SYS(fcntl), 1, EXACTLY, commands[i]);
    for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++) /* not TIOCSTI, which types on a terminal */
        allow_if(f, SCMP_SYS(ioctl), 1, EXACTLY, requests[i]);
}

static void allow_waiting(struct filter *f)
{
    ALLOW(f, SCMP_SYS(epoll_create1), SCMP_SYS(epoll_ctl), SCMP_SYS(epoll_wait), SCMP_SYS(epoll_pwait),
          SCMP_SYS(epoll_pwait2), SCMP_SYS(poll), SCMP_SYS(ppoll), SCMP_SYS(select), SCMP_SYS(pselect6),
          SCMP_SYS(timerfd_create), SCMP_SYS(timerfd_settime), SCMP_SYS(timerfd_gettime), SCMP_SYS(nanosleep),
          SCMP_SYS(clock_nanosleep), SCMP_SYS(clock_gettime), SCMP_SYS(clock_getres), SCMP_SYS(gettimeofday),
          SCMP_SYS(time), SCMP_SYS(futex), SCMP_SYS(sched_yield), SCMP_SYS(restart_syscall));
}

static void allow_process(struct filter *f)
{
    ALLOW(f, SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigreturn), SCMP_SYS(sigaltstack),
          SCMP_SYS(getpid), SCMP_SYS(gettid), SCMP_SYS(getppid), SCMP_SYS(getuid), SCMP_SYS(geteuid), SCMP_SYS(getgid),
          SCMP_SYS(getegid), SCMP_SYS(getrandom), SCMP_SYS(sysinfo), SCMP_SYS(uname), SCMP_SYS(getrlimit),
          SCMP_SYS(getrusage), SCMP_SYS(sched_getaffinity), SCMP_SYS(getcpu), SCMP_SYS(membarrier), SCMP_SYS(rseq),
          SCMP_SYS(set_robust_list), SCMP_SYS(exit), SCMP_SYS(exit_group));
    allow_if(f, SCMP_SYS(tgkill), 0, EXACTLY, (uint64_t)getpid()); /* abort() */
    allow_if(f, SCMP_SYS(prlimit64), 2, EXACTLY, 0);               /* reads a limit, sets none */
    allow_if(f, SCMP_SYS(prctl), 0, EXACTLY, PR_SET_NAME);
    allow_if(f, SCMP_SYS(prctl), 0, EXACTLY, NAME_OF_MEMORY);
}

/* Threads, but no processes and no namespaces: clone3 hides its flags behind a pointer, and the C library falls back
 * to clone where there is none. */
static void allow_threads(struct filter *f)
{
    const unsigned long namespaces =
        CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET;
    ALLOW(f, SCMP_SYS(set_tid_address));
    refuse(f, SCMP_SYS(clone3), ENOSYS);
    allow_if(f, SCMP_SYS(clone), 0, CLONE_THREAD | namespaces, CLONE_THREAD);
}

/* ---- files ---- */

/* O_TMPFILE without the bit that it shares with O_DIRECTORY. */
#define WRITING ((unsigned)(O_ACCMODE | O_CREAT | O_TRUNC | (O_TMPFILE & ~O_DIRECTORY)))

static void allow_reading_files(struct filter *f)
{
    allow_if(f, SCMP_SYS(openat), 2, WRITING, O_RDONLY);
    ALLOW(f, SCMP_SYS(getdents64), SCMP_SYS(readlink), SCMP_SYS(readlinkat), SCMP_SYS(access), SCMP_SYS(faccessat),
          SCMP_SYS(faccessat2));
}

/* With O_NOFOLLOW no descriptor can be opened anew with more rights: /proc/self/fd/N is a link. */
static void allow_saving_files(struct filter *f)
{
    allow_if(f, SCMP_SYS(openat), 2, WRITING, O_RDONLY);
    allow_if(f, SCMP_SYS(openat), 2, O_NOFOLLOW, O_NOFOLLOW);
    ALLOW(f, SCMP_SYS(getdents64), SCMP_SYS(mkdirat), SCMP_SYS(renameat), SCMP_SYS(renameat2), SCMP_SYS(unlinkat),
          SCMP_SYS(pwrite64), SCMP_SYS(pwritev), SCMP_SYS(pwritev2), SCMP_SYS(ftruncate), SCMP_SYS(fstatfs),
          SCMP_SYS(syncfs), SCMP_SYS(fsync), SCMP_SYS(fdatasync));
}

/* ---- sockets ---- */

static void allow_socket(struct filter *f, int family)
{
    allow_if(f, SCMP_SYS(socket), 0, EXACTLY, (uint64_t)family);
}

static void allow_netlink(struct filter *f, int protocol)
{
    const struct scmp_arg_cmp args[] = {
        {.arg = 0, .op = SCMP_CMP_EQ, .datum_a = AF_NETLINK},
        {.arg = 2, .op = SCMP_CMP_EQ, .datum_a = (uint64_t)protocol},
    };
    rule(f, SCMP_ACT_ALLOW, SCMP_SYS(socket), 2, args);
}

static void allow_talking(struct filter *f)
{
    ALLOW(f, SCMP_SYS(recvfrom), SCMP_SYS(recvmsg), SCMP_SYS(sendto), SCMP_SYS(sendmsg), SCMP_SYS(getsockopt),
          SCMP_SYS(setsockopt), SCMP_SYS(getsockname), SCMP_SYS(shutdown));
}

/* nanomsg, the socket of tcp-info, and the kernel's list of sockets. */
static void allow_local_sockets(struct filter *f)
{
    allow_socket(f, AF_UNIX);
    allow_netlink(f, NETLINK_SOCK_DIAG);
    ALLOW(f, SCMP_SYS(connect), SCMP_SYS(bind), SCMP_SYS(getpeername), SCMP_SYS(socketpair));
}

/* libpcap asks about an interface by ioctls, some of them on a unix socket, and reads in /sys and /proc. A name in
 * -filter makes it ask /etc, and the name service, which is out of reach here. */
static void allow_interfaces(struct filter *f)
{
    static const unsigned rows[] = {0x8910, 0x8920, 0x8930, 0x8940, 0x8990, 0x8b00}; /* linux/sockios.h, wireless.h */
    static const int families[] = {AF_INET, AF_INET6};
    allow_socket(f, AF_PACKET);
    allow_socket(f, AF_UNIX);
    allow_netlink(f, NETLINK_ROUTE);
    allow_netlink(f, NETLINK_GENERIC); /* is it wireless? */
    for (size_t i = 0; i < sizeof families / sizeof families[0]; i++) {
        const struct scmp_arg_cmp arg = {.arg = 0, .op = SCMP_CMP_EQ, .datum_a = (uint64_t)families[i]};
        rule(f, SCMP_ACT_ERRNO(EACCES), SCMP_SYS(socket), 1, &arg);
    }
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        allow_if(f, SCMP_SYS(ioctl), 1, ~UINT64_C(0xf), rows[i]);
    ALLOW(f, SCMP_SYS(bind));
}

/* ---- the roles ---- */

static void add_role(struct filter *f, enum sandbox_role role)
{
    allow_memory(f);
    allow_files_open(f);
    allow_waiting(f);
    allow_process(f);
    allow_talking(f);
    switch (role) {
    case SANDBOX_CAPTURE_LIVE:
        allow_interfaces(f);
        allow_reading_files(f);
        refuse(f, SCMP_SYS(connect), EACCES);
        break;
    case SANDBOX_CAPTURE_FILES:
        allow_reading_files(f); /* /etc/services for -filter */
        refuse(f, SCMP_SYS(socket), EACCES);
        refuse(f, SCMP_SYS(connect), EACCES);
        break;
    case SANDBOX_HUB:
        allow_threads(f);
        allow_local_sockets(f);
        allow_reading_files(f); /* /proc, for the metrics */
        /* evhttp writes each client's address down, and with a link-local one the name of the interface. */
        allow_if(f, SCMP_SYS(ioctl), 1, EXACTLY, SIOCGIFNAME);
        ALLOW(f, SCMP_SYS(accept), SCMP_SYS(accept4), SCMP_SYS(unlink),
              SCMP_SYS(unlinkat)); /* its sockets, at the end */
        break;
    case SANDBOX_SHARD:
        allow_threads(f);
        allow_local_sockets(f);
        allow_saving_files(f);
        break;
    case SANDBOX_ROLES:
        f->error = -EINVAL;
        break;
    }
}

static void set_attribute(struct filter *f, enum scmp_filter_attr attribute, uint32_t value)
{
    if (f->error == 0)
        f->error = seccomp_attr_set(f->ctx, attribute, value);
}

int sandbox_calls(enum sandbox_role role, enum sandbox_mode mode)
{
    if (mode == SANDBOX_NONE)
        return SC_OK;
    bool kill = mode == SANDBOX_KILL && !SANDBOX_SANITIZED;
    struct filter f = {.ctx = seccomp_init(kill ? SCMP_ACT_KILL_PROCESS : SCMP_ACT_LOG)};
    if (!f.ctx)
        return SC_ENOMEM;
    set_attribute(&f, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
    set_attribute(&f, SCMP_FLTATR_CTL_TSYNC, 1);
    /* No code of others runs here, so the filter need not slow down every load after a store (kernels before 5.16). */
    set_attribute(&f, SCMP_FLTATR_CTL_SSB, 1);
    set_attribute(&f, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    add_role(&f, role);
    if (f.error == 0)
        f.error = seccomp_load(f.ctx);
    seccomp_release(f.ctx);
    errno = -f.error;
    return f.error == 0 ? SC_OK : SC_ESYS;
}
