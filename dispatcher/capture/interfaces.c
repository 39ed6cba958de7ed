/* SPDX-License-Identifier: Apache-2.0
 * A small rtnetlink client: one socket for notices, one for questions.
 * Failure policy: an answer that is interrupted (NLM_F_DUMP_INTR), cut or late is asked for again a few times, then
 * reported; the caller keeps the table it has and tries later. Messages are read within the bounds that the kernel's
 * lengths must respect; what does not fit is skipped. Lost notices count as a change. */
#include "dispatcher/capture/interfaces.h"

#include <errno.h>
#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define ANSWER_BYTES 65536 /* a dump comes in pieces of at most 32 KiB */
#define TRIES 4

struct interfaces {
    int notices, questions;
    uint32_t seq;
    struct links fresh;
    _Alignas(struct nlmsghdr) char answer[ANSWER_BYTES];
};

static int netlink_socket(unsigned groups)
{
    struct sockaddr_nl me = {.nl_family = AF_NETLINK, .nl_groups = groups};
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (fd < 0)
        return -1;
    if (bind(fd, (struct sockaddr *)&me, sizeof me) != 0) {
        int saved = errno;
        close(fd);
        errno = saved;
        return -1;
    }
    return fd;
}

struct interfaces *interfaces_open(void)
{
    struct interfaces *i = calloc(1, sizeof *i);
    struct timeval limit = {.tv_usec = 250000};
    if (!i)
        return NULL;
    i->notices = netlink_socket(RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR);
    i->questions = netlink_socket(0);
    if (i->notices < 0 || i->questions < 0 ||
        setsockopt(i->questions, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) != 0) {
        int saved = errno;
        interfaces_close(i);
        errno = saved;
        return NULL;
    }
    return i;
}

void interfaces_close(struct interfaces *i)
{
    if (!i)
        return;
    if (i->notices >= 0)
        close(i->notices);
    if (i->questions >= 0)
        close(i->questions);
    free(i);
}

int interfaces_fd(const struct interfaces *i)
{
    return i->notices;
}

bool interfaces_changed(struct interfaces *i)
{
    bool changed = false;
    for (;;) {
        ssize_t n = recv(i->notices, i->answer, sizeof i->answer, MSG_DONTWAIT);
        if (n > 0 || (n < 0 && errno == ENOBUFS))
            changed = true;
        else if (!(n < 0 && errno == EINTR))
            return changed;
    }
}

/* The attribute `type` of a list of `left` bytes, or NULL. The kernel's own macros mix signs. */
static const struct rtattr *attribute(const void *list, size_t left, unsigned type)
{
    const char *p = list;
    while (left >= sizeof(struct rtattr)) {
        const struct rtattr *at = (const struct rtattr *)(const void *)p;
        if (at->rta_len < sizeof *at || at->rta_len > left)
            return NULL;
        if ((at->rta_type & NLA_TYPE_MASK) == type)
            return at;
        size_t step = RTA_ALIGN((size_t)at->rta_len);
        if (step >= left)
            return NULL;
        p += step;
        left -= step;
    }
    return NULL;
}

static bool text_is(const struct rtattr *at, const char *text)
{
    size_t n = strlen(text);
    return RTA_PAYLOAD(at) >= n && memcmp(RTA_DATA(at), text, n) == 0 &&
           (RTA_PAYLOAD(at) == n || ((const char *)RTA_DATA(at))[n] == '\0');
}

static bool joins(const struct rtattr *linkinfo)
{
    const struct rtattr *kind = attribute(RTA_DATA(linkinfo), RTA_PAYLOAD(linkinfo), IFLA_INFO_KIND);
    return kind && (text_is(kind, "bridge") || text_is(kind, "bond") || text_is(kind, "team"));
}

static void add_link(struct links *t, const struct nlmsghdr *h)
{
    const struct ifinfomsg *m = NLMSG_DATA(h);
    if (h->nlmsg_len < NLMSG_LENGTH(sizeof *m))
        return;
    const struct rtattr *first = IFLA_RTA(m);
    size_t left = IFLA_PAYLOAD(h);
    const struct rtattr *name = attribute(first, left, IFLA_IFNAME);
    const struct rtattr *master = attribute(first, left, IFLA_MASTER);
    const struct rtattr *info = attribute(first, left, IFLA_LINKINFO);
    const struct rtattr *stats = attribute(first, left, IFLA_STATS64);
    if (!name || m->ifi_index <= 0)
        return;
    if (t->count == LINKS_MAX) {
        t->cut = true;
        return;
    }
    struct link *l = &t->link[t->count++];
    size_t n = RTA_PAYLOAD(name) < INTERFACE_NAME - 1 ? RTA_PAYLOAD(name) : INTERFACE_NAME - 1;
    *l = (struct link){
        .index = m->ifi_index,
        .up = (m->ifi_flags & IFF_UP) != 0,
        .loopback = (m->ifi_flags & IFF_LOOPBACK) != 0,
        .joins = info && joins(info),
    };
    memcpy(l->name, RTA_DATA(name), n);
    if (stats && RTA_PAYLOAD(stats) >= sizeof l->rx_packets) /* rx_packets comes first (rtnl_link_stats64) */
        memcpy(&l->rx_packets, RTA_DATA(stats), sizeof l->rx_packets);
    if (master && RTA_PAYLOAD(master) >= sizeof l->master)
        memcpy(&l->master, RTA_DATA(master), sizeof l->master);
}

static void add_address(struct links *t, const struct nlmsghdr *h)
{
    const struct ifaddrmsg *m = NLMSG_DATA(h);
    if (h->nlmsg_len < NLMSG_LENGTH(sizeof *m))
        return;
    size_t len = m->ifa_family == AF_INET ? 4 : m->ifa_family == AF_INET6 ? 16 : 0;
    size_t left = IFA_PAYLOAD(h);
    /* On a point-to-point link IFA_ADDRESS is the other end and IFA_LOCAL ours; IPv6 often has only the former. */
    const struct rtattr *ip = attribute(IFA_RTA(m), left, IFA_LOCAL);
    if (!ip)
        ip = attribute(IFA_RTA(m), left, IFA_ADDRESS);
    if (len == 0 || !ip || RTA_PAYLOAD(ip) < len)
        return;
    if (t->address_count == LINK_ADDRESSES_MAX) {
        t->cut = true;
        return;
    }
    struct link_address *a = &t->address[t->address_count++];
    *a = (struct link_address){.index = (int)m->ifa_index, .ip.len = (uint8_t)len};
    memcpy(a->ip.bytes, RTA_DATA(ip), len);
}

static int ask(struct interfaces *i, unsigned short type)
{
    struct {
        struct nlmsghdr h;
        struct ifinfomsg m; /* longer than ifaddrmsg, whose first byte is the family as well */
    } q = {
        .h = {.nlmsg_len = sizeof q, .nlmsg_type = type, .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
        .m.ifi_family = AF_UNSPEC,
    };
    q.h.nlmsg_seq = ++i->seq;
    return send(i->questions, &q, sizeof q, 0) == (ssize_t)sizeof q ? SC_OK : SC_ESYS;
}

/* One piece of an answer: SC_OK = more will come, SC_EOF = it was the end, SC_EAGAIN = ask anew. */
static int take_piece(struct interfaces *i, struct links *t, ssize_t n)
{
    unsigned left = (unsigned)n;
    for (struct nlmsghdr *h = (struct nlmsghdr *)(void *)i->answer; NLMSG_OK(h, left); h = NLMSG_NEXT(h, left)) {
        if (h->nlmsg_seq != i->seq)
            continue; /* of a question that was given up */
        if (h->nlmsg_flags & NLM_F_DUMP_INTR)
            return SC_EAGAIN;
        if (h->nlmsg_type == NLMSG_DONE)
            return SC_EOF;
        if (h->nlmsg_type == NLMSG_ERROR)
            return SC_EFORMAT;
        if (h->nlmsg_type == RTM_NEWLINK)
            add_link(t, h);
        else if (h->nlmsg_type == RTM_NEWADDR)
            add_address(t, h);
    }
    return SC_OK;
}

static int dump(struct interfaces *i, unsigned short type, struct links *t)
{
    int rc = ask(i, type);
    while (rc == SC_OK) {
        ssize_t n = recv(i->questions, i->answer, sizeof i->answer, MSG_TRUNC);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN || errno == ENOBUFS ? SC_EAGAIN : SC_ESYS;
        rc = n > (ssize_t)sizeof i->answer ? SC_EFORMAT : take_piece(i, t, n);
    }
    return rc == SC_EOF ? SC_OK : rc;
}

int interfaces_list(struct interfaces *i, struct links *out)
{
    int rc = SC_EAGAIN;
    for (int tries = 0; tries < TRIES && rc == SC_EAGAIN; tries++) {
        i->fresh.count = 0;
        i->fresh.address_count = 0;
        i->fresh.cut = false;
        rc = dump(i, RTM_GETLINK, &i->fresh);
        if (rc == SC_OK)
            rc = dump(i, RTM_GETADDR, &i->fresh);
    }
    if (rc == SC_OK)
        *out = i->fresh;
    return rc == SC_EAGAIN ? SC_EFORMAT : rc;
}
