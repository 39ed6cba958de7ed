/* SPDX-License-Identifier: Apache-2.0
 * The kernel filter's text, by what it lets through: compiled by libpcap, run over small frames. */
#include "dispatcher/capture/filter.h"

#include <pcap/pcap.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "shared/frame.h"

#define FRAME 1024

static char text[1 << 18], whole[1 << 18];

/* Instructions, or -1 if it does not compile. */
static int compile(int dlt, const char *filter, struct bpf_program *out)
{
    pcap_t *p = pcap_open_dead(dlt, 256);
    assert_non_null(p);
    int rc = pcap_compile(p, out, filter, 1, PCAP_NETMASK_UNKNOWN);
    if (rc != 0)
        print_message("%s\n", pcap_geterr(p));
    pcap_close(p);
    return rc == 0 ? (int)out->bf_len : -1;
}

static bool passes(int dlt, const char *filter, const uint8_t *frame, uint32_t len)
{
    struct bpf_program program;
    struct pcap_pkthdr h = {.caplen = len, .len = len};
    assert_true(compile(dlt, filter, &program) > 0);
    bool yes = pcap_offline_filter(&program, &h, frame) != 0;
    pcap_freecode(&program);
    return yes;
}

struct shape {
    unsigned tags;    /* VLAN tags in the bytes */
    int version;      /* 4 or 6 */
    uint8_t next[18]; /* IPv6: header types from the fixed header on; IPv4: the protocol */
    unsigned headers; /* how many of them */
    uint8_t words; /* each extension header has 8 bytes and so many times 8 more; fragment headers keep 8, AH has 24 */
};

/* An Ethernet frame from 192.0.2.1 or 2001:db8::1 to ..2. Returns its length. */
static uint32_t make(uint8_t *f, const struct shape *s)
{
    uint8_t *p = f + 12;
    memset(f, 0, FRAME);
    for (unsigned i = 0; i < s->tags; i++, p += 4) {
        p[0] = i == 0 && s->tags > 1 ? 0x88 : 0x81;
        p[1] = i == 0 && s->tags > 1 ? 0xa8 : 0x00;
    }
    if (s->version == 4) {
        static const uint8_t ip[20] = {0x45, 0, 0, 40, 0, 0, 0, 0, 64, 0, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2};
        *p++ = 0x08;
        *p++ = 0x00;
        memcpy(p, ip, sizeof ip);
        p[9] = s->next[0];
        return (uint32_t)(p + 40 - f);
    }
    *p++ = 0x86;
    *p++ = 0xdd;
    p[0] = 0x60;
    p[6] = s->next[0];
    p[8] = p[24] = 0x20;
    p[9] = p[25] = 0x01;
    p[10] = p[26] = 0x0d;
    p[11] = p[27] = 0xb8;
    p[23] = 1;
    p[39] = 2;
    p += 40;
    for (unsigned i = 1; i < s->headers; i++) {
        p[0] = s->next[i];
        p[1] = s->next[i - 1] == 51 ? 4 : s->words;
        p += s->next[i - 1] == 44 ? 8 : s->next[i - 1] == 51 ? 24 : 8 + 8 * s->words;
    }
    return (uint32_t)(p + 20 - f);
}

static struct ipaddr address(const char *name)
{
    struct ipaddr a;
    assert_int_equal(ipaddr_parse(name, &a), SC_OK);
    return a;
}

static const struct {
    struct shape shape;
    bool passes;
} shapes[] = {
    {{0, 4, {6}, 1, 0}, true},
    {{0, 4, {17}, 1, 0}, false},
    {{1, 4, {6}, 1, 0}, true},
    {{2, 4, {6}, 1, 0}, true},
    {{3, 4, {6}, 1, 0}, true},
    {{1, 4, {17}, 1, 0}, false},
    {{2, 4, {1}, 1, 0}, false},
    {{0, 6, {6}, 1, 0}, true},
    {{0, 6, {17}, 1, 0}, false},
    {{0, 6, {58}, 1, 0}, false},
    {{0, 6, {0, 6}, 2, 0}, true},
    {{0, 6, {0, 58}, 2, 0}, false},
    {{0, 6, {60, 6}, 2, 0}, true},
    {{0, 6, {43, 6}, 2, 0}, true},
    {{0, 6, {44, 6}, 2, 0}, true},
    {{0, 6, {51, 6}, 2, 0}, true},
    {{0, 6, {0, 60, 43, 6}, 4, 0}, true},
    {{0, 6, {44, 17}, 2, 0}, false},
    /* walked: what they lead to is known */
    {{0, 6, {0, 60, 17}, 3, 0}, false},
    {{0, 6, {0, 60, 58}, 3, 0}, false},
    {{0, 6, {60, 44, 17}, 3, 0}, false},
    {{0, 6, {0, 43, 6}, 3, 0}, true},
    {{0, 6, {0, 43, 60, 17}, 4, 0}, false},
    {{0, 6, {0, 43, 60, 6}, 4, 0}, true},
    {{0, 6, {60, 60, 17}, 3, 7}, false},
    {{0, 6, {60, 60, 6}, 3, 7}, true},
    {{0, 6, {60, 60, 60, 17}, 4, 9}, false},
    {{0, 6, {60, 60, 60, 6}, 4, 9}, true},
    {{0, 6, {43, 44, 60, 17}, 4, 0}, false},
    {{0, 6, {43, 44, 60, 6}, 4, 3}, true},
    {{0, 6, {60, 0, 43, 44, 60, 60, 60, 60, 60, 60, 60, 60, 60, 60, 60, 60, 6}, 17, 1}, true},
    /* not walked any further: let in */
    {{0, 6, {0, 60, 43, 60, 17}, 5, 0}, true},
    {{0, 6, {51, 60, 17}, 3, 0}, true},
    {{0, 6, {51, 60, 6}, 3, 0}, true},
    {{0, 6, {0, 51, 60, 6}, 4, 2}, true},
    {{0, 6, {0, 51, 60, 17}, 4, 2}, true},
    {{0, 6, {44, 60, 6}, 3, 5}, true},
    {{0, 6, {51, 17}, 2, 0}, false},
    {{2, 6, {0, 60, 17}, 3, 0}, false},
    {{1, 6, {0, 60, 43, 17}, 4, 2}, false},
    {{1, 6, {0, 60, 43, 6}, 4, 2}, true},
    {{3, 6, {60, 60, 6}, 3, 1}, true},
    {{1, 6, {51, 60, 6}, 3, 0}, true},
    {{1, 6, {6}, 1, 0}, true},
    {{1, 6, {0, 6}, 2, 0}, true},
    {{1, 6, {0, 58}, 2, 0}, false},
    {{3, 6, {60, 44, 6}, 3, 0}, true},
    {{1, 6, {17}, 1, 0}, false},
};

static void test_shapes(void **state)
{
    struct ipaddr hosts[] = {address("192.0.2.1"), address("2001:db8::2"), address("198.51.100.7")};
    struct ipaddr others[] = {address("192.0.2.9"), address("2001:db8::9")};
    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        uint8_t frame[FRAME];
        uint32_t len = make(frame, &shapes[i].shape);
        print_message("shape %zu\n", i);
        for (int detail = 0; detail < FILTER_DETAILS; detail++) {
            assert_int_equal(filter_builtin(text, sizeof text, LINKTYPE_ETHERNET, NULL, 0, (enum filter_detail)detail),
                             SC_OK);
            assert_int_equal(passes(DLT_EN10MB, text, frame, len), shapes[i].passes);
            assert_int_equal(filter_builtin(text, sizeof text, LINKTYPE_ETHERNET, hosts, 3, (enum filter_detail)detail),
                             SC_OK);
            assert_int_equal(passes(DLT_EN10MB, text, frame, len), shapes[i].passes);
        }
        /* Foreign addresses stay out; behind one tag too, if it is exact. */
        assert_int_equal(filter_builtin(text, sizeof text, LINKTYPE_ETHERNET, others, 2, FILTER_EXACT), SC_OK);
        assert_int_equal(passes(DLT_EN10MB, text, frame, len), shapes[i].passes && shapes[i].shape.tags > 1);
    }
}

static uint32_t next_random(uint32_t *state)
{
    return (*state = *state * 1664525u + 1013904223u) >> 16;
}

/* Whatever stands in the chain, and wherever the frame ends: what the parser takes is let in. */
static void test_never_less_than_the_parser_takes(void **state)
{
    static const uint8_t extension[] = {0, 43, 44, 51, 60, 60, 43, 0};
    struct bpf_program program;
    uint8_t frame[FRAME * 4];
    uint32_t random = 1, taken = 0;
    (void)state;
    assert_int_equal(filter_builtin(text, sizeof text, LINKTYPE_ETHERNET, NULL, 0, FILTER_EXACT), SC_OK);
    assert_true(compile(DLT_EN10MB, text, &program) > 0);
    for (int i = 0; i < 20000; i++) {
        struct shape s = {.tags = next_random(&random) % 4, .version = 6};
        s.headers = 1 + next_random(&random) % 17;
        for (unsigned j = 0; j + 1 < s.headers; j++)
            s.next[j] = extension[next_random(&random) % sizeof extension];
        s.next[s.headers - 1] = 6;
        s.words = (uint8_t)(next_random(&random) % 3);
        uint32_t len = make(frame, &s);
        frame[len - 20 + 12] = 0x50;
        if (s.headers > 1 && next_random(&random) % 4 == 0)
            frame[14 + 4 * s.tags + 40 + 1] = (uint8_t)next_random(&random); /* another length, or something reserved */
        struct pcap_pkthdr h = {.caplen = len, .len = len};
        struct frame f;
        if (frame_parse(frame, len, len, LINKTYPE_ETHERNET, &f) != CAUSE_NONE)
            continue;
        taken++;
        if (pcap_offline_filter(&program, &h, frame) == 0)
            fail_msg("frame %d: %u tags, %u headers: not let in", i, s.tags, s.headers - 1);
    }
    pcap_freecode(&program);
    assert_true(taken > 10000);
}

static void test_one_family_only(void **state)
{
    struct ipaddr v4 = address("192.0.2.1"), v6 = address("2001:db8::1");
    uint8_t frame4[FRAME], frame6[FRAME];
    uint32_t len4 = make(frame4, &(struct shape){1, 4, {6}, 1, 0}),
             len6 = make(frame6, &(struct shape){1, 6, {6}, 1, 0});
    (void)state;
    assert_int_equal(filter_builtin(text, sizeof text, LINKTYPE_ETHERNET, &v4, 1, FILTER_EXACT), SC_OK);
    assert_true(passes(DLT_EN10MB, text, frame4, len4));
    assert_false(passes(DLT_EN10MB, text, frame6, len6));
    assert_int_equal(filter_builtin(text, sizeof text, LINKTYPE_ETHERNET, &v6, 1, FILTER_EXACT), SC_OK);
    assert_false(passes(DLT_EN10MB, text, frame4, len4));
    assert_true(passes(DLT_EN10MB, text, frame6, len6));
}

static void test_compiles_for_every_linktype(void **state)
{
    static const int types[][2] = {
        {DLT_NULL, LINKTYPE_NULL}, {DLT_EN10MB, LINKTYPE_ETHERNET},
        {DLT_PPP, LINKTYPE_PPP},   {DLT_RAW, LINKTYPE_RAW},
        {DLT_LOOP, LINKTYPE_LOOP}, {DLT_LINUX_SLL, LINKTYPE_LINUX_SLL},
        {DLT_IPV4, LINKTYPE_IPV4}, {DLT_LINUX_SLL2, LINKTYPE_LINUX_SLL2},
    };
    struct ipaddr hosts[] = {address("192.0.2.1"), address("2001:db8::1")};
    (void)state;
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        for (size_t n = 0; n <= 2; n++) {
            struct bpf_program program;
            assert_int_equal(filter_builtin(text, sizeof text, types[i][1], hosts, n, FILTER_EXACT), SC_OK);
            assert_true(compile(types[i][0], text, &program) > 0);
            pcap_freecode(&program);
        }
}

/* The coarser forms must bring any number of addresses that is named below the kernel's limit. */
static void test_many_addresses(void **state)
{
    static struct ipaddr hosts[256];
    int length[FILTER_DETAILS];
    (void)state;
    for (unsigned i = 0; i < 256; i++) {
        char name[64];
        snprintf(name, sizeof name, i % 2 ? "2001:db8:0:%x::%x" : "198.51.%u.%u", i, i);
        hosts[i] = address(name);
    }
    for (int d = 0; d < FILTER_DETAILS; d++) {
        struct bpf_program program;
        assert_int_equal(filter_builtin(text, sizeof text, LINKTYPE_ETHERNET, hosts, 256, (enum filter_detail)d),
                         SC_OK);
        length[d] = compile(DLT_EN10MB, text, &program);
        assert_true(length[d] > 0);
        print_message("detail %d: %d instructions, %zu bytes of text\n", d, length[d], strlen(text));
        pcap_freecode(&program);
    }
    assert_true(length[0] > length[1] && length[1] > length[2]);
    assert_true(length[FILTER_NO_HOSTS] < FILTER_KERNEL_MAX / 8);
}

static void test_user_filter(void **state)
{
    uint8_t frame[FRAME];
    uint32_t len = make(frame, &(struct shape){0, 4, {6}, 1, 0});
    (void)state;
    assert_int_equal(filter_builtin(text, sizeof text, LINKTYPE_ETHERNET, NULL, 0, FILTER_EXACT), SC_OK);
    assert_int_equal(filter_and(whole, sizeof whole, text, "host 192.0.2.1 or udp"), SC_OK);
    assert_true(passes(DLT_EN10MB, whole, frame, len));
    assert_int_equal(filter_and(whole, sizeof whole, text, "host 192.0.2.77 or udp"), SC_OK);
    assert_false(passes(DLT_EN10MB, whole, frame, len));
    assert_int_equal(filter_and(whole, sizeof whole, text, ""), SC_OK);
    assert_string_equal(whole, text);
    assert_int_equal(filter_and(whole, sizeof whole, text, NULL), SC_OK);
    assert_string_equal(whole, text);
}

/* Cut at every length: refused, never cut. */
static void test_no_room(void **state)
{
    struct ipaddr hosts[] = {address("192.0.2.1"), address("2001:db8::1")};
    (void)state;
    assert_int_equal(filter_builtin(text, sizeof text, LINKTYPE_ETHERNET, hosts, 2, FILTER_EXACT), SC_OK);
    size_t need = strlen(text) + 1;
    for (size_t cap = 0; cap < need; cap++)
        assert_int_equal(filter_builtin(text, cap, LINKTYPE_ETHERNET, hosts, 2, FILTER_EXACT), SC_ETOOLONG);
    assert_int_equal(filter_builtin(text, need, LINKTYPE_ETHERNET, hosts, 2, FILTER_EXACT), SC_OK);
    assert_int_equal(filter_and(whole, 14, "tcp", "udp"), SC_ETOOLONG);
    assert_int_equal(filter_and(whole, 16, "tcp", "udp"), SC_OK);
    assert_string_equal(whole, "(tcp) and (udp)");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shapes),          cmocka_unit_test(test_never_less_than_the_parser_takes),
        cmocka_unit_test(test_one_family_only), cmocka_unit_test(test_compiles_for_every_linktype),
        cmocka_unit_test(test_many_addresses),  cmocka_unit_test(test_user_filter),
        cmocka_unit_test(test_no_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
