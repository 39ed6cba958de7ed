/* SPDX-License-Identifier: Apache-2.0
 * Builds the text of the kernel filter; pcap-filter(7) is its grammar.
 * Failure policy: a text that does not fit is SC_ETOOLONG, never a cut one, which would mean something else. */
#include "dispatcher/capture/filter.h"

#include <arpa/inet.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>

#include "shared/frame.h"

/* libpcap's `tcp` knows the protocol field and one fragment header. A header with TCP or a further extension header as
 * its next one (0 hop-by-hop, 43 routing, 44 fragment, 51 authentication, 60 destination options) may lead to TCP; one
 * that leads elsewhere (the ICMPv6 of every multicast listener report) is not let in. */
#define IP6_MAY_LEAD_TO_TCP                                                                                            \
    "((ip6[6]=0 or ip6[6]=43 or ip6[6]=44 or ip6[6]=51 or ip6[6]=60) and "                                             \
    "(ip6[40]=6 or ip6[40]=43 or ip6[40]=44 or ip6[40]=51 or ip6[40]=60))"

#define TAGS_MAX 3 /* in the bytes; frame.h takes four in all, of which the kernel takes away one */

struct text {
    char *out;
    size_t cap, len;
    bool full;
};

static void add(struct text *t, const char *fmt, ...) SC_PRINTF(2, 3);
static void add(struct text *t, const char *fmt, ...)
{
    va_list ap;
    if (t->full)
        return;
    va_start(ap, fmt);
    int n = vsnprintf(t->out + t->len, t->cap - t->len, fmt, ap);
    va_end(ap);
    if (n < 0 || (size_t)n >= t->cap - t->len)
        t->full = true;
    else
        t->len += (size_t)n;
}

/* "ip host A or ip6 host B .." */
static void add_hosts(struct text *t, const struct ipaddr *hosts, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char name[INET6_ADDRSTRLEN];
        bool v4 = hosts[i].len == 4;
        if (!inet_ntop(v4 ? AF_INET : AF_INET6, hosts[i].bytes, name, sizeof name)) {
            t->full = true;
            return;
        }
        add(t, "%s%s host %s", i ? " or " : "", v4 ? "ip" : "ip6", name);
    }
}

/* One address at a byte offset of an Ethernet frame, e.g. "ether[30:4]=0xc0000201". */
static void add_address_at(struct text *t, size_t at, const struct ipaddr *ip)
{
    for (size_t i = 0; i < ip->len; i += 4)
        add(t, "%sether[%zu:4]=0x%02x%02x%02x%02x", i ? " and " : "", at + i, ip->bytes[i], ip->bytes[i + 1],
            ip->bytes[i + 2], ip->bytes[i + 3]);
}

/* " and (source or destination is one of the hosts of this family)"; l3 = offset of the IP header. There is one. */
static void add_hosts_at(struct text *t, size_t l3, unsigned family_len, const struct ipaddr *hosts, size_t count)
{
    size_t src = l3 + (family_len == 4 ? 12 : 8);
    const char *sep = "";
    add(t, " and (");
    for (size_t i = 0; i < count; i++) {
        if (hosts[i].len != family_len)
            continue;
        add(t, "%s(", sep);
        add_address_at(t, src, &hosts[i]);
        add(t, ") or (");
        add_address_at(t, src + family_len, &hosts[i]);
        add(t, ")");
        sep = " or ";
    }
    add(t, ")");
}

/* TCP behind `tags` VLAN tags in the bytes of an Ethernet frame. */
static void add_tagged(struct text *t, unsigned tags, const struct ipaddr *hosts, size_t count)
{
    size_t l3 = 14 + 4 * (size_t)tags;
    bool v4 = count == 0, v6 = count == 0;
    for (size_t i = 0; i < count; i++)
        *(hosts[i].len == 4 ? &v4 : &v6) = true;
    add(t, " or (");
    for (unsigned i = 0; i < tags; i++)
        add(t, "%s(ether[%u:2]=0x8100 or ether[%u:2]=0x88a8)", i ? " and " : "", 12 + 4 * i, 12 + 4 * i);
    add(t, " and (");
    if (v4) {
        add(t, "(ether[%zu:2]=0x800 and ether[%zu]=6", l3 - 2, l3 + 9);
        if (count > 0)
            add_hosts_at(t, l3, 4, hosts, count);
        add(t, ")");
    }
    if (v6) {
        size_t next = l3 + 6, ext = l3 + 40;
        add(t, "%s(ether[%zu:2]=0x86dd and (ether[%zu]=6", v4 ? " or " : "", l3 - 2, next);
        add(t, " or ((ether[%zu]=0 or ether[%zu]=43 or ether[%zu]=44 or ether[%zu]=51 or ether[%zu]=60)", next, next,
            next, next, next);
        add(t, " and (ether[%zu]=6 or ether[%zu]=43 or ether[%zu]=44 or ether[%zu]=51 or ether[%zu]=60)))", ext, ext,
            ext, ext, ext);
        if (count > 0)
            add_hosts_at(t, l3, 16, hosts, count);
        add(t, ")");
    }
    add(t, "))");
}

int filter_builtin(char *out, size_t cap, int linktype, const struct ipaddr *hosts, size_t count,
                   enum filter_detail detail)
{
    struct text t = {.out = out, .cap = cap, .full = cap == 0};
    if (detail == FILTER_NO_HOSTS)
        count = 0;
    add(&t, "(tcp%s)", linktype == LINKTYPE_IPV4 ? "" : " or " IP6_MAY_LEAD_TO_TCP);
    if (count > 0) {
        add(&t, " and (");
        add_hosts(&t, hosts, count);
        add(&t, ")");
    }
    if (linktype == LINKTYPE_ETHERNET) {
        add_tagged(&t, 1, hosts, detail == FILTER_EXACT ? count : 0);
        /* Deeper ones are rare and, without promiscuous mode, meant for this host: no addresses. */
        for (unsigned tags = 2; tags <= TAGS_MAX; tags++)
            add_tagged(&t, tags, NULL, 0);
    }
    return t.full ? SC_ETOOLONG : SC_OK;
}

int filter_and(char *out, size_t cap, const char *builtin, const char *user)
{
    struct text t = {.out = out, .cap = cap, .full = cap == 0};
    if (user && user[0])
        add(&t, "(%s) and (%s)", builtin, user);
    else
        add(&t, "%s", builtin);
    return t.full ? SC_ETOOLONG : SC_OK;
}
