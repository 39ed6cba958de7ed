/* SPDX-License-Identifier: Apache-2.0
 * The only file that includes nanomsg. Every socket is non-blocking towards us: nanomsg's worker thread does the
 * input and output, we only hand messages over.
 * Failure policy: opening fails with a text and leaves nothing behind; later a peer that is away, slow or hostile is
 * SC_EAGAIN or silence, never a wait. What a peer sends is bytes until bus_page_parse has accepted them. */
#include "shared/bus.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <nanomsg/nn.h>
#include <nanomsg/pipeline.h>
#include <nanomsg/pubsub.h>
#include <nanomsg/reqrep.h>

struct bus {
    enum bus_kind kind;
    int socket;
    int readable; /* -1: a kind that only sends */
    int endpoint; /* of bus_connect; -1 = none */
    char address[NN_SOCKADDR_MAX + 1];
};

static int protocol_of(enum bus_kind kind)
{
    switch (kind) {
    case BUS_PUB:
        return NN_PUB;
    case BUS_SUB:
        return NN_SUB;
    case BUS_REP:
        return NN_REP;
    case BUS_REQ:
        return NN_REQ;
    case BUS_PULL:
        return NN_PULL;
    case BUS_PUSH:
        return NN_PUSH;
    }
    return -1;
}

static bool receives(enum bus_kind kind)
{
    return kind != BUS_PUB && kind != BUS_PUSH;
}

static struct bus *fail(struct bus *b, const char *what, const char *path, char error[BUS_ERROR])
{
    int saved = errno;
    (void)snprintf(error, BUS_ERROR, "%s %.107s: %s", what, path, nn_strerror(saved));
    bus_close(b);
    errno = saved;
    return NULL;
}

/* A socket with its options, not yet bound or connected. */
static struct bus *open_socket(enum bus_kind kind, const char *path, char error[BUS_ERROR])
{
    struct bus *b = calloc(1, sizeof *b);
    if (!b)
        return fail(NULL, "no memory for socket", path, error);
    b->kind = kind;
    b->readable = -1;
    b->endpoint = -1;
    b->socket = nn_socket(AF_SP, protocol_of(kind));
    if (b->socket < 0)
        return fail(b, "cannot open a nanomsg socket for", path, error);
    if (!receives(kind))
        return b;

    /* One message above the limit makes nanomsg drop the connection; what is too long for us is refused by us. */
    int limit = BUS_MESSAGE_MAX;
    if (nn_setsockopt(b->socket, NN_SOL_SOCKET, NN_RCVMAXSIZE, &limit, sizeof limit) < 0)
        return fail(b, "cannot set the message size of", path, error);
    if (kind == BUS_SUB && nn_setsockopt(b->socket, NN_SUB, NN_SUB_SUBSCRIBE, "", 0) < 0)
        return fail(b, "cannot subscribe to", path, error);
    size_t len = sizeof b->readable;
    if (nn_getsockopt(b->socket, NN_SOL_SOCKET, NN_RCVFD, &b->readable, &len) < 0)
        return fail(b, "cannot watch", path, error);
    return b;
}

static int address_of(char address[NN_SOCKADDR_MAX + 1], const char *path)
{
    if (strlen(path) >= BUS_PATH) {
        errno = ENAMETOOLONG;
        return SC_ETOOLONG;
    }
    (void)snprintf(address, NN_SOCKADDR_MAX + 1, "ipc://%s", path);
    return SC_OK;
}

/* nanomsg leaks memory when it cannot bind, so the usual reason, a directory, is looked at before. */
static bool directory_writable(const char *path)
{
    char dir[BUS_PATH];
    (void)snprintf(dir, sizeof dir, "%s", path);
    char *slash = strrchr(dir, '/');
    if (slash)
        slash[slash == dir] = '\0'; /* the root keeps its slash */
    return access(slash ? dir : ".", W_OK | X_OK) == 0;
}

struct bus *bus_bind(enum bus_kind kind, const char *path, int mode0600, char error[BUS_ERROR])
{
    char address[NN_SOCKADDR_MAX + 1];
    if (address_of(address, path) != SC_OK || !directory_writable(path))
        return fail(NULL, "cannot bind", path, error);
    struct bus *b = open_socket(kind, path, error);
    if (!b)
        return NULL;

    /* Only a socket is removed (nanomsg itself would remove anything): a file put there by mistake is its owner's. */
    struct stat st;
    if (lstat(path, &st) == 0) {
        errno = EEXIST;
        if (!S_ISSOCK(st.st_mode) || unlink(path) < 0)
            return fail(b, "cannot replace", path, error);
    }
    mode_t old = umask(mode0600 ? 0177 : 0117);
    int rc = nn_bind(b->socket, address);
    int saved = errno;
    (void)umask(old);
    errno = saved;
    return rc < 0 ? fail(b, "cannot bind", path, error) : b;
}

struct bus *bus_connect(enum bus_kind kind, const char *path, char error[BUS_ERROR])
{
    char address[NN_SOCKADDR_MAX + 1];
    if (address_of(address, path) != SC_OK)
        return fail(NULL, "cannot connect to", path, error);
    struct bus *b = open_socket(kind, path, error);
    if (!b)
        return NULL;
    memcpy(b->address, address, sizeof b->address);
    b->endpoint = nn_connect(b->socket, address);
    return b->endpoint < 0 ? fail(b, "cannot connect to", path, error) : b;
}

int bus_reconnect(struct bus *b)
{
    if (b->endpoint >= 0)
        (void)nn_shutdown(b->socket, b->endpoint);
    b->endpoint = nn_connect(b->socket, b->address);
    return b->endpoint < 0 ? SC_ESYS : SC_OK;
}

void bus_close(struct bus *b)
{
    if (!b)
        return;
    if (b->socket >= 0)
        (void)nn_close(b->socket);
    free(b);
}

int bus_fd(const struct bus *b)
{
    return b->readable;
}

unsigned bus_peers(const struct bus *b)
{
    uint64_t n = nn_get_statistic(b->socket, NN_STAT_CURRENT_CONNECTIONS);
    return n <= UINT_MAX ? (unsigned)n : 0; /* (uint64_t)-1 is its error */
}

/* EFSM: a reply to a request whose sender has gone, or a REQ that asks before it was answered. Nobody is there to
 * take it, which is the same to us as a missing peer. */
static int error_of(int code)
{
    return code == EAGAIN || code == EINTR || code == ETIMEDOUT || code == EFSM ? SC_EAGAIN : SC_ESYS;
}

int bus_send(struct bus *b, const void *bytes, size_t len)
{
    return nn_send(b->socket, bytes, len, NN_DONTWAIT) < 0 ? error_of(nn_errno()) : SC_OK;
}

int bus_recv(struct bus *b, void **bytes_r, size_t *len_r)
{
    void *message = NULL;
    int n = nn_recv(b->socket, &message, NN_MSG, NN_DONTWAIT);
    if (n < 0)
        return error_of(nn_errno());
    *bytes_r = message;
    *len_r = (size_t)n;
    return SC_OK;
}

static int64_t now_ms(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int bus_recv_wait(struct bus *b, int ms, void **bytes_r, size_t *len_r)
{
    int64_t end = now_ms() + ms;
    for (;;) {
        int rc = bus_recv(b, bytes_r, len_r);
        int64_t left = end - now_ms();
        if (rc != SC_EAGAIN || left <= 0)
            return rc;
        struct pollfd p = {.fd = b->readable, .events = POLLIN};
        if (poll(&p, 1, (int)left) < 0 && errno != EINTR)
            return SC_ESYS;
    }
}

void bus_free(void *bytes)
{
    if (bytes)
        (void)nn_freemsg(bytes);
}

size_t bus_page_head(char *out, uint64_t epoch, uint64_t seq, uint32_t count)
{
    return (size_t)sprintf(out, "%llu %llu %u\n", (unsigned long long)epoch, (unsigned long long)seq, count);
}

/* A decimal number up to max and the one byte that ends it. */
static bool number(const char **at, const char *end, char terminator, uint64_t max, uint64_t *value_r)
{
    const char *p = *at;
    uint64_t value = 0;
    while (p < end && *p >= '0' && *p <= '9') {
        unsigned digit = (unsigned)(*p - '0');
        if (value > (max - digit) / 10)
            return false;
        value = value * 10 + digit;
        p++;
    }
    if (p == *at || p == end || *p != terminator)
        return false;
    *at = p + 1;
    *value_r = value;
    return true;
}

int bus_page_parse(const void *bytes, size_t len, struct bus_page *out)
{
    const char *p = bytes;
    const char *end = p + len;
    uint64_t epoch, seq, count;
    if (len > BUS_PAGE_MAX || !number(&p, end, ' ', UINT64_MAX, &epoch) || !number(&p, end, ' ', UINT64_MAX, &seq) ||
        !number(&p, end, '\n', UINT32_MAX, &count))
        return SC_EFORMAT;
    if (seq == 0 || count > UINT64_MAX - seq || (p < end && end[-1] != '\n'))
        return SC_EFORMAT;
    uint64_t newlines = 0;
    for (const char *q = p; q < end; q++)
        newlines += *q == '\n';
    if (newlines != count)
        return SC_EFORMAT;
    *out = (struct bus_page){
        .epoch = epoch, .seq = seq, .count = (uint32_t)count, .lines = p, .lines_len = (size_t)(end - p)};
    return SC_OK;
}

static int path_below(char out[BUS_PATH], const char *rundir, const char *name)
{
    int n = snprintf(out, BUS_PATH, "%s/%s", rundir, name);
    return n < 0 || n >= BUS_PATH ? SC_ETOOLONG : SC_OK;
}

int bus_shard_path(char out[BUS_PATH], const char *rundir, unsigned shard)
{
    char name[32];
    (void)snprintf(name, sizeof name, "bus/%02u.sock", shard);
    return path_below(out, rundir, name);
}

int bus_replay_path(char out[BUS_PATH], const char *rundir)
{
    return path_below(out, rundir, "bus/replay.sock");
}

int bus_path(char out[BUS_PATH], const char *rundir, const char *name)
{
    return path_below(out, rundir, name);
}
