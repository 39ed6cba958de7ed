/* SPDX-License-Identifier: Apache-2.0
 * What single packets do to the numbers of a connection. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "dispatcher/ctl/flowstat.h"

enum { HEAD = 20 + 20 + 12 }; /* IPv4, TCP, timestamps */

static struct flowstat stat;
static struct flowstat_packet what;

static int fresh(void **state)
{
    (void)state;
    stat = (struct flowstat){.handshake_ns = {-1, -1}};
    return 0;
}

static void put16(uint8_t *p, unsigned v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

static void put32(uint8_t *p, uint32_t v)
{
    put16(p, v >> 16);
    put16(p + 2, v & 0xffff);
}

/* A packet of raw IPv4 between 10.0.0.1:1000 (side 0) and 10.0.0.2:2000, of which only the headers were captured. */
static enum flowstat_kind send(int64_t ms, unsigned side, unsigned flags, uint32_t seq, unsigned len, uint32_t ack,
                               uint32_t tsval, uint32_t tsecr)
{
    uint8_t p[HEAD] = {0x45};
    put16(p + 2, HEAD + len);
    p[8] = 64;
    p[9] = 6;
    p[12] = p[16] = 10;
    p[15] = (uint8_t)(side ? 2 : 1);
    p[19] = (uint8_t)(side ? 1 : 2);
    put16(p + 20, side ? 2000 : 1000);
    put16(p + 22, side ? 1000 : 2000);
    put32(p + 24, seq);
    put32(p + 28, ack);
    p[32] = 8 << 4;
    p[33] = (uint8_t)flags;
    memcpy(p + 40, "\x01\x01\x08\x0a", 4);
    put32(p + 44, tsval);
    put32(p + 48, tsecr);
    flowstat_add(&stat, p, HEAD, HEAD + len, LINKTYPE_IPV4, (struct wall){ms * NS_PER_MS + 1}, &what);
    return what.kind;
}

static enum flowstat_kind data(uint32_t seq, unsigned len)
{
    return send(1, 0, TCP_ACK, seq, len, 1, 1, 1);
}

static void kinds_of_segments(void **state)
{
    (void)state;
    assert_int_equal(data(1000, 100), FLOWSTAT_NEW);
    assert_int_equal(data(1000, 0), FLOWSTAT_EMPTY);
    assert_int_equal(data(1000, 100), FLOWSTAT_RETRANSMISSION);
    assert_int_equal(data(1050, 50), FLOWSTAT_RETRANSMISSION);
    assert_int_equal(data(1050, 100), FLOWSTAT_NEW); /* half of it */
    assert_int_equal(data(1250, 100), FLOWSTAT_NEW); /* leaves a gap of 100 */
    assert_int_equal(data(1180, 20), FLOWSTAT_OUT_OF_ORDER);
    assert_int_equal(data(1180, 20), FLOWSTAT_RETRANSMISSION);
    assert_int_equal(data(1150, 30), FLOWSTAT_OUT_OF_ORDER);
    assert_int_equal(data(1190, 60), FLOWSTAT_OUT_OF_ORDER); /* half of it was there */
    assert_int_equal(data(1150, 100), FLOWSTAT_RETRANSMISSION);
    assert_int_equal(data(900, 100), FLOWSTAT_OUT_OF_ORDER); /* before all that we saw */
    assert_int_equal(data(1400, 100), FLOWSTAT_NEW);         /* a gap of 50 */
    assert_int_equal(data(1350, 200), FLOWSTAT_NEW);         /* fills it on its way */
    assert_int_equal(data(1350, 50), FLOWSTAT_RETRANSMISSION);
    assert_int_equal(stat.side[0].retransmissions, 5);
    assert_int_equal(stat.side[0].out_of_order, 4);
}

static void numbers_wrap(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 12; i++) /* 12 times 2^29 bytes: once around and half */
        assert_int_equal(data(0xf0000000u + i * 0x20000000u, 1), FLOWSTAT_NEW);
    assert_int_equal(what.seq, INT64_C(11) * 0x20000000);
    assert_int_equal(data(0xf0000000u + 11 * 0x20000000u, 1), FLOWSTAT_RETRANSMISSION);
}

static void too_many_gaps(void **state)
{
    (void)state;
    (void)data(0, 10);
    for (uint32_t i = 1; i <= 1000; i++)
        assert_int_equal(data(i * 20, 10), FLOWSTAT_NEW);
    assert_int_equal(data(1000 * 20 - 10, 10), FLOWSTAT_OUT_OF_ORDER);
    assert_int_equal(data(10, 10), FLOWSTAT_RETRANSMISSION); /* its gap was forgotten */
}

static void round_trips(void **state)
{
    (void)state;
    (void)send(0, 0, TCP_ACK, 1, 10, 1, 100, 0);
    (void)send(3, 0, TCP_ACK, 11, 10, 1, 100, 0); /* the same tick: the first counts */
    (void)send(5, 0, TCP_ACK, 21, 10, 1, 101, 0);
    (void)send(20, 1, TCP_ACK, 1, 0, 31, 7, 101); /* answers all three; 100 is never echoed */
    (void)send(25, 1, TCP_ACK, 1, 0, 31, 7, 101);
    assert_int_equal(stat.side[0].rtt.samples, 1);
    assert_int_equal(stat.side[0].rtt.min_ns, 15 * NS_PER_MS);
    (void)send(30, 0, TCP_ACK, 31, 10, 1, 300, 9); /* an echo of what nobody sent */
    (void)send(31, 0, TCP_ACK, 41, 10, 1, 300, 7);
    assert_int_equal(stat.side[1].rtt.samples, 1);
    assert_int_equal(stat.side[1].rtt.max_ns, 11 * NS_PER_MS);
}

static void who_is_the_client(void **state)
{
    (void)state;
    (void)send(0, 1, TCP_SYN | TCP_ACK, 5, 0, 1, 1, 1); /* the first that was seen is the server's */
    assert_int_equal(what.side, 1);
    (void)send(4, 0, TCP_ACK, 1, 0, 6, 1, 1);
    assert_int_equal(what.side, 0);
    assert_true(stat.handshake_ns[0] < 0);
    assert_int_equal(stat.handshake_ns[1], 4 * NS_PER_MS);
    assert_int_equal(stat.side[1].syn, 1);
    assert_int_equal(what.ack, 1);
}

static void what_is_not_of_it(void **state)
{
    (void)state;
    uint8_t junk[64] = {0};
    (void)data(1, 1);
    flowstat_add(&stat, junk, sizeof junk, sizeof junk, LINKTYPE_IPV4, (struct wall){0}, &what);
    assert_false(what.mine);
    stat.key.port[0] ^= 1;
    (void)data(2, 1);
    assert_false(what.mine);
    assert_int_equal(stat.packets, 1);
    assert_int_equal(stat.cut, 1);
    assert_int_equal(stat.others, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(kinds_of_segments, fresh), cmocka_unit_test_setup(numbers_wrap, fresh),
        cmocka_unit_test_setup(too_many_gaps, fresh),     cmocka_unit_test_setup(round_trips, fresh),
        cmocka_unit_test_setup(who_is_the_client, fresh), cmocka_unit_test_setup(what_is_not_of_it, fresh),
    };
    return cmocka_run_group_tests_name("ctl/flowstat", tests, NULL, NULL);
}
