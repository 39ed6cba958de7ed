/* SPDX-License-Identifier: Apache-2.0
 * Masks addresses in a header copy so that nothing left in it gives a masked bit back: not the checksums, not an option
 * or an extension header that repeats an address, not a link address that it can be made of. What is wiped never
 * depends on a masked bit, or the wiping would tell it. Failure policy: none needed; what cannot be parsed inside the
 * header is wiped rather than kept. */
#include "shared/anonymize.h"

#include <string.h>

#include "shared/frame.h"

enum { IP4_HEADER = 20, IP6_HEADER = 40, TCP_HEADER = 20, AH_FIXED = 12, PROTO_AH = 51 };

static bool exempt(const struct anonymizer *a, const uint8_t *addr, unsigned len)
{
    for (uint32_t i = 0; i < a->exempt_count; i++)
        if (a->exempt[i].len == len && memcmp(a->exempt[i].bytes, addr, len) == 0)
            return true;
    return false;
}

static bool is_6to4(const uint8_t *addr)
{
    return addr[0] == 0x20 && addr[1] == 0x02;
}

/* Masks len (4 or 16) address bytes in place; a mapped one as the IPv4 address in it. The /48 of 6to4 (RFC 3056) is a
 * whole IPv4 address, which loses its last byte; Teredo, NAT64, ISATAP and IPv4-compatible addresses have no more than
 * 16 bits of an IPv4 address in front of bit 48. Returns false if the address is exempt. */
static bool mask(const struct anonymizer *a, uint8_t *addr, unsigned len)
{
    if (len == 16 && ipaddr_is_mapped(addr)) {
        addr += 12;
        len = 4;
    }
    if (exempt(a, addr, len))
        return false;
    if (len == 4)
        addr[3] = 0;
    else
        memset(addr + (is_6to4(addr) ? 5 : 6), 0, is_6to4(addr) ? 11 : 10);
    return true;
}

void anonymize_ip(const struct anonymizer *a, struct ipaddr *ip)
{
    if (a->mode == ANONYMIZE_NETBLOCK && (ip->len == 4 || ip->len == 16))
        mask(a, ip->bytes, ip->len);
}

void anonymize_key(const struct anonymizer *a, struct flowkey *key)
{
    if (a->mode != ANONYMIZE_NETBLOCK)
        return;
    struct flowkey masked = *key;
    mask(a, masked.addr[0], masked.addr_len);
    mask(a, masked.addr[1], masked.addr_len);
    flowkey_make(key, masked.addr_len, masked.addr[0], masked.port[0], masked.addr[1], masked.port[1]);
}

/* ---- link layer ---- */

/* Which ends of a packet are masked. */
struct hidden {
    bool src, dst;
};

static void wipe_if(bool hidden, uint8_t *at, uint32_t n)
{
    if (hidden)
        memset(at, 0, n);
}

/* The link address of a masked end goes, all of it: an interface identifier can be made of it (EUI-64, RFC 4291 A), it
 * can be made of the IP address (multicast, RFC 1112 and 2464; container bridges; tunnels, whose link address is an
 * IPv4 address), and it finds the same host again in files of other addresses. */
static void link_header(struct hidden hidden, int linktype, uint8_t *link, uint32_t len)
{
    enum { MAC = 6, SLL_ADDRESS = 6, SLL_HEADER = 16, SLL2_ADDRESS = 12, SLL2_HEADER = 20, COOKED_ADDRESS = 8 };
    switch (linktype) {
    case LINKTYPE_NULL: /* these have no addresses */
    case LINKTYPE_LOOP:
    case LINKTYPE_PPP:
    case LINKTYPE_RAW:
    case LINKTYPE_IPV4:
    case LINKTYPE_IPV6:
        return;
    case LINKTYPE_ETHERNET:
        if (len < 2 * MAC)
            break;
        wipe_if(hidden.dst, link, MAC);
        wipe_if(hidden.src, link + MAC, MAC);
        return;
    case LINKTYPE_LINUX_SLL: /* the sender's alone */
        if (len < SLL_HEADER)
            break;
        wipe_if(hidden.src, link + SLL_ADDRESS, COOKED_ADDRESS);
        return;
    case LINKTYPE_LINUX_SLL2:
        if (len < SLL2_HEADER)
            break;
        wipe_if(hidden.src, link + SLL2_ADDRESS, COOKED_ADDRESS);
        return;
    default:
        break;
    }
    memset(link, 0, len);
}

/* ---- IPv4 ---- */

static uint16_t checksum(const uint8_t *bytes, uint32_t len)
{
    uint32_t sum = 0;
    for (uint32_t i = 0; i + 1 < len; i += 2)
        sum += (uint32_t)(bytes[i] << 8 | bytes[i + 1]);
    while (sum > 0xffff)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}

/* Wipes the data of options that carry addresses, and everything from the first malformed option on. Unknown options
 * are wiped too: nobody knows what they carry. Types and lengths stay, so that the header still parses. */
static void wipe_ip4_options(uint8_t *options, uint32_t len)
{
    for (uint32_t off = 0; off < len;) {
        uint8_t type = options[off];
        if (type == 0) {
            memset(options + off, 0, len - off);
            return;
        }
        if (type == 1) {
            off++;
            continue;
        }
        if (len - off < 2 || options[off + 1] < 2 || options[off + 1] > len - off) {
            memset(options + off, 0, len - off);
            return;
        }
        memset(options + off + 2, 0, options[off + 1] - 2u);
        off += options[off + 1];
    }
}

static struct hidden ip4_header(const struct anonymizer *a, uint8_t *ip, uint32_t len)
{
    uint32_t header = (uint32_t)(ip[0] & 15) * 4;
    if (header < IP4_HEADER || header > len)
        header = IP4_HEADER; /* nonsense: all behind it is wiped */
    bool valid = checksum(ip, header) == 0;
    struct hidden hidden = {mask(a, ip + 12, 4), mask(a, ip + 16, 4)};
    wipe_ip4_options(ip + IP4_HEADER, header - IP4_HEADER);
    /* Between header and TCP there can be an authentication header, whose end is a MAC over the addresses. */
    uint32_t kept = ip[9] == PROTO_AH ? header + AH_FIXED : header;
    if (kept < len)
        memset(ip + kept, 0, len - kept);
    ip[10] = ip[11] = 0;
    if (valid) {
        uint16_t sum = checksum(ip, header);
        ip[10] = (uint8_t)(sum >> 8);
        ip[11] = (uint8_t)sum;
    }
    return hidden;
}

/* ---- IPv6 ---- */

/* Options of a hop-by-hop or destination header: their data can hold an address (Home Address is one), so all but
 * padding, jumbo length, router alert and tunnel limit are wiped. */
static void wipe_ip6_options(uint8_t *options, uint32_t len)
{
    enum { PAD1 = 0x00, TUNNEL_LIMIT = 0x04, ROUTER_ALERT = 0x05, JUMBO = 0xc2 };
    for (uint32_t off = 0; off < len;) {
        uint8_t type = options[off];
        if (type == PAD1) {
            off++;
            continue;
        }
        if (len - off < 2 || options[off + 1] > len - off - 2) {
            memset(options + off, 0, len - off);
            return;
        }
        uint32_t data = options[off + 1];
        bool harmless =
            (type == TUNNEL_LIMIT && data == 1) || (type == ROUTER_ALERT && data == 2) || (type == JUMBO && data == 4);
        if (!harmless)
            memset(options + off + 2, 0, data);
        off += 2 + data;
    }
}

/* Extension headers between the fixed header and TCP. The parser has followed the chain already; what does not follow
 * here is wiped. */
static void ip6_extensions(uint8_t *ext, uint32_t len, unsigned protocol)
{
    enum { HOPOPTS = 0, ROUTING = 43, FRAGMENT = 44, AH = 51, DSTOPTS = 60 };
    uint32_t off = 0;
    while (len - off >= 8) {
        uint8_t *h = ext + off;
        uint32_t size = protocol == FRAGMENT ? 8u : protocol == AH ? (h[1] + 2u) * 4 : (h[1] + 1u) * 8;
        if (size > len - off)
            break;
        if (protocol == HOPOPTS || protocol == DSTOPTS)
            wipe_ip6_options(h + 2, size - 2);
        else if (protocol == ROUTING)
            memset(h + 4, 0, size - 4); /* type and segments left stay */
        else if (protocol == AH && size > AH_FIXED)
            memset(h + AH_FIXED, 0, size - AH_FIXED); /* a MAC over the addresses */
        else if (protocol != FRAGMENT)
            break;
        protocol = h[0];
        off += size;
    }
    memset(ext + off, 0, len - off);
}

static struct hidden ip6_header(const struct anonymizer *a, uint8_t *ip, uint32_t len)
{
    struct hidden hidden = {mask(a, ip + 8, 16), mask(a, ip + 24, 16)};
    if (hidden.src || hidden.dst) { /* a flow label may be an unkeyed hash of the addresses (RFC 6437, appendix A) */
        ip[1] &= 0xf0;
        ip[2] = ip[3] = 0;
    }
    ip6_extensions(ip + IP6_HEADER, len - IP6_HEADER, ip[6]);
    return hidden;
}

/* ---- TCP ---- */

/* Only options whose content is known to be free of addresses keep it; RFC 9293, 7323, 2018. The others (MPTCP, TCP-AO,
 * MD5, Fast Open, user timeout, SCPS, 76, 200, 253, 254 ..) hold or may hold one, or a MAC over one. */
static bool tcp_option_harmless(uint8_t kind, uint8_t len)
{
    switch (kind) {
    case 2: /* MSS */
        return len == 4;
    case 3: /* window scale */
        return len == 3;
    case 4: /* SACK permitted */
        return len == 2;
    case 5: /* SACK */
        return len <= 34;
    case 8: /* timestamps */
        return len == 10;
    default:
        return false;
    }
}

/* len may be short of the header: the copy can be cut at the length of its flow's first header. */
static void tcp_header(uint8_t *tcp, uint32_t len)
{
    enum { DATA_OFFSET = 12, CHECKSUM = 16 };
    for (uint32_t i = CHECKSUM; i < CHECKSUM + 2 && i < len; i++)
        tcp[i] = 0;
    uint32_t header = len > DATA_OFFSET ? (uint32_t)(tcp[DATA_OFFSET] >> 4) * 4 : 0;
    if (header > len)
        header = len;
    for (uint32_t off = TCP_HEADER; off < header;) {
        uint8_t kind = tcp[off];
        if (kind == 1) {
            off++;
            continue;
        }
        if (kind == 0 || header - off < 2 || tcp[off + 1] < 2 || tcp[off + 1] > header - off) {
            memset(tcp + off, 0, header - off);
            return;
        }
        if (!tcp_option_harmless(kind, tcp[off + 1]))
            memset(tcp + off + 2, 0, tcp[off + 1] - 2u);
        off += tcp[off + 1];
    }
}

void anonymize_header(const struct anonymizer *a, int linktype, uint8_t *hdr, uint32_t len, uint32_t l3_off,
                      uint32_t l4_off)
{
    if (a->mode != ANONYMIZE_NETBLOCK)
        return;
    if (l3_off >= l4_off || l4_off > len) {
        memset(hdr, 0, len);
        return;
    }
    uint8_t *ip = hdr + l3_off;
    uint32_t ip_len = l4_off - l3_off;
    struct hidden hidden;
    if (ip[0] >> 4 == 4 && ip_len >= IP4_HEADER) {
        hidden = ip4_header(a, ip, ip_len);
    } else if (ip[0] >> 4 == 6 && ip_len >= IP6_HEADER) {
        hidden = ip6_header(a, ip, ip_len);
    } else {
        memset(hdr, 0, len);
        return;
    }
    link_header(hidden, linktype, hdr, l3_off);
    tcp_header(hdr + l4_off, len - l4_off);
}
