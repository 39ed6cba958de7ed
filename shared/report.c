/* SPDX-License-Identifier: Apache-2.0
 * See report.h. Failure policy: what does not check is refused as a whole; nothing here waits. */
#include "shared/report.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>

#define REPORT_MAGIC 0x53435250u

int report_send(int fd, struct report *r)
{
    ssize_t n;
    r->magic = REPORT_MAGIC;
    do
        n = send(fd, r, sizeof *r, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    if (n >= 0)
        return SC_OK; /* SEQPACKET: all or nothing */
    if (errno == EAGAIN || errno == ENOBUFS)
        return SC_EFULL;
    return errno == EPIPE || errno == ECONNRESET || errno == ENOTCONN ? SC_EOF : SC_ESYS;
}

static bool uuid_is_good(const struct report *r)
{
    size_t len = strnlen(r->uuid.text, sizeof r->uuid.text);
    if (len == 0)
        return r->kind == REPORT_LOST;
    return len < sizeof r->uuid.text && uuid_valid(r->uuid.text, len);
}

/* Only the characters of a UUID and '/', which need no escaping; relative, and without a way up. */
static bool path_is_good(const struct report *r)
{
    static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:-/";
    size_t len = strnlen(r->path, sizeof r->path);
    if (len == 0)
        return r->kind != REPORT_SAVED;
    return len < sizeof r->path && strspn(r->path, allowed) == len && r->path[0] != '/' && !strstr(r->path, "..");
}

static bool is_good(const struct report *r)
{
    return r->magic == REPORT_MAGIC && r->kind >= REPORT_SAVED && r->kind <= REPORT_NAMED && r->cause < CAUSE_COUNT &&
           (r->key.addr_len == 4 || r->key.addr_len == 16) && r->local <= 1 && uuid_is_good(r) && path_is_good(r);
}

int report_recv(int fd, struct report *out)
{
    struct iovec iov = {.iov_base = out, .iov_len = sizeof *out};
    struct msghdr mh = {.msg_iov = &iov, .msg_iovlen = 1};
    ssize_t n;
    do
        n = recvmsg(fd, &mh, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return SC_EAGAIN;
    if (n < 0)
        return errno == ECONNRESET || errno == ENOTCONN ? SC_EOF : SC_ESYS;
    if (n == 0)
        return SC_EOF;
    return (size_t)n == sizeof *out && !(mh.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) && is_good(out) ? SC_OK : SC_EFORMAT;
}
