/* SPDX-License-Identifier: Apache-2.0
 * Netblock: what is masked, what stays, and that nothing left tells what was masked. In the packets below 0x99 is a
 * byte that must not survive (an address, or an option's data that may be one); the canary never gets into a copy
 * anyway. */
#include <stdio.h>

#include "shared/anonymize.h"
#include "shared/err.h"
#include "tests/unit/shared/frame_rows.h"

#define SECRET 0x99

static const struct anonymizer none = {.mode = ANONYMIZE_NONE};
static const struct anonymizer netblock = {.mode = ANONYMIZE_NETBLOCK};

static struct ipaddr address(const char *text)
{
    struct ipaddr ip;
    assert_int_equal(ipaddr_parse(text, &ip), SC_OK);
    return ip;
}

static uint16_t sum16(const uint8_t *p, uint32_t len)
{
    uint32_t sum = 0;
    for (uint32_t i = 0; i < len; i++)
        sum += i % 2 ? p[i] : (uint32_t)p[i] << 8;
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}

static uint32_t ip4_length(const uint8_t *ip)
{
    return (uint32_t)(ip[0] & 15) * 4;
}

static bool ip4_sum_valid(const uint8_t *ip)
{
    return sum16(ip, ip4_length(ip)) == 0;
}

static void ip4_sum_set(uint8_t *ip)
{
    ip[10] = ip[11] = 0;
    uint16_t sum = sum16(ip, ip4_length(ip));
    ip[10] = (uint8_t)(sum >> 8);
    ip[11] = (uint8_t)sum;
}

/* Header copy of a frame, with its offsets; b then holds the copy alone. */
static void copy_of(int linktype, const char *hex, struct bytes *b, struct frame *f)
{
    struct bytes frame;
    kit_hex(hex, &frame);
    assert_int_equal(frame_parse(frame.at, frame.len, frame.len, linktype, f), CAUSE_NONE);
    frame_copy_header(f, frame.at, b->at);
    b->len = f->hdr_len;
}

static void anonymize(const struct anonymizer *a, struct bytes *b, const struct frame *f)
{
    anonymize_header(a, ETH, b->at, b->len, f->l3_off, f->l4_off);
}

/* ---- addresses alone, keys ---- */

static void addresses(void **state)
{
    (void)state;
    static const struct {
        const char *in, *out;
    } masked[] = {
        {"192.0.2.99", "192.0.2.0"},
        {"192.0.2.0", "192.0.2.0"},
        {"255.255.255.255", "255.255.255.0"},
        {"::ffff:192.0.2.99", "192.0.2.0"},
        {"2001:db8:1:2:3:4:5:6", "2001:db8:1::"},
        {"::1", "::"},
        {"fe80::1", "fe80::"},
        /* IPv4 addresses in IPv6 ones: 6to4, whose /48 holds all of it; Teredo, NAT64, ISATAP, IPv4-compatible */
        {"2002:c000:263:1::1", "2002:c000:200::"},
        {"2001:0:c000:263:8000:63bf:3fff:fdd2", "2001:0:c000::"},
        {"64:ff9b::c000:263", "64:ff9b::"},
        {"64:ff9b:1:c000:2:6300::", "64:ff9b:1::"},
        {"2001:db8:1:2:0:5efe:c000:263", "2001:db8:1::"},
        {"::192.0.2.99", "::"},
    };
    for (size_t i = 0; i < LENGTH(masked); i++) {
        struct ipaddr in = address(masked[i].in), out = address(masked[i].out), ip = in;
        anonymize_ip(&none, &ip);
        assert_memory_equal(&ip, &in, sizeof(ip));
        anonymize_ip(&netblock, &ip);
        assert_memory_equal(&ip, &out, sizeof(ip));
    }
    /* an address that was not folded on its way here is masked as the IPv4 address it is */
    struct ipaddr raw = {16, {[10] = 0xff, [11] = 0xff, 192, 0, 2, 99}}, expected = raw;
    expected.bytes[15] = 0;
    anonymize_ip(&netblock, &raw);
    assert_memory_equal(&raw, &expected, sizeof(raw));
}

static void exempt_addresses_stay(void **state)
{
    (void)state;
    static struct anonymizer a = {.mode = ANONYMIZE_NETBLOCK};
    a.exempt_count = ANONYMIZE_EXEMPT_MAX; /* the last places count, too */
    a.exempt[0] = address("192.0.2.99");
    a.exempt[ANONYMIZE_EXEMPT_MAX - 1] = address("2001:db8::7");
    struct ipaddr local = address("192.0.2.99"), local6 = address("2001:db8::7"), other = address("192.0.2.98");
    anonymize_ip(&a, &local);
    anonymize_ip(&a, &local6);
    anonymize_ip(&a, &other);
    assert_int_equal(local.bytes[3], 99);
    assert_int_equal(local6.bytes[15], 7);
    assert_int_equal(other.bytes[3], 0);
    a.exempt_count--;
    anonymize_ip(&a, &local6);
    assert_int_equal(local6.bytes[15], 0);
}

/* The order of a masked key must not depend on what was masked. */
static void keys_are_put_in_order_again(void **state)
{
    (void)state;
    struct flowkey key, same;
    char text[FLOWKEY_TEXT];
    struct ipaddr low = address("192.0.2.9"), middle = address("192.0.2.10"), high = address("192.0.2.11");
    flowkey_make(&key, 4, low.bytes, 9, middle.bytes, 8);
    same = key;
    anonymize_key(&none, &same);
    assert_memory_equal(&same, &key, sizeof(key));
    anonymize_key(&netblock, &key);
    assert_string_equal(flowkey_format(&key, text), "192.0.2.0:8<->192.0.2.0:9");
    struct anonymizer a = {.mode = ANONYMIZE_NETBLOCK, .exempt_count = 1, .exempt = {middle}};
    anonymize_key(&a, &same);
    assert_string_equal(flowkey_format(&same, text), "192.0.2.0:9<->192.0.2.10:8");
    flowkey_make(&same, 4, high.bytes, 9, middle.bytes, 8);
    anonymize_key(&a, &same);
    assert_string_equal(flowkey_format(&same, text), "192.0.2.0:9<->192.0.2.10:8");
}

/* ---- whole headers ---- */

static void none_changes_nothing(void **state)
{
    (void)state;
    struct guard g = guard_new(KIT_MAX);
    for (size_t i = 0; i < LENGTH(frame_rows); i++) {
        struct bytes b;
        struct frame f;
        if (frame_rows[i].outcome != SAVED)
            continue;
        copy_of(frame_rows[i].linktype, frame_rows[i].hex, &b, &f);
        uint8_t *at = guard_put(&g, b.at, b.len);
        anonymize_header(&none, frame_rows[i].linktype, at, b.len, f.l3_off, f.l4_off);
        assert_memory_equal(at, b.at, b.len);
    }
    guard_free(&g);
}

/* The whole of what netblock does to a packet, byte for byte. */
struct change {
    const char *name;
    const char *before, *after;
};

#define V4(ihl, total, src, dst, sum) ihl "00 " total " 0001 0000 4006 " sum " c00002" src " c63364" dst " "
#define TCP_SUM(offset_and_flags, sum) "3039 0050 00000001 00000002 " offset_and_flags " 0100 " sum " 0000 "
#define V6(payload, next) "60000000 " payload " " next " 40 20010db8 0005 10*(99) 20010db8 0006 10*(99) "
#define V6_MASKED(payload, next) "60000000 " payload " " next " 40 20010db8 0005 10*(00) 20010db8 0006 10*(00) "

#define NO_MACS "000000000000 000000000000 "

static const struct change changes[] = {
    {"plain IPv4, checksum wrong", E4 V4("45", "0028", "99", "99", "9999") TCP_SUM("5018", "9999"),
     NO_MACS "0800 " V4("45", "0028", "00", "00", "0000") TCP_SUM("5018", "0000")},
    {"plain IPv6", E6 V6("0014", "06") TCP_SUM("5018", "9999"),
     NO_MACS "86dd " V6_MASKED("0014", "06") TCP_SUM("5018", "0000")},
    {"mapped", E6 "60000000 0014 06 40 10*(00) ffff c0000299 10*(00) ffff c6336499 " TCP_SUM("5018", "9999"),
     NO_MACS "86dd "
             "60000000 0014 06 40 10*(00) ffff c0000200 10*(00) ffff c6336400 " TCP_SUM("5018", "0000")},
    {"one end mapped", E6 "60000000 0014 06 40 10*(00) ffff c0000299 20010db8 0005 10*(99) " TCP_SUM("5018", "9999"),
     NO_MACS "86dd "
             "60000000 0014 06 40 10*(00) ffff c0000200 20010db8 0005 10*(00) " TCP_SUM("5018", "0000")},
    {"record route", E4 V4("48", "0034", "99", "99", "0000") "0101 0708 08 99999999 00 01 01 " TCP,
     NO_MACS "0800 " V4("48", "0034", "00", "00", "0000") "0101 0708 00 00000000 00 01 01 " TCP},
    {"loose and strict source route",
     E4 V4("49", "0038", "99", "99", "0000") "8307 04 99999999 8907 08 99999999 0000 " TCP,
     NO_MACS "0800 " V4("49", "0038", "00", "00", "0000") "8307 00 00000000 8907 00 00000000 0000 " TCP},
    {"timestamps with addresses", E4 V4("48", "0034", "99", "99", "0000") "440c 0d01 99999999 99999999 " TCP,
     NO_MACS "0800 " V4("48", "0034", "00", "00", "0000") "440c 0000 00000000 00000000 " TCP},
    {"unknown option", E4 V4("46", "002c", "99", "99", "0000") "9e04 9999 " TCP,
     NO_MACS "0800 " V4("46", "002c", "00", "00", "0000") "9e04 0000 " TCP},
    {"end of options, then bytes", E4 V4("47", "0030", "99", "99", "0000") "01 00 999999999999 " TCP,
     NO_MACS "0800 " V4("47", "0030", "00", "00", "0000") "01 00 000000000000 " TCP},
    {"option length 1", E4 V4("47", "0030", "99", "99", "0000") "01 07 01 9999999999 " TCP,
     NO_MACS "0800 " V4("47", "0030", "00", "00", "0000") "01 00 00 0000000000 " TCP},
    {"option past the end", E4 V4("47", "0030", "99", "99", "0000") "01 07 08 9999999999 " TCP,
     NO_MACS "0800 " V4("47", "0030", "00", "00", "0000") "01 00 00 0000000000 " TCP},
    {"authentication header",
     E4 "4500 0040 0001 0000 4033 0000 c0000299 c6336499 0604 0000 00000001 00000002 12*(99) " TCP,
     NO_MACS "0800 "
             "4500 0040 0001 0000 4033 0000 c0000200 c6336400 0604 0000 00000001 00000002 12*(00) " TCP},
    {"routing header 0", E6 V6("002c", "2b") "0602 0001 00000000 16*(99) " TCP,
     NO_MACS "86dd " V6_MASKED("002c", "2b") "0602 0001 00000000 16*(00) " TCP},
    {"routing header 2", E6 V6("002c", "2b") "0602 0201 00000000 16*(99) " TCP,
     NO_MACS "86dd " V6_MASKED("002c", "2b") "0602 0201 00000000 16*(00) " TCP},
    {"segment routing, two segments and a TLV",
     E6 V6("0044", "2b") "0605 0401 01009999 32*(99) 0506 99999999 9999 " TCP,
     NO_MACS "86dd " V6_MASKED("0044", "2b") "0605 0401 00000000 32*(00) 0000 00000000 0000 " TCP},
    {"Home Address", E6 V6("002c", "3c") "0602 c910 16*(99) 0102 0000 " TCP,
     NO_MACS "86dd " V6_MASKED("002c", "3c") "0602 c910 16*(00) 0102 0000 " TCP},
    {"hop-by-hop: router alert, jumbo length and tunnel limit stay, padding and others go",
     E6 V6("0034", "00") "0603 0502 0000 c204 00011170 0401 04 0103 999999 3e04 99999999 0000 00000000 " TCP,
     NO_MACS "86dd " V6_MASKED(
         "0034", "00") "0603 0502 0000 c204 00011170 0401 04 0103 000000 3e04 00000000 0000 00000000 " TCP},
    {"destination option past the end", E6 V6("001c", "3c") "0600 c910 99999999 " TCP,
     NO_MACS "86dd " V6_MASKED("001c", "3c") "0600 0000 00000000 " TCP},
    {"a chain: every header is reached",
     E6 V6("0054", "00") "3c00 0104 99999999 2c00 0104 99999999 3300 0001 00000009 "
                         "2b04 0000 00000001 00000002 12*(99) 0600 0400 99999999 " TCP,
     NO_MACS "86dd " V6_MASKED("0054", "00") "3c00 0104 00000000 2c00 0104 00000000 3300 0001 00000009 "
                                             "2b04 0000 00000001 00000002 12*(00) 0600 0400 00000000 " TCP},
    {"harmless TCP options stay",
     E4 V4("45", "0050", "99", "99", "0000")
         TCP_OF("f018") "020405b4 0402 080a 0102030405060708 01 030307 0512 11*(11) "
                        "5*(12) 0101",
     NO_MACS "0800 " V4("45", "0050", "00", "00", "0000")
         TCP_OF("f018") "020405b4 0402 080a 0102030405060708 01 030307 0512 11*(11) "
                        "5*(12) 0101"},
    {"MPTCP ADD_ADDR", E4 V4("45", "0034", "99", "99", "0000") TCP_OF("8018") "1e08 3001 99999999 01010101",
     NO_MACS "0800 " V4("45", "0034", "00", "00", "0000") TCP_OF("8018") "1e08 0000 00000000 01010101"},
    {"Fast Open cookie", E4 V4("45", "0034", "99", "99", "0000") TCP_OF("8002") "220a 8*(99) 0101",
     NO_MACS "0800 " V4("45", "0034", "00", "00", "0000") TCP_OF("8002") "220a 8*(00) 0101"},
    {"options 19 and 29", E4 V4("45", "0044", "99", "99", "0000") TCP_OF("c018") "1312 16*(99) 1d0a 8*(99)",
     NO_MACS "0800 " V4("45", "0044", "00", "00", "0000") TCP_OF("c018") "1312 16*(00) 1d0a 8*(00)"},
    {"options 28, 76, 200 and 254",
     E4 V4("45", "0040", "99", "99", "0000") TCP_OF("b018") "1c04 9999 4c06 99999999 c804 9999 fe0a f9 7*(99)",
     NO_MACS "0800 " V4("45", "0040", "00", "00", "0000")
         TCP_OF("b018") "1c04 0000 4c06 00000000 c804 0000 fe0a 00 7*(00)"},
    {"known kinds of a wrong length",
     E4 V4("45", "0038", "99", "99", "0000") TCP_OF("9018") "0206 99999999 0806 99999999 0404 9999",
     NO_MACS "0800 " V4("45", "0038", "00", "00", "0000") TCP_OF("9018") "0206 00000000 0806 00000000 0404 0000"},
    {"flow label; the traffic class stays", E6 "6ab99999 0014 06 40 20010db8 0005 10*(99) 20010db8 0006 10*(99) " TCP,
     NO_MACS "86dd 6ab00000 0014 06 40 20010db8 0005 10*(00) 20010db8 0006 10*(00) " TCP},
    {"6to4", E6 "60000000 0014 06 40 2002c000 0299 10*(99) 2002c633 6499 10*(99) " TCP,
     NO_MACS "86dd 60000000 0014 06 40 2002c000 0200 10*(00) 2002c633 6400 10*(00) " TCP},
    {"behind a tag", MACS "8100 0005 0800 " V4("45", "0028", "99", "99", "0000") TCP,
     NO_MACS "8100 0005 0800 " V4("45", "0028", "00", "00", "0000") TCP},
};

/* Hostile inputs 13, 19, 24: what is wiped. */
static void netblock_byte_for_byte(void **state)
{
    (void)state;
    struct guard g = guard_new(KIT_MAX);
    for (size_t i = 0; i < LENGTH(changes); i++) {
        struct bytes b, after;
        struct frame f, again;
        copy_of(ETH, changes[i].before, &b, &f);
        kit_hex(changes[i].after, &after);
        assert_int_equal(after.len, b.len);
        uint8_t *at = guard_put(&g, b.at, b.len);
        anonymize_header(&netblock, ETH, at, b.len, f.l3_off, f.l4_off);
        for (uint32_t n = 0; n < b.len; n++)
            if (at[n] != after.at[n])
                fail_msg("%s: byte %u is %02x, not %02x", changes[i].name, n, at[n], after.at[n]);
        anonymize_header(&netblock, ETH, at, b.len, f.l3_off, f.l4_off); /* once more changes nothing */
        assert_memory_equal(at, after.at, b.len);
        assert_true(frame_from_copy(at, b.len, f.l3_off, f.l4_off, &again));
    }
    guard_free(&g);
}

/* A copy can be cut anywhere behind its IP header, and the offsets can be nonsense: never a byte too far, no secret
 * left. */
static void cut_copies(void **state)
{
    (void)state;
    static const char hex[] =
        E4 V4("45", "0050", "99", "99", "0000") TCP_SUM("f018", "9999") "0101 1e14 18*(99) 220a 8*(99) fe08 6*(99)";
    struct guard g = guard_new(KIT_MAX);
    struct bytes b;
    struct frame f;
    copy_of(ETH, hex, &b, &f);
    for (uint32_t len = 0; len <= b.len; len++) {
        uint8_t *at = guard_put(&g, b.at, len);
        anonymize_header(&netblock, ETH, at, len, f.l3_off, f.l4_off);
        if (memchr(at, SECRET, len))
            fail_msg("cut to %u: a secret is left", len);
    }
    static const uint32_t nonsense[][2] = {{34, 14}, {14, 14}, {14, 0xffffffff}, {0xffffffff, 0}, {14, 20}, {0, 34}};
    for (size_t i = 0; i < LENGTH(nonsense); i++) {
        uint8_t *at = guard_put(&g, b.at, 54);
        anonymize_header(&netblock, ETH, at, 54, nonsense[i][0], nonsense[i][1]);
        if (memchr(at, SECRET, 34))
            fail_msg("offsets %u and %u: an address is left", nonsense[i][0], nonsense[i][1]);
    }
    for (unsigned ihl = 0; ihl < 16; ihl++) { /* a header length that is not that of the copy */
        uint8_t *at = guard_put(&g, b.at, b.len);
        at[14] = (uint8_t)(0x40 | ihl);
        anonymize_header(&netblock, ETH, at, b.len, f.l3_off, f.l4_off);
        assert_null(memchr(at, SECRET, b.len));
    }
    guard_free(&g);
}

static void no_secret_survives(void **state)
{
    (void)state;
    for (size_t i = 0; i < LENGTH(frame_rows); i++) {
        struct bytes b;
        struct frame f;
        if (frame_rows[i].outcome != SAVED)
            continue;
        copy_of(frame_rows[i].linktype, frame_rows[i].hex, &b, &f);
        anonymize_header(&netblock, frame_rows[i].linktype, b.at, b.len, f.l3_off, f.l4_off);
        if (memchr(b.at, SECRET, b.len))
            fail_msg("%s: a secret is left", frame_rows[i].name);
    }
}

/* ---- the checksum ---- */

static const char plain[] = E4 V4("45", "0028", "00", "00", "0000") TCP_SUM("5018", "1234");
static const char routed[] = E4 V4("48", "0034", "00", "00", "0000") "0101 0708 08 c0000242 00 01 01 " TCP;

/* What the file shows of a packet whose source ended in this octet. */
static void observed(const struct anonymizer *a, const char *hex, unsigned octet, bool valid, struct bytes *b,
                     struct frame *f)
{
    copy_of(ETH, hex, b, f);
    uint8_t *ip = b->at + f->l3_off;
    ip[15] = (uint8_t)octet;
    ip4_sum_set(ip);
    if (!valid)
        ip[10] ^= 0x40;
    anonymize(a, b, f);
}

/* The attack: which of the 256 candidates, sent with a valid checksum, would have left these bytes? All, or none. */
static unsigned candidates(const struct anonymizer *a, const char *hex, const struct bytes *seen)
{
    unsigned fit = 0;
    for (unsigned octet = 0; octet < 256; octet++) {
        struct bytes b;
        struct frame f;
        observed(a, hex, octet, true, &b, &f);
        fit += b.len == seen->len && memcmp(b.at, seen->at, b.len) == 0;
    }
    return fit;
}

static void attack_fails(const struct anonymizer *a, const char *hex)
{
    for (unsigned octet = 0; octet < 256; octet += 15) {
        struct bytes seen;
        struct frame f;
        observed(a, hex, octet, true, &seen, &f);
        assert_int_equal(candidates(a, hex, &seen), 256);
        observed(a, hex, octet, false, &seen, &f);
        assert_int_equal(candidates(a, hex, &seen), 0);
    }
}

static void checksum_attack(void **state)
{
    (void)state;
    const struct anonymizer exempt = {
        .mode = ANONYMIZE_NETBLOCK, .exempt_count = 1, .exempt = {address("198.51.100.0")}};
    attack_fails(&netblock, plain);
    attack_fails(&netblock, routed);
    attack_fails(&exempt, plain);
    attack_fails(&exempt, routed);
    /* And the attack must be one that works: on an unmasked file it finds the octet. */
    struct bytes seen;
    struct frame f;
    observed(&none, plain, 77, true, &seen, &f);
    assert_int_equal(candidates(&none, plain, &seen), 1);
}

static void checksum_valid_stays_valid(void **state)
{
    (void)state;
    static const char *const packets[] = {plain, routed};
    for (size_t p = 0; p < LENGTH(packets); p++)
        for (unsigned octet = 0; octet < 256; octet++) {
            struct bytes b;
            struct frame f;
            observed(&netblock, packets[p], octet, true, &b, &f);
            assert_true(ip4_sum_valid(b.at + f.l3_off));
            assert_int_equal(b.at[f.l4_off + 16] | b.at[f.l4_off + 17], 0);
            observed(&netblock, packets[p], octet, false, &b, &f);
            assert_int_equal(b.at[f.l3_off + 10] | b.at[f.l3_off + 11], 0);
        }
}

/* One end exempt, the other masked: the checksum is right for what stands there. */
static void masked_and_exempt_in_one_header(void **state)
{
    (void)state;
    struct anonymizer a = {.mode = ANONYMIZE_NETBLOCK, .exempt_count = 2};
    struct bytes b;
    struct frame f;
    a.exempt[0] = address("198.51.100.153");
    a.exempt[1] = address("2001:db8:6:9999:9999:9999:9999:9999");
    copy_of(ETH, E4 V4("45", "0028", "99", "99", "0000") TCP, &b, &f);
    uint8_t *ip = b.at + f.l3_off;
    ip4_sum_set(ip);
    anonymize(&a, &b, &f);
    assert_int_equal(ip[15], 0);
    assert_int_equal(ip[19], 0x99);
    assert_true(ip4_sum_valid(ip));

    copy_of(ETH, E6 V6("0014", "06") TCP, &b, &f);
    anonymize(&a, &b, &f);
    ip = b.at + f.l3_off;
    assert_null(memchr(ip + 8, SECRET, 16));
    assert_memory_equal(ip + 24, a.exempt[1].bytes, 16);
}

/* ---- link addresses ---- */

struct link_case {
    int linktype;
    const char *link;      /* up to the IP header */
    const char *masked[2]; /* with the source masked, with the destination masked */
};

#define SECRET_MACS "029999999999 0a9999999999 "

static const struct link_case links[] = {
    {LINKTYPE_ETHERNET, SECRET_MACS "0800 ", {"029999999999 000000000000 0800 ", "000000000000 0a9999999999 0800 "}},
    {LINKTYPE_ETHERNET,
     SECRET_MACS "8100 0007 0800 ",
     {"029999999999 000000000000 8100 0007 0800 ", "000000000000 0a9999999999 8100 0007 0800 "}},
    {LINKTYPE_LINUX_SLL,
     "0000 0001 0006 0a99999999990000 0800 ",
     {"0000 0001 0006 0000000000000000 0800 ", "0000 0001 0006 0a99999999990000 0800 "}},
    {LINKTYPE_LINUX_SLL2,
     "0800 0000 00000002 0001 00 06 0a99999999990000 ",
     {"0800 0000 00000002 0001 00 06 0000000000000000 ", "0800 0000 00000002 0001 00 06 0a99999999990000 "}},
    {LINKTYPE_RAW, "", {"", ""}},
    {LINKTYPE_PPP, "ff03 0021 ", {"ff03 0021 ", "ff03 0021 "}},
    {LINKTYPE_NULL, "02000000 ", {"02000000 ", "02000000 "}},
};

/* The link address of a masked end goes, that of an exempt end stays; with all exempt nothing changes. */
static void link_addresses(void **state)
{
    (void)state;
    static struct anonymizer a = {.mode = ANONYMIZE_NETBLOCK};
    const struct ipaddr src = address("192.0.2.1"), dst = address("198.51.100.7");
    for (size_t i = 0; i < LENGTH(links); i++)
        for (unsigned exempt_ends = 0; exempt_ends < 4; exempt_ends++) {
            char hex[256];
            struct bytes b, source, destination, expected;
            struct frame f;
            a.exempt_count = 0;
            if (exempt_ends & 1)
                a.exempt[a.exempt_count++] = src;
            if (exempt_ends & 2)
                a.exempt[a.exempt_count++] = dst;
            (void)snprintf(hex, sizeof hex, "%s%s", links[i].link, IP4("0028") TCP);
            copy_of(links[i].linktype, hex, &b, &f);
            kit_hex(links[i].link, &expected);
            kit_hex(links[i].masked[0], &source);
            kit_hex(links[i].masked[1], &destination);
            for (uint32_t n = 0; n < expected.len; n++) {
                if (!(exempt_ends & 1))
                    expected.at[n] &= source.at[n];
                if (!(exempt_ends & 2))
                    expected.at[n] &= destination.at[n];
            }
            anonymize_header(&a, links[i].linktype, b.at, b.len, f.l3_off, f.l4_off);
            assert_int_equal(f.l3_off, expected.len);
            assert_memory_equal(b.at, expected.at, expected.len);
        }
}

/* A link header that is none, or of a type that nobody knows, is wiped. */
static void foreign_link_headers_are_wiped(void **state)
{
    (void)state;
    static const struct {
        int linktype;
        uint32_t link_len;
    } odd[] = {{LINKTYPE_ETHERNET, 11}, {LINKTYPE_LINUX_SLL, 15}, {LINKTYPE_LINUX_SLL2, 19}, {127, 30}, {-1, 1}};
    for (size_t i = 0; i < LENGTH(odd); i++) {
        struct bytes b;
        uint8_t hdr[128];
        kit_hex(IP4("0028") TCP, &b);
        memset(hdr, SECRET, sizeof hdr);
        memcpy(hdr + odd[i].link_len, b.at, b.len);
        anonymize_header(&netblock, odd[i].linktype, hdr, odd[i].link_len + b.len, odd[i].link_len,
                         odd[i].link_len + 20);
        assert_null(memchr(hdr, SECRET, odd[i].link_len + b.len));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses),
        cmocka_unit_test(exempt_addresses_stay),
        cmocka_unit_test(keys_are_put_in_order_again),
        cmocka_unit_test(none_changes_nothing),
        cmocka_unit_test(netblock_byte_for_byte),
        cmocka_unit_test(cut_copies),
        cmocka_unit_test(no_secret_survives),
        cmocka_unit_test(checksum_attack),
        cmocka_unit_test(checksum_valid_stays_valid),
        cmocka_unit_test(masked_and_exempt_in_one_header),
        cmocka_unit_test(link_addresses),
        cmocka_unit_test(foreign_link_headers_are_wiped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
