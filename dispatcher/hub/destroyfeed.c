/* SPDX-License-Identifier: Apache-2.0
 * See destroyfeed.h. Messages are struct inet_diag_msg (linux/inet_diag.h); Src is the local side. */
#include "dispatcher/hub/destroyfeed.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "shared/log.h"

/* An event takes 1,280 bytes of buffer: room for 12,000 of them where the limit of the system allows. */
#define BUFFER_BYTES (16 * 1024 * 1024)
#define MESSAGES_PER_TURN 512

struct destroyfeed {
    struct destroyfeed_setup s;
    struct evsource *readable;
    struct log_limit limit;
    int fd;
};

static bool all_zero(const struct ipaddr *a)
{
    for (unsigned i = 0; i < a->len; i++)
        if (a->bytes[i])
            return false;
    return true;
}

static void on_socket(struct destroyfeed *d, const struct inet_diag_msg *m)
{
    struct flowevent ev = {.kind = FLOWEVENT_OPEN, .has_id = true, .destroyed = true};
    if (m->idiag_family != AF_INET && m->idiag_family != AF_INET6)
        return;
    unsigned len = m->idiag_family == AF_INET ? 4 : 16; /* a dual-stack socket has mapped addresses */
    ipaddr_set(&ev.src, (const uint8_t *)m->id.idiag_src, len);
    ipaddr_set(&ev.dst, (const uint8_t *)m->id.idiag_dst, len);
    if (all_zero(&ev.dst))
        return; /* a listener, or never connected */
    if (ev.src.len != ev.dst.len && all_zero(&ev.src))
        ev.src.len = ev.dst.len; /* aborted, bound to no address: no mapped form of zeros */
    if (ev.src.len != ev.dst.len)
        return;
    ev.sport = ntohs(m->id.idiag_sport);
    ev.dport = ntohs(m->id.idiag_dport);
    ev.interface_index = (int32_t)m->id.idiag_if;
    uint64_t cookie = (uint64_t)m->id.idiag_cookie[1] << 32 | m->id.idiag_cookie[0];
    ev.cookie = (int64_t)cookie;
    ev.time = d->s.clock->wall(d->s.clock->ctx);
    ev.seen = d->s.clock->mono(d->s.clock->ctx);
    ev.yyyymmdd = clock_yyyymmdd(ev.time);
    /* Shards name by the cookie: what stands here is for people, and for a form without gaps. */
    if (uuid_from_cookie(&ev.uuid, d->s.prefix[0] ? d->s.prefix : "unnamed", cookie) != SC_OK)
        return;
    (void)flowkey_make(&ev.key, ev.src.len, ev.src.bytes, ev.sport, ev.dst.bytes, ev.dport);
    counter_add(&d->s.counters->destroyed, 1);
    d->s.on_event(d->s.ctx, &ev);
}

static void on_datagram(struct destroyfeed *d, const uint8_t *bytes, size_t len)
{
    while (len >= sizeof(struct nlmsghdr)) {
        struct nlmsghdr h;
        struct inet_diag_msg m;
        memcpy(&h, bytes, sizeof(h));
        if (h.nlmsg_len < sizeof(h) || h.nlmsg_len > len)
            return;
        if (h.nlmsg_type == SOCK_DIAG_BY_FAMILY && h.nlmsg_len >= NLMSG_LENGTH(sizeof(m))) {
            memcpy(&m, bytes + NLMSG_HDRLEN, sizeof(m));
            on_socket(d, &m);
        }
        size_t step = NLMSG_ALIGN(h.nlmsg_len);
        if (step >= len)
            return;
        bytes += step;
        len -= step;
    }
}

static void overran(struct destroyfeed *d)
{
    unsigned long suppressed;
    counter_add(&d->s.counters->destroy_overruns, 1);
    if (log_allow(&d->limit, d->s.clock->mono(d->s.clock->ctx), &suppressed))
        log_warn("the feed of destroyed sockets overran; shards ask for what they miss suppressed=%lu", suppressed);
}

static void on_readable(void *ctx)
{
    struct destroyfeed *d = ctx;
    uint8_t buf[16384];
    for (int i = 0; i < MESSAGES_PER_TURN; i++) {
        /* Looked at, handed on, and only then taken: if we die in between, a successor hands it on again. */
        ssize_t n = recv(d->fd, buf, sizeof(buf), MSG_DONTWAIT | MSG_PEEK);
        if (n > 0) {
            on_datagram(d, buf, (size_t)n);
            while (recv(d->fd, buf, sizeof(buf), MSG_DONTWAIT) < 0 && errno == ENOBUFS) /* said once, before the next */
                overran(d);
            continue;
        }
        if (n < 0 && errno == ENOBUFS) {
            overran(d);
            continue;
        }
        return;
    }
}

int destroyfeed_open(void)
{
    struct sockaddr_nl me = {.nl_family = AF_NETLINK,
                             .nl_groups = 1u << (SKNLGRP_INET_TCP_DESTROY - 1) | 1u << (SKNLGRP_INET6_TCP_DESTROY - 1)};
    int size = BUFFER_BYTES;
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_SOCK_DIAG);
    if (fd < 0)
        return -1;
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) != 0)
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size)); /* cut to what the system allows */
    if (bind(fd, (const struct sockaddr *)&me, sizeof(me)) != 0) {
        int saved = errno;
        close(fd);
        errno = saved;
        return -1;
    }
    return fd;
}

struct destroyfeed *destroyfeed_new(const struct destroyfeed_setup *setup)
{
    struct destroyfeed *d = calloc(1, sizeof(*d));
    if (!d) {
        close(setup->fd);
        return NULL;
    }
    d->s = *setup;
    d->fd = setup->fd;
    d->readable = evloop_on_readable(setup->loop, d->fd, on_readable, d);
    if (!d->readable) {
        destroyfeed_free(d);
        return NULL;
    }
    return d;
}

void destroyfeed_free(struct destroyfeed *d)
{
    if (!d)
        return;
    evsource_remove(d->readable);
    if (d->fd >= 0)
        close(d->fd);
    free(d);
}
