/* SPDX-License-Identifier: Apache-2.0
 * What is one packet on two interfaces, and what is not. */
#include "dispatcher/capture/dedup.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { IP = 14, TCP4 = IP + 20, TCP6 = IP + 40 };

static struct dedup *d;
static const struct siphash_key secret = {1, 2};

static int set_up(void **state)
{
    (void)state;
    d = dedup_new(&secret);
    return d ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    dedup_free(d);
    return 0;
}

/* An Ethernet frame over IPv4 or IPv6 with an empty TCP header. */
static void make(uint8_t frame[TCP6 + 20], int version)
{
    size_t tcp = version == 4 ? TCP4 : TCP6;
    memset(frame, 0, TCP6 + 20);
    frame[12] = version == 4 ? 0x08 : 0x86;
    frame[13] = version == 4 ? 0x00 : 0xdd;
    frame[IP] = version == 4 ? 0x45 : 0x60;
    if (version == 4) {
        frame[IP + 3] = 40; /* total length */
        frame[IP + 5] = 7;  /* identification */
        frame[IP + 8] = 64; /* TTL */
        frame[IP + 9] = 6;
        memcpy(frame + IP + 12, "\x0a\x00\x00\x01\x0a\x00\x00\x02", 8);
    } else {
        frame[IP + 3] = 9; /* flow label */
        frame[IP + 5] = 20;
        frame[IP + 6] = 6;
        frame[IP + 7] = 64;
        frame[IP + 23] = 1;
        frame[IP + 39] = 2;
    }
    memcpy(frame + tcp, "\x01\xbb\x12\x34\x00\x00\x00\x05\x00\x00\x00\x06\x50\x10\x01\x00\xab\xcd\x00\x00", 20);
}

static bool seen(const uint8_t *bytes, int version, uint32_t if_index, int64_t ms)
{
    struct frame f;
    uint32_t len = version == 4 ? TCP4 + 20 : TCP6 + 20;
    assert_int_equal(frame_parse(bytes, len, len, LINKTYPE_ETHERNET, &f), CAUSE_NONE);
    return dedup_seen(d, &f, bytes, flowkey_hash(&f.key, &secret), if_index, (struct instant){ms * NS_PER_MS});
}

static void test_twice_on_two_interfaces(void **state)
{
    (void)state;
    uint8_t p[TCP6 + 20];
    for (int version = 4; version <= 6; version += 2) {
        make(p, version);
        assert_false(seen(p, version, 1, 0));
        assert_true(seen(p, version, 2, 1));
        assert_true(seen(p, version, 3, 2)); /* and on a third */
    }
}

static void test_what_a_router_changes(void **state)
{
    (void)state;
    uint8_t p[TCP6 + 20];
    make(p, 4);
    assert_false(seen(p, 4, 1, 0));
    memset(p, 0x42, 12); /* MAC addresses */
    p[IP + 1] = 0xb8;    /* DSCP */
    p[IP + 8] = 63;      /* TTL */
    p[IP + 10] = 0x12;   /* header checksum */
    p[TCP4 + 16] = 0x77; /* TCP checksum: made late by some interfaces */
    assert_true(seen(p, 4, 2, 1));
    make(p, 6);
    assert_false(seen(p, 6, 1, 2));
    p[IP] = 0x6b; /* traffic class */
    p[IP + 1] = 0x80;
    p[IP + 7] = 63; /* hop limit */
    assert_true(seen(p, 6, 2, 3));
}

static void test_retransmissions_are_no_duplicates(void **state)
{
    (void)state;
    uint8_t p[TCP6 + 20];
    make(p, 4);
    assert_false(seen(p, 4, 1, 0));
    assert_true(seen(p, 4, 2, 1));
    assert_false(seen(p, 4, 1, 2)); /* the same bytes again, as with DF and identification 0 */
    assert_true(seen(p, 4, 2, 3));
}

static void test_other_packets_are_no_duplicates(void **state)
{
    (void)state;
    static const size_t changed[] = {IP + 3,   IP + 5,   IP + 15,   IP + 19,  TCP4 + 1,
                                     TCP4 + 3, TCP4 + 7, TCP4 + 11, TCP4 + 15};
    uint8_t p[TCP6 + 20];
    make(p, 4);
    assert_false(seen(p, 4, 1, 0));
    for (size_t i = 0; i < sizeof changed / sizeof changed[0]; i++) {
        make(p, 4);
        p[changed[i]] ^= 0x10;
        if (changed[i] == IP + 3)
            p[changed[i]] = 0; /* as with TSO: the length of the frame counts */
        assert_false(seen(p, 4, 2, 1));
    }
    /* the other direction of the same flow */
    make(p, 4);
    memcpy(p + IP + 12, "\x0a\x00\x00\x02\x0a\x00\x00\x01", 8);
    memcpy(p + TCP4, "\x12\x34\x01\xbb", 4);
    assert_false(seen(p, 4, 2, 1));
}

static void test_forgotten_after_the_window(void **state)
{
    (void)state;
    uint8_t p[TCP6 + 20];
    make(p, 4);
    assert_false(seen(p, 4, 1, 0));
    assert_true(seen(p, 4, 2, 1000)); /* and seen again: the window starts anew */
    assert_true(seen(p, 4, 2, 2000));
    assert_false(seen(p, 4, 2, 3001));
}

/* More packets than places: the newest are remembered, and nothing that is not a duplicate is called one. */
static void test_more_than_fit(void **state)
{
    (void)state;
    uint8_t p[TCP6 + 20];
    make(p, 4);
    const uint32_t count = 600000;
    unsigned remembered = 0;
    for (uint32_t i = 0; i < count; i++) {
        memcpy(p + TCP4 + 4, &i, 4);
        assert_false(seen(p, 4, 1, i / 1000));
        remembered += seen(p, 4, 2, i / 1000);
    }
    assert_int_equal(remembered, count);
    unsigned late = 0;
    for (uint32_t i = count - 50000; i < count; i++) {
        memcpy(p + TCP4 + 4, &i, 4);
        late += seen(p, 4, 3, count / 1000);
    }
    assert_true(late > 49000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_twice_on_two_interfaces, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_a_router_changes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_retransmissions_are_no_duplicates, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_other_packets_are_no_duplicates, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_forgotten_after_the_window, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_more_than_fit, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
