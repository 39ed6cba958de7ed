/* SPDX-License-Identifier: Apache-2.0
 * Preloaded into the real programs by tests: makes the N-th call of one kind fail, lets file calls take long, and moves
 * the wall clock, by which packets are stamped, too. All of it is told by one file, mapped by every process of the
 * family, that the test writes while they run (struct state; tests/lib/shim.py knows the same layout). Calls that the C
 * library makes by itself are not seen.
 *
 * Failure policy: without SHIM_STATE, or where the file cannot be mapped, every call is the real one. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <pcap/pcap.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

struct state {
    char program[32]; /* whose calls; "" = nobody's */
    char call[32];
    _Atomic uint32_t calls;  /* made so far, of all processes of the name */
    _Atomic uint32_t fail;   /* number of the call that fails, from 1; 0 = none */
    _Atomic uint32_t error;  /* errno; 0 = a short write, a slow join of a group */
    _Atomic uint32_t ever;   /* 1 = all later ones fail, too */
    _Atomic uint32_t stall;  /* 1 = file calls of `program` wait until it is 0 */
    _Atomic uint32_t stalls; /* calls that have waited */
    _Atomic int64_t wall_ns; /* is added to CLOCK_REALTIME of every process, and to the time of every packet */
};
_Static_assert(sizeof(struct state) == 96, "tests/lib/shim.py");

static struct state *state;

/* Raw system calls: this runs before anything is resolved. */
__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("SHIM_STATE");
    long fd = path ? syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    long map = syscall(SYS_mmap, NULL, sizeof(struct state), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    (void)syscall(SYS_close, fd);
    if (map != -1)
        state = (struct state *)map;
}

static int is_mine(void)
{
    return state && strcmp(program_invocation_short_name, state->program) == 0;
}

/* Is this the call that fails? Sets errno. */
static int fails(const char *call)
{
    if (!is_mine() || strcmp(call, state->call) != 0)
        return 0;
    uint32_t n = atomic_fetch_add(&state->calls, 1) + 1, at = atomic_load(&state->fail);
    if (at == 0 || (n != at && !(n > at && atomic_load(&state->ever))))
        return 0;
    errno = (int)atomic_load(&state->error);
    return 1;
}

static void stall(void)
{
    const struct timespec nap = {0, 1000000};
    if (!is_mine() || !atomic_load(&state->stall))
        return;
    atomic_fetch_add(&state->stalls, 1);
    while (atomic_load(&state->stall))
        (void)syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &nap, NULL);
}

#define REAL(name) ((__typeof__(&(name)))dlsym(RTLD_NEXT, #name))

int openat(int dir, const char *path, int flags, ...)
{
    mode_t mode = 0;
    va_list args;
    va_start(args, flags);
    if (flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE)
        mode = va_arg(args, mode_t);
    va_end(args);
    stall();
    return fails("openat") ? -1 : (int)syscall(SYS_openat, dir, path, flags, mode);
}

int mkdirat(int dir, const char *path, mode_t mode)
{
    stall();
    return fails("mkdirat") ? -1 : REAL(mkdirat)(dir, path, mode);
}

ssize_t pwritev(int fd, const struct iovec *iov, int n, off_t at)
{
    stall();
    if (!fails("write"))
        return REAL(pwritev)(fd, iov, n, at);
    return errno ? -1 : pwrite(fd, iov[0].iov_base, (iov[0].iov_len + 1) / 2, at);
}

int ftruncate(int fd, off_t length)
{
    return fails("ftruncate") ? -1 : REAL(ftruncate)(fd, length);
}

int syncfs(int fd)
{
    stall();
    return fails("syncfs") ? -1 : REAL(syncfs)(fd);
}

int fsync(int fd)
{
    stall();
    return fails("fsync") ? -1 : REAL(fsync)(fd);
}

int fallocate(int fd, int mode, off_t offset, off_t len)
{
    stall();
    return fails("fallocate") ? -1 : REAL(fallocate)(fd, mode, offset, len);
}

int renameat2(int d1, const char *p1, int d2, const char *p2, unsigned flags)
{
    stall();
    /* EINVAL is what a file system says that knows no flags */
    return fails("renameat2") && (flags != 0 || errno != EINVAL) ? -1 : REAL(renameat2)(d1, p1, d2, p2, flags);
}

/* "fanout": that of a packet socket with a group. */
int setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
    const struct timespec nap = {0, 100000000};
    if (level == SOL_PACKET && name == PACKET_FANOUT && fails("fanout")) {
        if (errno)
            return -1;
        (void)syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &nap, NULL);
    }
    return REAL(setsockopt)(fd, level, name, value, len);
}

/* A close that fails has closed all the same. */
int close(int fd)
{
    int failed = fails("close"), why = errno;
    int rc = (int)syscall(SYS_close, fd);
    if (!failed)
        return rc;
    errno = why;
    return -1;
}

int memfd_create(const char *name, unsigned flags)
{
    return fails("memfd_create") ? -1 : REAL(memfd_create)(name, flags);
}

void *mmap(void *addr, size_t len, int prot, int flags, int fd, off_t offset)
{
    return fails("mmap") ? MAP_FAILED : (void *)syscall(SYS_mmap, addr, len, prot, flags, fd, offset);
}

int eventfd(unsigned count, int flags)
{
    return fails("eventfd") ? -1 : REAL(eventfd)(count, flags);
}

int socket(int domain, int type, int protocol)
{
    return fails("socket") ? -1 : REAL(socket)(domain, type, protocol);
}

int socketpair(int domain, int type, int protocol, int sv[2])
{
    return fails("socketpair") ? -1 : REAL(socketpair)(domain, type, protocol, sv);
}

int clock_gettime(clockid_t id, struct timespec *t)
{
    int rc = (int)syscall(SYS_clock_gettime, id, t);
    if (rc == 0 && state && id == CLOCK_REALTIME) {
        int64_t ns = t->tv_sec * INT64_C(1000000000) + t->tv_nsec + atomic_load(&state->wall_ns);
        t->tv_sec = ns / INT64_C(1000000000);
        t->tv_nsec = ns % INT64_C(1000000000);
    }
    return rc;
}

struct receiver {
    pcap_handler cb;
    u_char *user;
    int64_t wall_ns;
};

static void hand_on(u_char *ctx, const struct pcap_pkthdr *head, const u_char *bytes)
{
    const struct receiver *r = (const struct receiver *)(const void *)ctx;
    struct pcap_pkthdr moved = *head;
    int64_t ns = head->ts.tv_sec * INT64_C(1000000000) + head->ts.tv_usec + r->wall_ns; /* precision: nanoseconds */
    moved.ts.tv_sec = ns / INT64_C(1000000000);
    moved.ts.tv_usec = ns % INT64_C(1000000000);
    r->cb(r->user, &moved, bytes);
}

/* Kernel and programs have one clock: a packet that is taken now is stamped by the clock of now. */
int pcap_dispatch(pcap_t *p, int count, pcap_handler cb, u_char *user)
{
    struct receiver r = {cb, user, state ? atomic_load(&state->wall_ns) : 0};
    if (r.wall_ns == 0)
        return REAL(pcap_dispatch)(p, count, cb, user);
    return REAL(pcap_dispatch)(p, count, hand_on, (u_char *)&r);
}
