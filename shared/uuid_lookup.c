/* SPDX-License-Identifier: Apache-2.0
 * NETLINK_SOCK_DIAG, one 4-tuple at a time (linux/inet_diag.h, sock_diag(7)).
 * Failure policy: see uuid_lookup.h. An answer that is not exactly what was asked for is no answer. */
#include "shared/uuid_lookup.h"

#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define TIMER_OF_TIMEWAIT 3   /* sock_diag of a timewait socket, whatever state it stands for */
#define STATE_NEW_SYN_RECV 12 /* include/net/tcp_states.h; not in the user headers */

struct uuid_lookup {
    int fd;
    uint32_t seq;
};

struct uuid_lookup *uuid_lookup_new(void)
{
    struct uuid_lookup *l = calloc(1, sizeof(*l));
    if (!l)
        return NULL;
    l->fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_SOCK_DIAG);
    if (l->fd < 0) {
        free(l);
        return NULL;
    }
    return l;
}

void uuid_lookup_free(struct uuid_lookup *l)
{
    if (!l)
        return;
    close(l->fd);
    free(l);
}

struct question {
    struct nlmsghdr head;
    struct inet_diag_req_v2 req;
};

static void put_addr(__be32 out[4], const uint8_t *addr, unsigned len)
{
    memset(out, 0, 16);
    memcpy(out, addr, len);
}

/* Builds the question with side `local` of the key as the source. */
static struct question question(const struct flowkey *key, unsigned local, uint32_t if_index, uint32_t seq)
{
    struct question q = {
        .head = {.nlmsg_len = sizeof(q),
                 .nlmsg_type = SOCK_DIAG_BY_FAMILY,
                 .nlmsg_flags = NLM_F_REQUEST,
                 .nlmsg_seq = seq},
        .req = {.sdiag_family = key->addr_len == 4 ? AF_INET : AF_INET6,
                .sdiag_protocol = IPPROTO_TCP,
                .idiag_states = UINT32_MAX},
    };
    q.req.id.idiag_sport = htons(key->port[local]);
    q.req.id.idiag_dport = htons(key->port[1 - local]);
    put_addr(q.req.id.idiag_src, key->addr[local], key->addr_len);
    put_addr(q.req.id.idiag_dst, key->addr[1 - local], key->addr_len);
    q.req.id.idiag_if = if_index;
    q.req.id.idiag_cookie[0] = q.req.id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;
    return q;
}

/* True if the answer's address is ours: equal, or its mapped form. */
static bool same_addr(const struct inet_diag_msg *m, const __be32 have[4], const uint8_t *want, unsigned len)
{
    const uint8_t *bytes = (const uint8_t *)have;
    if (len == 4 && m->idiag_family == AF_INET6)
        return ipaddr_is_mapped(bytes) && memcmp(bytes + 12, want, 4) == 0;
    return memcmp(bytes, want, len) == 0;
}

static bool answer_fits(const struct inet_diag_msg *m, const struct flowkey *key, unsigned local)
{
    if (m->idiag_state == TCP_LISTEN || m->idiag_state == TCP_SYN_RECV || m->idiag_state == STATE_NEW_SYN_RECV)
        return false;
    return m->id.idiag_sport == htons(key->port[local]) && m->id.idiag_dport == htons(key->port[1 - local]) &&
           same_addr(m, m->id.idiag_src, key->addr[local], key->addr_len) &&
           same_addr(m, m->id.idiag_dst, key->addr[1 - local], key->addr_len);
}

static bool state_closing(uint8_t state)
{
    return state != TCP_ESTABLISHED && state != TCP_SYN_SENT;
}

/* Reads the answer to question seq; older ones that were given up are passed over. */
static int read_answer(struct uuid_lookup *l, uint32_t seq, struct inet_diag_msg *out)
{
    _Alignas(struct nlmsghdr) uint8_t buf[8192];
    for (;;) {
        ssize_t n = recv(l->fd, buf, sizeof(buf), 0);
        if (n < 0)
            return errno == EAGAIN ? SC_ENOENT : SC_ESYS;
        const struct nlmsghdr *h = (const struct nlmsghdr *)(const void *)buf;
        if ((size_t)n < sizeof(*h) || h->nlmsg_len > (size_t)n || h->nlmsg_seq != seq)
            continue;
        if (h->nlmsg_type != SOCK_DIAG_BY_FAMILY || h->nlmsg_len < NLMSG_LENGTH(sizeof(*out)))
            return SC_ENOENT; /* NLMSG_ERROR: no such socket */
        memcpy(out, buf + NLMSG_HDRLEN, sizeof(*out));
        return SC_OK;
    }
}

static int ask_one_order(struct uuid_lookup *l, const struct flowkey *key, unsigned local, uint32_t if_index,
                         struct inet_diag_msg *m)
{
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    struct question q = question(key, local, if_index, ++l->seq);
    if (sendto(l->fd, &q, sizeof(q), 0, (const struct sockaddr *)&kernel, sizeof(kernel)) < 0)
        return SC_ESYS;
    int err = read_answer(l, l->seq, m);
    if (err)
        return err;
    return answer_fits(m, key, local) ? SC_OK : SC_ENOENT;
}

int uuid_lookup_ask_local(struct uuid_lookup *l, const struct flowkey *key, unsigned local, uint32_t if_index,
                          const struct clock *clock, struct uuid_answer *out)
{
    struct inet_diag_msg m;
    int err = ask_one_order(l, key, local, if_index, &m);
    if (err)
        return err;
    out->cookie = (uint64_t)m.id.idiag_cookie[1] << 32 | m.id.idiag_cookie[0];
    out->closing = state_closing(m.idiag_state);
    out->timewait = m.idiag_state == TCP_TIME_WAIT || m.idiag_timer == TIMER_OF_TIMEWAIT;
    out->read = clock->mono(clock->ctx);
    return SC_OK;
}

int uuid_lookup_ask(struct uuid_lookup *l, const struct flowkey *key, uint32_t if_index, const struct clock *clock,
                    struct uuid_answer *out)
{
    int err = SC_ENOENT;
    for (unsigned local = 0; local < 2 && err == SC_ENOENT; local++)
        err = uuid_lookup_ask_local(l, key, local, if_index, clock, out);
    return err;
}
