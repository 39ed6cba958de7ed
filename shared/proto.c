/* SPDX-License-Identifier: Apache-2.0
 * Messages between the supervisor and its children, with file descriptors.
 * Failure policy: a message has exactly one size and is checked to the last field; whatever does not check is refused
 * as a whole, and the fds that came with it are closed. Nothing here blocks but proto_attach, for at most 5 s. */
#include "shared/proto.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "shared/clock.h"
#include "shared/log.h"

#define ATTACH_LIMIT_NS (5 * NS_PER_SEC)
#define ATTACH_FDS_MAX 1024 /* shards x 3, savefiles, pages: several hundred at most */

union control {
    char bytes[CMSG_SPACE(sizeof(int) * PROTO_FDS_PER_MSG)];
    struct cmsghdr align;
};

static void close_all(const int *fds, size_t count)
{
    for (size_t i = 0; i < count; i++)
        close(fds[i]);
}

static int send_error(void)
{
    switch (errno) {
    case EAGAIN:
    case ENOBUFS:
    case ETOOMANYREFS: /* too many fds in flight: the peer has to take some first */
        return SC_EFULL;
    case EPIPE:
    case ECONNRESET:
    case ENOTCONN:
        return SC_EOF;
    default:
        return SC_ESYS;
    }
}

int proto_send(int sock, struct proto_msg *msg, const int *fds)
{
    union control control;
    struct iovec iov = {.iov_base = msg, .iov_len = sizeof *msg};
    struct msghdr mh = {.msg_iov = &iov, .msg_iovlen = 1};
    size_t bytes = sizeof(int) * msg->fd_count;

    if (msg->fd_count > PROTO_FDS_PER_MSG || (msg->fd_count > 0 && !fds))
        return SC_EINVAL;
    msg->version = PROTO_VERSION;
    msg->text[PROTO_TEXT - 1] = '\0';
    if (msg->fd_count > 0) {
        memset(&control, 0, sizeof control);
        mh.msg_control = control.bytes;
        mh.msg_controllen = CMSG_SPACE(bytes);
        struct cmsghdr *cm = CMSG_FIRSTHDR(&mh);
        cm->cmsg_level = SOL_SOCKET;
        cm->cmsg_type = SCM_RIGHTS;
        cm->cmsg_len = CMSG_LEN(bytes);
        memcpy(CMSG_DATA(cm), fds, bytes);
    }
    ssize_t n;
    do
        n = sendmsg(sock, &mh, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return n < 0 ? send_error() : SC_OK; /* SEQPACKET: all or nothing */
}

/* Takes the fds out of what was received. More than fit were closed by the kernel (MSG_CTRUNC). */
static size_t take_rights(struct msghdr *mh, int fds[PROTO_FDS_PER_MSG])
{
    size_t count = 0;
    for (struct cmsghdr *cm = CMSG_FIRSTHDR(mh); cm; cm = CMSG_NXTHDR(mh, cm)) {
        if (cm->cmsg_level != SOL_SOCKET || cm->cmsg_type != SCM_RIGHTS)
            continue;
        size_t n = (cm->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < n; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(cm) + i * sizeof fd, sizeof fd);
            if (count < PROTO_FDS_PER_MSG)
                fds[count++] = fd;
            else
                close(fd);
        }
    }
    return count;
}

static int check(const struct proto_msg *msg, size_t len, size_t fd_count)
{
    if (len < sizeof msg->version)
        return SC_EFORMAT;
    if (msg->version != PROTO_VERSION)
        return SC_EVERSION;
    if (len != sizeof *msg || msg->type < PROTO_FDS || msg->type >= PROTO_TYPES_END || msg->fd_count != fd_count ||
        msg->text[PROTO_TEXT - 1] != '\0')
        return SC_EFORMAT;
    for (size_t i = 0; i < fd_count; i++)
        if (msg->names[i].role < ROLE_CONFIG || msg->names[i].role > ROLE_LAST)
            return SC_EFORMAT;
    return SC_OK;
}

int proto_recv(int sock, struct proto_msg *msg, int fds[PROTO_FDS_PER_MSG])
{
    union control control;
    struct iovec iov = {.iov_base = msg, .iov_len = sizeof *msg};
    struct msghdr mh = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
    ssize_t n;

    memset(msg, 0, sizeof *msg);
    do
        n = recvmsg(sock, &mh, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n < 0) {
        if (errno == EAGAIN || errno == EWOULDBLOCK)
            return SC_EAGAIN;
        return errno == ECONNRESET || errno == ENOTCONN ? SC_EOF : SC_ESYS;
    }
    size_t count = take_rights(&mh, fds);
    int rc;
    if (n == 0)
        rc = SC_EOF;
    else if (mh.msg_flags & (MSG_TRUNC | MSG_CTRUNC))
        rc = SC_EFORMAT;
    else
        rc = check(msg, (size_t)n, count);
    if (rc != SC_OK)
        close_all(fds, count);
    return rc;
}

/* Adds the fds of one message; they become the attachment's, or are closed. */
static int keep(struct proto_attachment *a, const struct proto_msg *msg, const int *fds)
{
    size_t total = a->count + msg->fd_count;
    struct proto_fd *grown = total <= ATTACH_FDS_MAX ? realloc(a->fds, (total + 1) * sizeof *grown) : NULL;
    if (!grown) {
        close_all(fds, msg->fd_count);
        return total <= ATTACH_FDS_MAX ? SC_ENOMEM : SC_EFORMAT;
    }
    a->fds = grown;
    for (size_t i = 0; i < msg->fd_count; i++)
        a->fds[a->count++] = (struct proto_fd){.role = msg->names[i].role, .index = msg->names[i].index, .fd = fds[i]};
    return SC_OK;
}

/* One message of the attach phase; *done when it was the last. */
static int take_message(struct proto_attachment *a, const struct proto_msg *msg, const int *fds, bool *first,
                        bool *done)
{
    if (*first) {
        a->slot = msg->slot;
        a->generation = msg->generation;
        *first = false;
    } else if (msg->slot != a->slot || msg->generation != a->generation) {
        log_warn("a message for slot %u generation %u is ignored: this is slot %u generation %u", msg->slot,
                 msg->generation, a->slot, a->generation);
        close_all(fds, msg->fd_count);
        return SC_OK;
    }
    switch (msg->type) {
    case PROTO_FDS:
        return keep(a, msg, fds);
    case PROTO_ATTACHED:
        close_all(fds, msg->fd_count);
        *done = true;
        return msg->value == (int64_t)a->count && msg->fd_count == 0 ? SC_OK : SC_EFORMAT;
    default:
        close_all(fds, msg->fd_count);
        return SC_EFORMAT;
    }
}

/* Waits until the socket is readable, at most until the limit. */
static int wait_readable(int sock, struct mono limit)
{
    const struct clock *clock = clock_system();
    for (;;) {
        int64_t left = limit.ns - clock->mono(clock->ctx).ns;
        if (left <= 0)
            return SC_EAGAIN;
        struct pollfd p = {.fd = sock, .events = POLLIN};
        int n = poll(&p, 1, (int)(left / NS_PER_MS) + 1);
        if (n > 0)
            return SC_OK;
        if (n < 0 && errno != EINTR)
            return SC_ESYS;
    }
}

static int connect_to(const char *path)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof to.sun_path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(to.sun_path, path, strlen(path) + 1);
    int sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (sock >= 0 && connect(sock, (const struct sockaddr *)&to, sizeof to) != 0) {
        int why = errno;
        close(sock);
        errno = why;
        return -1;
    }
    return sock;
}

/* Looks at the first message and takes it only if it is a refusal. */
static int decision(int sock, char why[PROTO_TEXT])
{
    const struct clock *clock = clock_system();
    struct {
        uint32_t version;
        uint16_t type;
    } head = {0};
    struct proto_msg msg;
    int fds[PROTO_FDS_PER_MSG];
    (void)snprintf(why, PROTO_TEXT, "the supervisor does not answer");
    if (wait_readable(sock, (struct mono){clock->mono(clock->ctx).ns + ATTACH_LIMIT_NS}) != SC_OK)
        return EXIT_TEMPFAIL;
    ssize_t n = recv(sock, &head, sizeof head, MSG_PEEK | MSG_DONTWAIT);
    if (n == (ssize_t)sizeof head && head.version == PROTO_VERSION && head.type != PROTO_REFUSED)
        return EXIT_DONE;
    int rc = proto_recv(sock, &msg, fds);
    if (rc == SC_EVERSION) {
        (void)snprintf(why, PROTO_TEXT, "the supervisor is of another version; install all five programs together");
        return EXIT_CONFIG;
    }
    if (rc != SC_OK) /* nobody took the call: it is stopping, or has too many */
        return EXIT_TEMPFAIL;
    close_all(fds, msg.fd_count);
    memcpy(why, msg.text, PROTO_TEXT);
    return msg.value == EXIT_CONFIG ? EXIT_CONFIG : EXIT_TEMPFAIL;
}

int proto_join(const char *path, uint32_t slot, const char *layout, int *sock_r, char why[PROTO_TEXT])
{
    struct proto_msg msg = {.type = PROTO_JOIN, .slot = slot};
    (void)snprintf(msg.text, sizeof msg.text, "%s", layout);
    *sock_r = connect_to(path);
    if (*sock_r < 0) {
        (void)snprintf(why, PROTO_TEXT, "no supervisor at %.100s: %s", path, strerror(errno));
        return errno == ENAMETOOLONG || errno == EACCES ? EXIT_CONFIG : EXIT_TEMPFAIL;
    }
    (void)snprintf(why, PROTO_TEXT, "the supervisor is gone");
    int status = proto_send(*sock_r, &msg, NULL) == SC_OK ? decision(*sock_r, why) : EXIT_TEMPFAIL;
    if (status != EXIT_DONE) {
        close(*sock_r);
        *sock_r = -1;
    }
    return status;
}

int proto_attach(int sock, struct proto_attachment *out)
{
    const struct clock *clock = clock_system();
    struct mono limit = {clock->mono(clock->ctx).ns + ATTACH_LIMIT_NS};
    struct proto_msg msg;
    int fds[PROTO_FDS_PER_MSG];
    bool first = true, done = false;
    int rc = SC_OK;

    memset(out, 0, sizeof *out);
    while (rc == SC_OK && !done) {
        rc = wait_readable(sock, limit);
        if (rc == SC_OK)
            rc = proto_recv(sock, &msg, fds);
        if (rc == SC_EAGAIN && clock->mono(clock->ctx).ns < limit.ns) { /* someone else took the message */
            rc = SC_OK;
            continue;
        }
        if (rc == SC_OK)
            rc = take_message(out, &msg, fds, &first, &done);
    }
    if (rc != SC_OK)
        proto_attachment_free(out);
    return rc;
}

void proto_attachment_free(struct proto_attachment *a)
{
    for (size_t i = 0; i < a->count; i++)
        if (a->fds[i].fd >= 0)
            close(a->fds[i].fd);
    free(a->fds);
    a->fds = NULL;
    a->count = 0;
}

int proto_take_fd(struct proto_attachment *a, enum proto_role role, unsigned index)
{
    for (size_t i = 0; i < a->count; i++)
        if (a->fds[i].role == role && a->fds[i].index == index && a->fds[i].fd >= 0) {
            int fd = a->fds[i].fd;
            a->fds[i].fd = -1;
            return fd;
        }
    return -1;
}

int proto_tell(int sock, const struct proto_attachment *self, enum proto_type type, int64_t value, const char *text)
{
    struct proto_msg msg = {.type = (uint16_t)type, .slot = self->slot, .generation = self->generation, .value = value};
    if (text) {
        size_t len = strnlen(text, PROTO_TEXT - 1);
        memcpy(msg.text, text, len);
    }
    return proto_send(sock, &msg, NULL);
}

int proto_keep(int sock, const struct proto_attachment *self, enum proto_role role, int fd)
{
    struct proto_msg msg = {.type = PROTO_KEEP, .slot = self->slot, .generation = self->generation, .fd_count = 1};
    msg.names[0].role = (uint16_t)role;
    return proto_send(sock, &msg, &fd);
}
