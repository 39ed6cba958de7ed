/* SPDX-License-Identifier: Apache-2.0
 * libpcap's door: link types, savefiles of every byte order and unit, cut ones, filters on savefiles. (Interfaces need
 * a network namespace: tests/integration.) */
#include "dispatcher/capture/capture.h"

#include <pcap/pcap.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "shared/frame.h"

struct file {
    uint8_t bytes[4096];
    size_t len, off;
    bool big;
};

static ssize_t reader(void *ctx, void *buf, size_t n)
{
    struct file *f = ctx;
    if (n > f->len - f->off)
        n = f->len - f->off;
    memcpy(buf, f->bytes + f->off, n);
    f->off += n;
    return (ssize_t)n;
}

static void put(struct file *f, uint64_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        f->bytes[f->len++] = (uint8_t)(value >> 8 * (f->big ? bytes - 1 - i : i));
}

static void head(struct file *f, bool big, uint32_t magic, uint32_t linktype)
{
    *f = (struct file){.big = big};
    put(f, magic, 4);
    put(f, 2, 2);
    put(f, 4, 2);
    put(f, 0, 8);
    put(f, 65535, 4);
    put(f, linktype, 4);
}

static void record(struct file *f, uint32_t s, uint32_t fraction, uint32_t caplen, uint32_t len)
{
    put(f, s, 4);
    put(f, fraction, 4);
    put(f, caplen, 4);
    put(f, len, 4);
    for (uint32_t i = 0; i < caplen; i++)
        put(f, i, 1);
}

struct got {
    unsigned count;
    struct captured last;
    struct capture *capture;
    unsigned matched;
};

static void on_packet(void *ctx, const struct captured *p)
{
    struct got *g = ctx;
    g->count++;
    g->last = *p;
    g->matched += capture_matches(g->capture, p);
    for (uint32_t i = 0; i < p->caplen; i++)
        assert_int_equal(p->bytes[i], i & 0xff);
}

static char error[CAPTURE_ERROR];

/* Opens and reads all; returns the last answer of capture_dispatch, or that of opening. */
static int read_all(struct file *f, struct got *g, int *linktype)
{
    memset(g, 0, sizeof *g);
    int rc = capture_open_savefile(reader, f, &g->capture, error);
    if (rc != SC_OK)
        return rc;
    *linktype = capture_linktype(g->capture);
    assert_int_equal(capture_fd(g->capture), -1);
    while ((rc = capture_dispatch(g->capture, 2, on_packet, g, error)) > 0) {
    }
    capture_close(g->capture);
    return rc;
}

static void test_linktypes(void **state)
{
    static const int pairs[][2] = {
        {DLT_NULL, 0},        {DLT_EN10MB, 1}, {DLT_PPP, 9},    {DLT_RAW, 101},        {DLT_LOOP, 108},
        {DLT_LINUX_SLL, 113}, {DLT_IPV4, 228}, {DLT_IPV6, 229}, {DLT_LINUX_SLL2, 276}, {DLT_IEEE802_11, 105},
    };
    (void)state;
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++)
        assert_int_equal(capture_linktype_of(pairs[i][0]), pairs[i][1]);
}

static void test_orders_and_units(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 8; i++) {
        struct file f;
        struct got g;
        int linktype = -1;
        bool nano = i & 1, big = i & 2;
        head(&f, big, nano ? 0xa1b23c4d : 0xa1b2c3d4, i & 4 ? 101 : 1);
        record(&f, 1700000000, 123456, 60, 60);
        record(&f, 4294967295, 999999, 100, 1500); /* beyond 2106 in 32 bit, the last second of it */
        assert_int_equal(read_all(&f, &g, &linktype), 0);
        assert_int_equal(linktype, i & 4 ? LINKTYPE_RAW : LINKTYPE_ETHERNET);
        assert_int_equal(g.count, 2);
        assert_int_equal(g.matched, 2); /* without a filter all match */
        assert_int_equal(g.last.caplen, 100);
        assert_int_equal(g.last.wire_len, 1500);
        assert_int_equal(g.last.ts.ns, INT64_C(4294967295000000000) + (nano ? 999999 : 999999000));
    }
}

static void test_cut_at_every_byte(void **state)
{
    struct file whole;
    (void)state;
    head(&whole, false, 0xa1b2c3d4, 1);
    record(&whole, 1, 1, 20, 20);
    record(&whole, 2, 2, 20, 20);
    for (size_t cut = 0; cut < whole.len; cut++) {
        struct file f = whole;
        struct got g;
        int linktype;
        f.len = cut;
        error[0] = '\0';
        int rc = read_all(&f, &g, &linktype);
        bool at_border = cut == 24 || cut == 24 + 36;
        assert_int_equal(rc, at_border ? 0 : SC_EFORMAT);
        assert_int_equal(g.count, cut < 24 + 36 ? 0 : 1);
        assert_true(at_border || strlen(error) > 10);
    }
}

/* Hostile input 28. */
static void test_bad_lengths(void **state)
{
    static const struct {
        uint32_t caplen, len;
        bool refused;
    } cases[] = {{20, 10, false}, {0, 0, false}, {0x7fffffff, 0x7fffffff, true}, {20, 0xffffffff, false}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct file f;
        struct got g;
        int linktype;
        head(&f, false, 0xa1b2c3d4, 1);
        record(&f, 1, 1, 20, 20);
        put(&f, 1, 8);
        put(&f, cases[i].caplen, 4);
        put(&f, cases[i].len, 4);
        for (uint32_t k = 0; k < cases[i].caplen && k < 20; k++)
            put(&f, k, 1);
        assert_int_equal(read_all(&f, &g, &linktype), cases[i].refused ? SC_EFORMAT : 0);
        assert_int_equal(g.count, cases[i].refused ? 1 : 2);
        if (!cases[i].refused)
            assert_int_equal(g.last.wire_len, cases[i].len);
    }
}

/* Hostile input 30. */
static void test_unknown_linktype_is_named(void **state)
{
    struct file f;
    struct got g;
    int linktype;
    (void)state;
    head(&f, false, 0xa1b2c3d4, 105);
    assert_int_equal(read_all(&f, &g, &linktype), SC_EVERSION);
    assert_non_null(strstr(error, "IEEE802_11 (105)"));
    f = (struct file){.len = 100};
    assert_int_equal(read_all(&f, &g, &linktype), SC_EFORMAT);
}

/* pcapng: a section header, and an interface description per link type; one packet on the last. */
static void pcapng(struct file *f, bool big, const unsigned *linktypes, unsigned count, unsigned tsresol)
{
    *f = (struct file){.big = big};
    put(f, 0x0a0d0d0a, 4);
    put(f, 28, 4);
    put(f, 0x1a2b3c4d, 4);
    put(f, 1, 2);
    put(f, 0, 2);
    put(f, UINT64_MAX, 8);
    put(f, 28, 4);
    for (unsigned i = 0; i < count; i++) {
        put(f, 1, 4);
        put(f, 32, 4);
        put(f, linktypes[i], 2);
        put(f, 0, 2);
        put(f, 0, 4); /* no limit */
        put(f, 9, 2); /* if_tsresol */
        put(f, 1, 2);
        put(f, tsresol, 1);
        put(f, 0, 3);
        put(f, 0, 4);
        put(f, 32, 4);
    }
    uint64_t t = UINT64_C(1700000000) * (tsresol == 9 ? 1000000000 : 1000) + 7;
    put(f, 6, 4);
    put(f, 32 + 20, 4);
    put(f, count - 1, 4);
    put(f, t >> 32, 4);
    put(f, (uint32_t)t, 4);
    put(f, 20, 4);
    put(f, 40, 4);
    for (unsigned i = 0; i < 20; i++)
        put(f, i, 1);
    put(f, 32 + 20, 4);
}

static void test_pcapng(void **state)
{
    static const unsigned same[] = {1, 1}, mixed[] = {1, 101};
    (void)state;
    for (int i = 0; i < 4; i++) {
        struct file f;
        struct got g;
        int linktype = -1;
        pcapng(&f, i & 1, same, 2, i & 2 ? 9 : 3);
        assert_int_equal(read_all(&f, &g, &linktype), 0);
        assert_int_equal(g.count, 1);
        assert_int_equal(g.last.wire_len, 40);
        assert_int_equal(g.last.ts.ns, INT64_C(1700000000000000000) + (i & 2 ? 7 : 7000000));
        pcapng(&f, i & 1, mixed, 2, 9);
        assert_int_equal(read_all(&f, &g, &linktype), SC_EFORMAT);
        assert_non_null(strstr(error, "type"));
    }
}

static void test_filter(void **state)
{
    struct file f;
    struct got g = {0};
    (void)state;
    head(&f, false, 0xa1b2c3d4, 1);
    record(&f, 1, 1, 20, 20);
    record(&f, 1, 1, 40, 40);
    assert_int_equal(capture_open_savefile(reader, &f, &g.capture, error), SC_OK);
    assert_int_equal(capture_filter(g.capture, "len > 30", error), SC_OK);
    assert_int_equal(capture_filter(g.capture, "no such word here", error), SC_EFORMAT);
    assert_true(strlen(error) > 5);
    assert_int_equal(capture_filter_check(g.capture, "tcp) or (udp", error), SC_EFORMAT);
    assert_int_equal(capture_filter_check(g.capture, "tcp or udp", error), SC_OK);
    assert_int_equal(capture_dispatch(g.capture, 10, on_packet, &g, error), 2);
    assert_int_equal(g.matched, 1); /* the filter from before the failure */
    assert_int_equal(capture_stats(g.capture).received, 0);
    capture_close(g.capture);
    capture_close(NULL);
}

static void test_no_such_interface(void **state)
{
    struct capture *c = NULL;
    (void)state;
    assert_true(capture_open_interface("nosuchif0", 256, 1000000, &c, error) < 0);
    assert_null(c);
    assert_true(strlen(error) > 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_linktypes),
        cmocka_unit_test(test_orders_and_units),
        cmocka_unit_test(test_cut_at_every_byte),
        cmocka_unit_test(test_bad_lengths),
        cmocka_unit_test(test_unknown_linktype_is_named),
        cmocka_unit_test(test_pcapng),
        cmocka_unit_test(test_filter),
        cmocka_unit_test(test_no_such_interface),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
