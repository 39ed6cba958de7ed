/* SPDX-License-Identifier: Apache-2.0
 * From a captured frame to FlowKey and offsets: link layer, then IP and its extension headers, then TCP. Every read
 * goes through the bounded cursor, which is also cut to the datagram's own length, so that neither a trailer nor a
 * later byte of the buffer is ever taken for a header. Failure policy: each function returns CAUSE_NONE or the one
 * cause under which the frame is dropped. */
#include "shared/frame.h"

#include <string.h>

#include "shared/cursor.h"

enum {
    ETHERTYPE_IP4 = 0x0800,
    ETHERTYPE_IP6 = 0x86dd,
    ETHERTYPE_VLAN = 0x8100,
    ETHERTYPE_QINQ = 0x88a8,
    ETHERTYPE_QINQ_OLD = 0x9100,
    ETHERTYPE_MPLS = 0x8847,
    ETHERTYPE_MPLS_MC = 0x8848,
    ETHERTYPE_PPPOE = 0x8864,
    ETHERTYPE_LENGTH_BELOW = 0x0600, /* smaller values are an 802.3 length */
    ETHERTYPE_BY_NIBBLE = 0,         /* ours: the version nibble decides */
    ETHERTYPE_OTHER = 0xffff,        /* ours: nothing that we key */
};
enum {
    VLAN_MAX = 4,
    MPLS_MAX = 16,
    EXTENSION_MAX = 16,
    IP4_HEADER = 20,
    IP6_HEADER = 40,
    TCP_HEADER = 20,
};
enum {
    PROTO_HOPOPTS = 0,
    PROTO_IPIP = 4,
    PROTO_TCP = 6,
    PROTO_UDP = 17,
    PROTO_6IN4 = 41,
    PROTO_ROUTING = 43,
    PROTO_FRAGMENT = 44,
    PROTO_GRE = 47,
    PROTO_AH = 51,
    PROTO_DSTOPTS = 60,
};

bool frame_linktype_known(int linktype)
{
    switch (linktype) {
    case LINKTYPE_NULL:
    case LINKTYPE_ETHERNET:
    case LINKTYPE_PPP:
    case LINKTYPE_RAW:
    case LINKTYPE_LOOP:
    case LINKTYPE_LINUX_SLL:
    case LINKTYPE_IPV4:
    case LINKTYPE_IPV6:
    case LINKTYPE_LINUX_SLL2:
        return true;
    default:
        return false;
    }
}

/* ---- link layer: leaves the cursor at the network header and tells its type ---- */

/* A type field as it came: a value that is no type must not be taken for one of ours. */
static uint16_t ethertype(unsigned field)
{
    return field < ETHERTYPE_LENGTH_BELOW ? (uint16_t)ETHERTYPE_OTHER : (uint16_t)field;
}

static enum cause llc(struct cursor *c, uint16_t *type)
{
    const uint8_t *h = cursor_take(c, 3);
    *type = ETHERTYPE_OTHER;
    if (!h)
        return CAUSE_SHORT_FRAME;
    if (h[0] != 0xaa || h[1] != 0xaa || h[2] != 3)
        return CAUSE_NOT_TCP;
    const uint8_t *snap = cursor_take(c, 5);
    if (!snap)
        return CAUSE_SHORT_FRAME;
    if (snap[0] || snap[1] || snap[2])
        return CAUSE_NOT_TCP;
    *type = ethertype((unsigned)(snap[3] << 8 | snap[4]));
    return CAUSE_NONE;
}

static enum cause mpls(struct cursor *c, uint16_t *type)
{
    for (int labels = 0; labels < MPLS_MAX; labels++) {
        uint32_t label = cursor_be32(c);
        if (c->failed)
            return CAUSE_SHORT_FRAME;
        if (label & 0x100) { /* bottom of stack */
            *type = ETHERTYPE_BY_NIBBLE;
            return CAUSE_NONE;
        }
    }
    return CAUSE_VLAN_DEPTH;
}

static uint16_t ppp_protocol(uint32_t protocol)
{
    switch (protocol) {
    case 0x0021:
        return ETHERTYPE_IP4;
    case 0x0057:
        return ETHERTYPE_IP6;
    case 0x0281:
        return ETHERTYPE_MPLS;
    default:
        return ETHERTYPE_OTHER;
    }
}

static enum cause pppoe(struct cursor *c, uint16_t *type)
{
    const uint8_t *h = cursor_take(c, 8);
    if (!h)
        return CAUSE_SHORT_FRAME;
    if (h[0] != 0x11 || h[1] != 0)
        return CAUSE_NOT_TCP;
    *type = ppp_protocol((uint32_t)(h[6] << 8 | h[7]));
    return CAUSE_NONE;
}

/* Passes tags and shims until a network header is next. */
static enum cause shims(struct cursor *c, uint16_t *type)
{
    enum cause cause = CAUSE_NONE;
    bool shimmed = false; /* MPLS or PPPoE once: not an endless onion */
    for (int tags = 0; cause == CAUSE_NONE;) {
        if (*type == ETHERTYPE_IP4 || *type == ETHERTYPE_IP6 || *type == ETHERTYPE_BY_NIBBLE)
            return CAUSE_NONE;
        if (*type == ETHERTYPE_VLAN || *type == ETHERTYPE_QINQ || *type == ETHERTYPE_QINQ_OLD) {
            if (++tags > VLAN_MAX)
                return CAUSE_VLAN_DEPTH;
            cursor_skip(c, 2);
            *type = cursor_be16(c);
            if (c->failed)
                return CAUSE_SHORT_FRAME;
            if (*type < ETHERTYPE_LENGTH_BELOW)
                cause = llc(c, type);
        } else if ((*type == ETHERTYPE_MPLS || *type == ETHERTYPE_MPLS_MC) && !shimmed) {
            shimmed = true;
            cause = mpls(c, type);
        } else if (*type == ETHERTYPE_PPPOE && !shimmed) {
            cause = pppoe(c, type); /* may be followed by MPLS */
            shimmed = *type != ETHERTYPE_MPLS;
        } else {
            return CAUSE_NOT_TCP;
        }
    }
    return cause;
}

static enum cause ppp(struct cursor *c, uint16_t *type)
{
    uint32_t protocol = cursor_u8(c);
    if (protocol == 0xff) { /* address and control of HDLC framing, not compressed away (RFC 1662, 3.1) */
        if (cursor_u8(c) != 3 && !c->failed)
            return CAUSE_NOT_TCP;
        protocol = cursor_u8(c);
    }
    if (!(protocol & 1)) /* an odd first byte is a compressed protocol field (RFC 1661, 6.5) */
        protocol = protocol << 8 | cursor_u8(c);
    *type = ppp_protocol(protocol);
    return c->failed ? CAUSE_SHORT_FRAME : CAUSE_NONE;
}

/* BSD loopback: an address family in the byte order of the capturing machine. */
static enum cause loopback(struct cursor *c, uint16_t *type)
{
    uint32_t family = cursor_be32(c);
    if (c->failed)
        return CAUSE_SHORT_FRAME;
    if (family > 0xffff)
        family = family >> 24 | (family >> 8 & 0xff00) | (family << 8 & 0xff0000) | family << 24;
    switch (family) {
    case 2:
        *type = ETHERTYPE_IP4;
        return CAUSE_NONE;
    case 10: /* Linux, NetBSD/OpenBSD, FreeBSD, Darwin */
    case 24:
    case 28:
    case 30:
        *type = ETHERTYPE_IP6;
        return CAUSE_NONE;
    default:
        return CAUSE_NOT_TCP;
    }
}

static enum cause ethernet(struct cursor *c, uint16_t *type)
{
    cursor_skip(c, 12);
    *type = cursor_be16(c);
    if (c->failed)
        return CAUSE_SHORT_FRAME;
    return *type < ETHERTYPE_LENGTH_BELOW ? llc(c, type) : CAUSE_NONE;
}

/* Linux cooked capture, both versions (packet(7), linktypes.html). */
static enum cause cooked(struct cursor *c, int linktype, uint16_t *type)
{
    const uint8_t *h = cursor_take(c, linktype == LINKTYPE_LINUX_SLL ? 16 : 20);
    if (!h)
        return CAUSE_SHORT_FRAME;
    unsigned off = linktype == LINKTYPE_LINUX_SLL ? 14 : 0;
    unsigned field = (unsigned)(h[off] << 8 | h[off + 1]);
    *type = ethertype(field);
    return field == 4 ? llc(c, type) : CAUSE_NONE; /* 4 = 802.2 LLC follows */
}

static enum cause link_layer(struct cursor *c, int linktype, uint16_t *type)
{
    enum cause cause = CAUSE_NONE;
    switch (linktype) {
    case LINKTYPE_ETHERNET:
        cause = ethernet(c, type);
        break;
    case LINKTYPE_LINUX_SLL:
    case LINKTYPE_LINUX_SLL2:
        cause = cooked(c, linktype, type);
        break;
    case LINKTYPE_NULL:
    case LINKTYPE_LOOP:
        cause = loopback(c, type);
        break;
    case LINKTYPE_PPP:
        cause = ppp(c, type);
        break;
    case LINKTYPE_IPV4:
        *type = ETHERTYPE_IP4;
        break;
    case LINKTYPE_IPV6:
        *type = ETHERTYPE_IP6;
        break;
    case LINKTYPE_RAW:
        *type = ETHERTYPE_BY_NIBBLE;
        break;
    default:
        return CAUSE_NOT_TCP;
    }
    return cause == CAUSE_NONE ? shims(c, type) : cause;
}

/* ---- TCP ---- */

/* Length of the leading part of the options that is well-formed and in front of an end-of-options byte (RFC 9293, 3.1).
 */
static uint32_t clean_options(const uint8_t *options, uint32_t len)
{
    uint32_t off = 0;
    while (off < len) {
        if (options[off] == 0)
            return off; /* what follows is padding: zeros in any honest packet */
        if (options[off] == 1) {
            off++;
            continue;
        }
        if (len - off < 2 || options[off + 1] < 2 || options[off + 1] > len - off)
            return off;
        off += options[off + 1];
    }
    return off;
}

static enum cause tcp(struct cursor *c, struct frame *out)
{
    size_t left = cursor_left(c);
    const uint8_t *h = cursor_take(c, TCP_HEADER);
    if (!h)
        return CAUSE_TCP_SHORT;
    uint32_t len = (uint32_t)(h[12] >> 4) * 4;
    if (len < TCP_HEADER || len > left)
        return CAUSE_TCP_BAD_OFFSET;
    out->hdr_len = (uint16_t)(out->l4_off + len);
    out->clean_len = (uint16_t)(out->l4_off + TCP_HEADER + clean_options(h + TCP_HEADER, len - TCP_HEADER));
    out->tcp_flags = h[13];
    out->tcp_seq = (uint32_t)h[4] << 24 | (uint32_t)h[5] << 16 | (uint32_t)h[6] << 8 | h[7];
    return CAUSE_NONE;
}

static uint16_t port(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

/* What is not TCP: a tunnel (its inner packet is nobody's business here) or something else. */
static enum cause not_tcp(struct cursor *c, unsigned protocol, bool first)
{
    if (protocol == PROTO_IPIP || protocol == PROTO_6IN4 || protocol == PROTO_GRE)
        return CAUSE_TUNNEL;
    const uint8_t *udp = protocol == PROTO_UDP && first ? cursor_take(c, 4) : NULL;
    if (!udp)
        return CAUSE_NOT_TCP;
    switch (port(udp + 2)) {
    case 2152: /* GTP-U */
    case 4789: /* VXLAN, and Linux's older number for it */
    case 8472:
    case 6081: /* GENEVE */
        return CAUSE_TUNNEL;
    default:
        return CAUSE_NOT_TCP;
    }
}

/* ---- IP ---- */

/* Authentication header (RFC 4302): its length counts 4-byte words minus 2. */
static bool skip_ah(struct cursor *c, unsigned *protocol)
{
    const uint8_t *h = cursor_take(c, 2);
    if (!h)
        return false;
    unsigned len = (h[1] + 2u) * 4;
    if (len < 12)
        return false;
    *protocol = h[0];
    cursor_skip(c, len - 2);
    return !c->failed;
}

static void payload_length(struct frame *out, size_t datagram_end)
{
    out->payload_len = datagram_end > out->hdr_len ? (uint32_t)(datagram_end - out->hdr_len) : 0;
}

static enum cause ip4(struct cursor *c, struct frame *out)
{
    out->l3_off = (uint16_t)c->off;
    size_t left = cursor_left(c);
    const uint8_t *h = cursor_take(c, IP4_HEADER);
    if (!h || h[0] >> 4 != 4)
        return CAUSE_BAD_IP4;
    uint32_t header = (uint32_t)(h[0] & 15) * 4;
    uint32_t total = (uint32_t)(h[2] << 8 | h[3]); /* 0: a segmentation-offload frame larger than 16 bits can tell */
    if (header < IP4_HEADER || header > left || (total != 0 && total < header))
        return CAUSE_BAD_IP4;
    if (total != 0 && total < left)
        c->len = out->l3_off + total;
    cursor_skip(c, header - IP4_HEADER);
    unsigned protocol = h[9];
    bool first = (h[6] & 0x1f) == 0 && h[7] == 0;
    if (protocol == PROTO_AH && first && !skip_ah(c, &protocol))
        return CAUSE_EXT_CHAIN;
    if (protocol != PROTO_TCP)
        return not_tcp(c, protocol, first);
    if (!first)
        return CAUSE_FRAG_NONINITIAL;
    out->l4_off = (uint16_t)c->off;
    enum cause cause = tcp(c, out);
    if (cause != CAUSE_NONE)
        return cause;
    payload_length(out, total ? (size_t)out->l3_off + total : 0);
    const uint8_t *l4 = c->base + out->l4_off;
    out->from_low = flowkey_make(&out->key, 4, h + 12, port(l4), h + 16, port(l4 + 2));
    return CAUSE_NONE;
}

/* Follows the chain to the upper protocol (RFC 8200, 4). */
static enum cause extensions(struct cursor *c, unsigned *protocol, bool *first)
{
    *first = true;
    for (int count = 0;; count++) {
        if (*protocol != PROTO_HOPOPTS && *protocol != PROTO_ROUTING && *protocol != PROTO_DSTOPTS &&
            *protocol != PROTO_FRAGMENT && *protocol != PROTO_AH)
            return CAUSE_NONE;
        if (count == EXTENSION_MAX)
            return CAUSE_EXT_CHAIN;
        if (*protocol == PROTO_AH) {
            if (!skip_ah(c, protocol))
                return CAUSE_EXT_CHAIN;
            continue;
        }
        const uint8_t *h = cursor_take(c, 8);
        if (!h)
            return CAUSE_EXT_CHAIN;
        if (*protocol == PROTO_FRAGMENT) {
            *protocol = h[0];
            if ((h[2] << 8 | h[3]) >> 3 != 0) {
                *first = false; /* what follows are bytes from the middle of the datagram */
                return CAUSE_NONE;
            }
            continue;
        }
        *protocol = h[0];
        cursor_skip(c, h[1] * 8u);
        if (c->failed)
            return CAUSE_EXT_CHAIN;
    }
}

/* True if a later fragment that starts with this protocol may be part of a TCP segment. */
static bool may_lead_to_tcp(unsigned protocol)
{
    return protocol == PROTO_TCP || protocol == PROTO_DSTOPTS || protocol == PROTO_AH || protocol == PROTO_ROUTING ||
           protocol == PROTO_HOPOPTS;
}

static enum cause ip6(struct cursor *c, struct frame *out)
{
    out->l3_off = (uint16_t)c->off;
    const uint8_t *h = cursor_take(c, IP6_HEADER);
    if (!h || h[0] >> 4 != 6)
        return CAUSE_BAD_IP6;
    uint32_t payload = (uint32_t)(h[4] << 8 | h[5]); /* 0: a jumbogram or segmentation offload */
    if (payload != 0)
        cursor_limit(c, payload);
    unsigned protocol = h[6];
    bool first;
    enum cause cause = extensions(c, &protocol, &first);
    if (cause != CAUSE_NONE)
        return cause;
    if (!first)
        return may_lead_to_tcp(protocol) ? CAUSE_FRAG_NONINITIAL : not_tcp(c, protocol, false);
    if (protocol != PROTO_TCP)
        return not_tcp(c, protocol, true);
    out->l4_off = (uint16_t)c->off;
    cause = tcp(c, out);
    if (cause != CAUSE_NONE)
        return cause;
    payload_length(out, payload ? (size_t)out->l3_off + IP6_HEADER + payload : 0);
    const uint8_t *l4 = c->base + out->l4_off;
    out->from_low = flowkey_make(&out->key, 16, h + 8, port(l4), h + 24, port(l4 + 2));
    return CAUSE_NONE;
}

enum cause frame_parse(const uint8_t *bytes, uint32_t caplen, uint32_t wire_len, int linktype, struct frame *out)
{
    struct cursor c = cursor_over(bytes, caplen < FRAME_MAX_CAPLEN ? caplen : FRAME_MAX_CAPLEN);
    uint16_t type = ETHERTYPE_OTHER;
    (void)wire_len; /* lengths that the network header claims beyond it are the capture's business, not a fault */
    if (caplen == 0)
        return CAUSE_SHORT_FRAME;
    enum cause cause = link_layer(&c, linktype, &type);
    if (cause != CAUSE_NONE)
        return cause;
    if (type == ETHERTYPE_BY_NIBBLE) {
        if (cursor_left(&c) == 0)
            return CAUSE_SHORT_FRAME;
        unsigned version = bytes[c.off] >> 4;
        if (version != 4 && version != 6)
            return CAUSE_NOT_TCP;
        type = version == 4 ? ETHERTYPE_IP4 : ETHERTYPE_IP6;
    }
    return type == ETHERTYPE_IP4 ? ip4(&c, out) : ip6(&c, out);
}

void frame_copy_header(const struct frame *f, const uint8_t *bytes, uint8_t *dst)
{
    memcpy(dst, bytes, f->clean_len);
    memset(dst + f->clean_len, 0, (size_t)f->hdr_len - f->clean_len);
}

bool frame_from_copy(const uint8_t *hdr, uint32_t hdr_len, uint32_t l3_off, uint32_t l4_off, struct frame *out)
{
    if (hdr_len > FRAME_MAX_CAPLEN || l3_off >= l4_off || l4_off > hdr_len || hdr_len - l4_off < TCP_HEADER)
        return false;
    const uint8_t *ip = hdr + l3_off, *l4 = hdr + l4_off;
    unsigned version = ip[0] >> 4;
    if (version != 4 && version != 6)
        return false;
    if (l4_off - l3_off < (version == 4 ? (uint32_t)IP4_HEADER : (uint32_t)IP6_HEADER))
        return false;
    unsigned addr_len = version == 4 ? 4 : 16;
    const uint8_t *src = ip + (version == 4 ? 12 : 8);
    out->from_low = flowkey_make(&out->key, addr_len, src, port(l4), src + addr_len, port(l4 + 2));
    out->l3_off = (uint16_t)l3_off;
    out->l4_off = (uint16_t)l4_off;
    out->hdr_len = out->clean_len = (uint16_t)hdr_len;
    out->tcp_flags = l4[13];
    out->tcp_seq = (uint32_t)l4[4] << 24 | (uint32_t)l4[5] << 16 | (uint32_t)l4[6] << 8 | l4[7];
    out->payload_len = 0;
    return true;
}
