/* SPDX-License-Identifier: Apache-2.0
 * Builds the text of the kernel filter; pcap-filter(7) is its grammar.
 * Failure policy: a text that does not fit is SC_ETOOLONG, never a cut one, which would mean something else. */
#include "dispatcher/capture/filter.h"

#include <arpa/inet.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "shared/frame.h"

#define WALKED 3   /* extension headers */
#define OFFSET 128 /* bytes of the text of an offset */
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

/* " or " of: the byte at this offset is one of the values. */
static void add_one_of(struct text *t, const char *in, const char *at, const unsigned *values, size_t count)
{
    add(t, "(");
    for (size_t i = 0; i < count; i++)
        add(t, "%s%s[%s]=%u", i ? " or " : "", in, at, values[i]);
    add(t, ")");
}

/* libpcap's `tcp` knows the protocol field of an IPv6 header and one fragment header. This is TCP behind extension
 * headers: the type of the first stands in the fixed header, that of each further one in the header before it. Three
 * are walked, so that what they lead to elsewhere (the ICMPv6 of every multicast report, UDP) is not let in; a fourth
 * is let in whatever it is. Where a header's length is not in its second byte (authentication, a fragment header with
 * something in its reserved byte) the walk ends, and the packet is let in. Reading past a packet's end refuses it, so
 * nothing is read before it is known to be there in every packet that holds TCP. in: "ip6" or "ether"; l3: offset of
 * the IPv6 header there. */
static void add_extensions(struct text *t, const char *in, size_t l3)
{
    static const unsigned extension[] = {0, 43, 44, 51, 60}; /* hop-by-hop, routing, fragment, AH, destination */
    static const unsigned leads_on[] = {6, 0, 43, 44, 51, 60};
    char type[OFFSET], header[OFFSET]; /* where this header's type stands, and where it begins */
    (void)snprintf(type, sizeof type, "%zu", l3 + 6);
    (void)snprintf(header, sizeof header, "%zu", l3 + 40);
    add(t, "(");
    add_one_of(t, in, type, extension, 5);
    add(t, " and ");
    for (int i = 1; i < WALKED; i++) {
        char behind[OFFSET];
        int n = snprintf(behind, sizeof behind, "%s+8+8*%s[%s+1]", header, in, header);
        if (n < 0 || (size_t)n >= sizeof behind)
            t->full = true;
        add(t, "(%s[%s]=6 or (", in, header);
        add_one_of(t, in, header, extension, 5);
        add(t, " and (%s[%s]=51 or (%s[%s]=44 and %s[%s+1]!=0) or ", in, type, in, type, in, header);
        memcpy(type, header, sizeof type);
        memcpy(header, behind, sizeof header);
    }
    add_one_of(t, in, header, leads_on, 6);
    for (int i = 1; i < WALKED; i++)
        add(t, ")))");
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
        add(t, "%s(ether[%zu:2]=0x86dd and (ether[%zu]=6 or ", v4 ? " or " : "", l3 - 2, l3 + 6);
        add_extensions(t, "ether", l3);
        add(t, ")");
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
    add(&t, "(tcp");
    if (linktype != LINKTYPE_IPV4) {
        add(&t, " or ");
        add_extensions(&t, "ip6", 0);
    }
    add(&t, ")");
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
