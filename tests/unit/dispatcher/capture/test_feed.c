/* SPDX-License-Identifier: Apache-2.0
 * The packet path with a made-up source and real rings in memory: every cause, the contents of records, ticks, full
 * rings, shards that lie, and that what a flow sees does not depend on the number of shards. */
#include "dispatcher/capture/feed.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "shared/frame.h"
#include "shared/ring.h"

#define RING_BYTES 65536u
#define SEEN_MAX 8192

/* A record as a shard got it. */
struct seen {
    struct ring_record rec;
    uint8_t bytes[128];
};

struct house {
    struct feed *feed;
    unsigned shards;
    struct dispatcher_page page;
    struct shard_page shard[8];
    void *map[8];
    struct ring_consumer consumer[8];
    int bell[8][2];
    struct seen seen[8][SEEN_MAX];
    unsigned seen_count[8];
    unsigned kills[8], waits;
    bool kill_refused, give_up;
};
static struct house h;

static void drain(unsigned shard)
{
    struct ring_record rec;
    const uint8_t *payload;
    uint64_t lost;
    while (ring_next(&h.consumer[shard], &rec, &payload, &lost) == SC_OK) {
        assert_true(h.seen_count[shard] < SEEN_MAX);
        struct seen *s = &h.seen[shard][h.seen_count[shard]++];
        s->rec = rec;
        memcpy(s->bytes, payload, rec.hdr_len < sizeof s->bytes ? rec.hdr_len : sizeof s->bytes);
    }
    ring_release(&h.consumer[shard]);
}

static void drain_all(void)
{
    for (unsigned i = 0; i < h.shards; i++)
        drain(i);
}

static bool on_kill(void *ctx, unsigned shard)
{
    (void)ctx;
    h.kills[shard]++;
    return !h.kill_refused;
}

static bool on_wait(void *ctx)
{
    (void)ctx;
    h.waits++;
    drain_all();
    return !h.give_up;
}

static const struct siphash_key secret = {0x0123456789abcdef, 0xfedcba9876543210};

static void make_feed(bool live, int64_t tick_ns)
{
    const struct feed_settings settings = {
        .live = live,
        .snaplen = 256,
        .shards = h.shards,
        .secret = secret,
        .tick_ns = tick_ns,
        .page = &h.page,
        .kill = on_kill,
        .wait = on_wait,
    };
    h.feed = feed_new(&settings);
    assert_non_null(h.feed);
    for (unsigned i = 0; i < h.shards; i++)
        assert_int_equal(feed_add_ring(h.feed, i, h.map[i], ring_map_bytes(RING_BYTES), &h.shard[i], h.bell[i][0]),
                         SC_OK);
    feed_settle(&h.feed, 1);
}

static void open_house(unsigned shards, bool live, int64_t tick_ns)
{
    memset(&h, 0, sizeof h);
    h.shards = shards;
    for (unsigned i = 0; i < shards; i++) {
        size_t bytes = ring_map_bytes(RING_BYTES);
        h.map[i] = aligned_alloc(RING_PAGE, bytes);
        assert_non_null(h.map[i]);
        memset(h.map[i], 0, bytes);
        assert_int_equal(ring_format(h.map[i], RING_BYTES, 1, 0), SC_OK);
        assert_int_equal(ring_consumer_attach(&h.consumer[i], h.map[i], bytes, &h.shard[i].ring, 0, 0), SC_OK);
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, h.bell[i]), 0);
    }
    make_feed(live, tick_ns);
}

static void close_house(void)
{
    feed_free(h.feed);
    for (unsigned i = 0; i < h.shards; i++) {
        free(h.map[i]);
        close(h.bell[i][0]);
        close(h.bell[i][1]);
    }
}

static uint64_t drops_total(void)
{
    uint64_t sum = 0;
    for (unsigned c = 0; c < CAUSE_COUNT; c++)
        sum += counter_get(&h.page.drops[c]);
    return sum;
}

static void check_balance(uint64_t delivered)
{
    uint64_t enqueued = 0;
    for (unsigned i = 0; i < h.shards; i++)
        enqueued += counter_get(&h.page.enqueued[i]);
    assert_int_equal(counter_get(&h.page.delivered), delivered);
    assert_int_equal(delivered, drops_total() + enqueued);
}

/* ---- frames ---- */

#define PAYLOAD 20
#define FRAME_BYTES (14 + 20 + 20 + PAYLOAD)

/* Ethernet, IPv4, TCP of flow n (its source port), with payload of 0xc5. */
static void tcp4(uint8_t f[FRAME_BYTES], uint16_t n, uint32_t seq)
{
    static const uint8_t head[54] = {2,    0, 0, 0,   0, 1, 2, 0, 0,  0, 0, 2, 8,    0,                           /* */
                                     0x45, 0, 0, 60,  0, 0, 0, 0, 64, 6, 0, 0, 192,  0,       2, 1, 192, 0, 2, 2, /* */
                                     0,    0, 1, 187, 0, 0, 0, 0, 0,  0, 0, 0, 0x50, TCP_ACK, 1, 0, 0,   0, 0, 0};
    memcpy(f, head, sizeof head);
    memset(f + sizeof head, 0xc5, PAYLOAD);
    f[34] = (uint8_t)(n >> 8);
    f[35] = (uint8_t)n;
    for (int i = 0; i < 4; i++)
        f[38 + i] = (uint8_t)(seq >> (24 - 8 * i));
}

static struct feed_packet packet(const uint8_t *bytes, uint32_t len, int64_t ts)
{
    return (struct feed_packet){
        .bytes = bytes, .caplen = len, .wire_len = len, .if_index = 3, .linktype = LINKTYPE_ETHERNET, .ts = {ts}};
}

static void feed_tcp(uint16_t flow, uint32_t seq, int64_t ts)
{
    uint8_t f[FRAME_BYTES];
    tcp4(f, flow, seq);
    struct feed_packet p = packet(f, sizeof f, ts);
    feed_packet(h.feed, &p);
}

/* ---- tests ---- */

static void test_record(void **state)
{
    (void)state;
    open_house(1, false, NS_PER_SEC);
    feed_tcp(1000, 77, 5);
    feed_flush(h.feed, (struct instant){5});
    drain(0);
    assert_int_equal(h.seen_count[0], 1);
    const struct seen *s = &h.seen[0][0];
    assert_int_equal(s->rec.kind, RING_PACKET);
    assert_int_equal(s->rec.linktype, LINKTYPE_ETHERNET);
    assert_int_equal(s->rec.if_index, 3);
    assert_int_equal(s->rec.caplen, FRAME_BYTES);
    assert_int_equal(s->rec.wire_len, FRAME_BYTES);
    assert_int_equal(s->rec.l3_off, 14);
    assert_int_equal(s->rec.l4_off, 34);
    assert_int_equal(s->rec.hdr_len, 54);
    assert_int_equal(s->rec.tcp_flags, TCP_ACK);
    assert_int_equal(s->rec.tcp_seq, 77);
    assert_int_equal(s->rec.payload_len, PAYLOAD);
    assert_int_equal(s->rec.ts_ns, 5);
    assert_int_equal(s->rec.clock_ns, 5);
    struct frame f;
    assert_true(frame_from_copy(s->bytes, s->rec.hdr_len, s->rec.l3_off, s->rec.l4_off, &f));
    assert_true(flowkey_hash(&f.key, &secret) == s->rec.flow_hash);
    assert_int_equal(f.from_low, s->rec.from_low);
    /* No byte of payload is anywhere in the ring. */
    assert_null(memchr(h.map[0], 0xc5, ring_map_bytes(RING_BYTES)));
    check_balance(1);
    close_house();
}

static void test_snaplen(void **state)
{
    uint8_t f[600];
    (void)state;
    open_house(1, false, NS_PER_SEC);
    memset(f, 0, sizeof f);
    tcp4(f, 1, 1);
    struct feed_packet p = packet(f, sizeof f, 1);
    p.wire_len = 1500;
    feed_packet(h.feed, &p);
    feed_flush(h.feed, (struct instant){1});
    drain(0);
    assert_int_equal(h.seen[0][0].rec.caplen, 256);
    assert_int_equal(h.seen[0][0].rec.wire_len, 1500);
    close_house();
}

static void test_causes(void **state)
{
    static const struct {
        enum cause cause;
        unsigned len, at; /* the plain frame cut to len (0 = whole), with `value` at byte `at` (0 = none) */
        uint8_t value;
    } cases[] = {
        {CAUSE_SHORT_FRAME, 13, 0, 0}, {CAUSE_BAD_IP4, 14, 0, 0},           {CAUSE_BAD_IP4, 0, 14, 0x44},
        {CAUSE_TCP_SHORT, 50, 0, 0},   {CAUSE_TCP_BAD_OFFSET, 0, 46, 0x40}, {CAUSE_NOT_TCP, 0, 23, 17},
        {CAUSE_TUNNEL, 0, 23, 47},     {CAUSE_FRAG_NONINITIAL, 0, 21, 3},   {CAUSE_NOT_TCP, 0, 12, 0x99},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint8_t f[FRAME_BYTES];
        open_house(2, false, NS_PER_SEC);
        tcp4(f, 1, 1);
        if (cases[i].at)
            f[cases[i].at] = cases[i].value;
        struct feed_packet p = packet(f, cases[i].len ? cases[i].len : sizeof f, 1);
        feed_packet(h.feed, &p);
        feed_flush(h.feed, (struct instant){1});
        assert_int_equal(counter_get(&h.page.drops[cases[i].cause]), 1);
        assert_int_equal(drops_total(), 1);
        check_balance(1);
        close_house();
    }
}

static void test_causes_of_other_headers(void **state)
{
    uint8_t v6[14 + 40 + 20] = {[12] = 0x86, 0xdd, [14] = 0x60}, chain[14 + 40 + 17 * 8 + 20], tags[14 + 5 * 4 + 40];
    (void)state;
    open_house(1, false, NS_PER_SEC);
    struct feed_packet p = packet(v6, 20, 1);
    feed_packet(h.feed, &p);
    assert_int_equal(counter_get(&h.page.drops[CAUSE_BAD_IP6]), 1);

    memset(chain, 0, sizeof chain);
    memcpy(chain, v6, 54);
    chain[18] = 0;
    chain[19] = sizeof chain - 54;
    chain[20] = 60;
    for (unsigned i = 0; i < 17; i++)
        chain[54 + 8 * i] = i < 16 ? 60 : 6;
    p = packet(chain, sizeof chain, 1);
    feed_packet(h.feed, &p);
    assert_int_equal(counter_get(&h.page.drops[CAUSE_EXT_CHAIN]), 1);

    memset(tags, 0, sizeof tags);
    for (unsigned i = 0; i < 5; i++)
        tags[12 + 4 * i] = 0x81;
    p = packet(tags, sizeof tags, 1);
    feed_packet(h.feed, &p);
    assert_int_equal(counter_get(&h.page.drops[CAUSE_VLAN_DEPTH]), 1);

    uint8_t f[FRAME_BYTES];
    tcp4(f, 1, 1);
    p = packet(f, sizeof f, 9 * NS_PER_SEC);
    p.wire_len = sizeof f - 1;
    feed_packet(h.feed, &p);
    assert_int_equal(counter_get(&h.page.drops[CAUSE_BAD_RECORD]), 1);
    assert_true(feed_clock(h.feed).ns < NS_PER_SEC); /* its time is not believed */

    feed_drop(h.feed, CAUSE_FILTERED);
    assert_int_equal(counter_get(&h.page.drops[CAUSE_FILTERED]), 1);
    assert_int_equal(drops_total(), 5);
    check_balance(5);
    close_house();
}

static void test_tick_before_the_packet_that_crosses(void **state)
{
    (void)state;
    open_house(2, false, 100);
    feed_tcp(1, 0, 50);
    feed_tcp(1, 1, 99);
    feed_tcp(1, 2, 150);
    feed_tcp(1, 3, 120); /* back in time: the clock stands */
    feed_tcp(1, 4, 1000);
    feed_flush(h.feed, (struct instant){1000});
    drain_all();
    unsigned home = h.seen_count[0] > h.seen_count[1] ? 0 : 1, away = 1 - home;
    static const int kinds[] = {RING_PACKET, RING_PACKET, RING_TICK, RING_PACKET, RING_PACKET, RING_TICK, RING_PACKET};
    static const int clocks[] = {50, 99, 150, 150, 150, 1000, 1000};
    assert_int_equal(h.seen_count[home], 7);
    for (unsigned i = 0; i < 7; i++) {
        assert_int_equal(h.seen[home][i].rec.kind, kinds[i]);
        assert_int_equal(h.seen[home][i].rec.clock_ns, clocks[i]);
    }
    assert_int_equal(h.seen[home][4].rec.ts_ns, 120); /* the packet's own time is exact */
    assert_int_equal(h.seen_count[away], 2);
    assert_int_equal(h.seen[away][0].rec.clock_ns, 150);
    assert_int_equal(h.seen[away][1].rec.clock_ns, 1000);
    close_house();
}

/* What flow n sees: its packets and all ticks, as text. */
static char *story(uint16_t n)
{
    static const size_t cap = 1 << 16;
    char *text = calloc(1, cap);
    size_t len = 0;
    assert_non_null(text);
    for (unsigned s = 0; s < h.shards; s++) {
        bool mine = false;
        for (unsigned i = 0; i < h.seen_count[s]; i++)
            mine = mine || (h.seen[s][i].rec.kind == RING_PACKET && h.seen[s][i].rec.tcp_seq >> 16 == n);
        for (unsigned i = 0; mine && i < h.seen_count[s]; i++) {
            const struct ring_record *r = &h.seen[s][i].rec;
            if (r->kind == RING_TICK)
                len += (size_t)snprintf(text + len, cap - len, "t%lld ", (long long)r->clock_ns);
            else if (r->tcp_seq >> 16 == n)
                len +=
                    (size_t)snprintf(text + len, cap - len, "p%u@%lld ", r->tcp_seq & 0xffff, (long long)r->clock_ns);
            assert_true(len < cap);
        }
    }
    return text;
}

static void test_same_for_any_number_of_shards(void **state)
{
    static const unsigned counts[] = {1, 2, 7};
    char *first[40] = {0};
    (void)state;
    for (size_t c = 0; c < 3; c++) {
        open_house(counts[c], false, 1000);
        uint32_t x = 1;
        int64_t ts = 0;
        for (uint32_t i = 0; i < 4000; i++) {
            x = x * 1103515245 + 12345;
            ts += (x >> 16) % 40;
            int64_t back = (x >> 8) % 16 == 0 ? 500 : 0;
            if ((x >> 20) % 8 == 0) { /* what is dropped moves the clock as well */
                struct feed_packet p = packet((const uint8_t *)"short", 5, ts);
                feed_packet(h.feed, &p);
            }
            uint16_t flow = (uint16_t)((x >> 24) % 40);
            feed_tcp(flow, (uint32_t)flow << 16 | i, ts - back);
        }
        feed_flush(h.feed, (struct instant){ts});
        drain_all();
        for (uint16_t n = 0; n < 40; n++) {
            char *now = story(n);
            assert_true(strlen(now) > 100);
            if (c == 0) {
                first[n] = now;
                continue;
            }
            assert_string_equal(now, first[n]);
            free(now);
        }
        close_house();
    }
    for (unsigned n = 0; n < 40; n++)
        free(first[n]);
}

static void test_live_ring_full(void **state)
{
    (void)state;
    open_house(1, true, NS_PER_SEC);
    feed_burst(h.feed, (struct mono){1000}, (struct wall){1000});
    for (uint32_t i = 0; i < 2000; i++)
        feed_tcp(1, i, 10);
    feed_flush(h.feed, (struct instant){10});
    uint64_t full = counter_get(&h.page.drops[CAUSE_RING_FULL]);
    assert_int_equal(full, 2000 - RING_BYTES / 128);
    assert_int_equal(counter_get(&h.page.ring_full[0]), full);
    assert_int_equal(h.waits, 0);
    check_balance(2000);
    drain(0); /* what is in is the beginning, in order */
    for (uint32_t i = 0; i < h.seen_count[0]; i++)
        assert_int_equal(h.seen[0][i].rec.tcp_seq, i);
    feed_tcp(1, 2000, 10);
    feed_flush(h.feed, (struct instant){10});
    drain(0);
    assert_int_equal(h.seen[0][h.seen_count[0] - 1].rec.tcp_seq, 2000);
    check_balance(2001);
    close_house();
}

static void test_offline_waits(void **state)
{
    (void)state;
    open_house(2, false, 100);
    for (uint32_t i = 0; i < 4000; i++)
        feed_tcp((uint16_t)(i % 50), i, i);
    feed_flush(h.feed, (struct instant){4000});
    assert_true(h.waits > 0);
    drain_all();
    assert_int_equal(drops_total(), 0);
    check_balance(4000);
    unsigned ticks = 0;
    for (unsigned s = 0; s < 2; s++)
        for (unsigned i = 0; i < h.seen_count[s]; i++)
            ticks += h.seen[s][i].rec.kind == RING_TICK;
    assert_int_equal(ticks, 2 * 39); /* none is lost either */
    close_house();
}

static void test_offline_gives_up(void **state)
{
    (void)state;
    open_house(1, false, NS_PER_SEC);
    h.consumer[0].pos = 0;
    for (uint32_t i = 0; i < RING_BYTES / 128; i++)
        feed_tcp(1, i, 1);
    h.give_up = true;
    feed_tcp(1, 9999, 1);
    assert_int_equal(counter_get(&h.page.drops[CAUSE_RING_FULL]), 1);
    feed_flush(h.feed, (struct instant){1});
    check_balance(RING_BYTES / 128 + 1);
    close_house();
}

static void lie(unsigned shard, uint64_t cons)
{
    atomic_store(&h.shard[shard].ring.cons, cons);
}

static void test_impossible_index(void **state)
{
    (void)state;
    open_house(2, true, NS_PER_SEC);
    feed_burst(h.feed, (struct mono){1000}, (struct wall){1000});
    h.kill_refused = true;
    lie(0, UINT64_C(1) << 63);
    feed_housekeep(h.feed, (struct instant){1000}, (struct instant){1});
    assert_int_equal(h.kills[0], 1);
    h.kill_refused = false; /* the supervisor could not be told: again */
    for (uint32_t i = 0; i < 600; i++)
        feed_tcp((uint16_t)i, i, 10);
    assert_int_equal(h.kills[0], 2);
    feed_flush(h.feed, (struct instant){10});
    drain(1);
    uint64_t to_0 = counter_get(&h.page.ring_full[0]);
    assert_true(to_0 > 200);
    assert_int_equal(counter_get(&h.page.ring_full[1]), 0);
    assert_int_equal(h.kills[1], 0);
    check_balance(600);
    assert_int_equal(h.seen_count[1], 600 - to_0);

    atomic_store(&h.shard[0].generation, 2); /* its successor lies, too */
    feed_housekeep(h.feed, (struct instant){1000}, (struct instant){1});
    feed_housekeep(h.feed, (struct instant){1000}, (struct instant){1});
    assert_int_equal(h.kills[0], 3);

    atomic_store(&h.shard[0].generation, 3); /* and the next one does not */
    lie(0, 0);
    for (uint32_t i = 0; i < 600; i++)
        feed_tcp((uint16_t)i, i, 10);
    feed_flush(h.feed, (struct instant){10});
    assert_int_equal(counter_get(&h.page.ring_full[0]), to_0);
    assert_int_equal(h.kills[0], 3);
    drain_all();
    assert_int_equal(h.seen_count[0], to_0);
    check_balance(1200);
    close_house();
}

static void test_addresses(void **state)
{
    struct ipaddr a[2];
    (void)state;
    open_house(1, true, NS_PER_SEC);
    feed_burst(h.feed, (struct mono){1000}, (struct wall){1000});
    assert_int_equal(ipaddr_parse("192.0.2.1", &a[0]), SC_OK);
    assert_int_equal(ipaddr_parse("2001:db8::1", &a[1]), SC_OK);
    feed_addresses(h.feed, a, 1);
    drain(0);
    assert_int_equal(h.seen_count[0], 1);
    assert_int_equal(h.seen[0][0].rec.kind, RING_ADDRESSES);
    assert_int_equal(h.seen[0][0].rec.hdr_len, sizeof(struct ring_address));
    for (uint32_t i = 0; i < 600; i++) /* full */
        feed_tcp(1, i, 10);
    feed_addresses(h.feed, a, 2);
    drain(0);
    assert_int_equal(h.seen[0][h.seen_count[0] - 1].rec.kind, RING_PACKET);
    feed_housekeep(h.feed, (struct instant){1000}, (struct instant){1});
    drain(0);
    const struct seen *s = &h.seen[0][h.seen_count[0] - 1];
    assert_int_equal(s->rec.kind, RING_ADDRESSES);
    assert_int_equal(s->rec.hdr_len, 2 * sizeof(struct ring_address));
    struct ring_address got;
    memcpy(&got, s->bytes + sizeof got, sizeof got);
    assert_int_equal(got.len, 16);
    assert_memory_equal(got.bytes, a[1].bytes, 16);
    unsigned before = h.seen_count[0];
    feed_housekeep(h.feed, (struct instant){1000}, (struct instant){1}); /* once is enough */
    drain(0);
    assert_int_equal(h.seen_count[0], before);
    feed_addresses(h.feed, a, 0); /* "none" is news as well */
    drain(0);
    assert_int_equal(h.seen[0][before].rec.kind, RING_ADDRESSES);
    assert_int_equal(h.seen[0][before].rec.hdr_len, 0);
    close_house();
}

static void test_end(void **state)
{
    (void)state;
    open_house(2, true, NS_PER_SEC);
    feed_burst(h.feed, (struct mono){1000}, (struct wall){1000});
    for (uint32_t i = 0; i < 1500; i++)
        feed_tcp((uint16_t)i, i, 10);
    uint64_t consumed = feed_consumed(h.feed);
    assert_int_equal(feed_end(h.feed), 2);
    drain(1);
    assert_true(feed_consumed(h.feed) > consumed);
    assert_int_equal(feed_end(h.feed), 1);
    drain(0);
    assert_int_equal(feed_end(h.feed), 0);
    assert_int_equal(feed_end(h.feed), 0);
    drain_all();
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(h.seen[i][h.seen_count[i] - 1].rec.kind, RING_END);
        assert_int_equal(h.seen[i][h.seen_count[i] - 2].rec.kind, RING_PACKET);
    }
    check_balance(1500);
    close_house();
}

/* A dispatcher dies with a burst that is not published; its successor's books are exact. */
static void test_settle(void **state)
{
    (void)state;
    open_house(2, true, NS_PER_SEC);
    feed_burst(h.feed, (struct mono){5000}, (struct wall){5000});
    for (uint32_t i = 0; i < 100; i++)
        feed_tcp((uint16_t)i, i, 4000);
    feed_flush(h.feed, (struct instant){10});
    feed_drop(h.feed, CAUSE_NOT_TCP);
    for (uint32_t i = 0; i < 10; i++)
        feed_tcp((uint16_t)i, i, 4000);
    counter_set(&h.page.delivered, 90); /* killed between two stores */
    counter_set(&h.page.enqueued[0], 3);
    feed_free(h.feed);
    make_feed(true, NS_PER_SEC);
    check_balance(101);
    assert_int_equal(feed_clock(h.feed).ns, 4000); /* time goes on from there */
    drain_all();
    unsigned packets = 0;
    for (unsigned s = 0; s < 2; s++)
        for (unsigned i = 0; i < h.seen_count[s]; i++)
            packets += h.seen[s][i].rec.kind == RING_PACKET;
    assert_int_equal(packets, 100);
    close_house();
}

static void test_live_clock(void **state)
{
    const int64_t mono = 50 * NS_PER_SEC, wall = 1000 * NS_PER_SEC;
    static const int64_t ts[] = {-30, -20, -25, 5, -10}; /* ms around now */
    static const int64_t want[] = {-30, -20, -20, 0, 0}; /* not back, not in the future */
    (void)state;
    open_house(1, true, 100 * NS_PER_SEC);
    feed_burst(h.feed, (struct mono){mono}, (struct wall){wall});
    for (uint32_t i = 0; i < 5; i++)
        feed_tcp(1, i, wall + ts[i] * NS_PER_MS);
    /* The wall clock is set back by a day: nothing happens to the instants. */
    feed_burst(h.feed, (struct mono){mono + 1000}, (struct wall){wall - 86400 * NS_PER_SEC});
    feed_tcp(1, 5, wall - 86400 * NS_PER_SEC - 10);
    feed_flush(h.feed, (struct instant){0});
    drain(0);
    assert_int_equal(h.seen_count[0], 6);
    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(h.seen[0][i].rec.clock_ns, mono + want[i] * NS_PER_MS);
        assert_int_equal(h.seen[0][i].rec.ts_ns, wall + ts[i] * NS_PER_MS);
    }
    assert_int_equal(h.seen[0][5].rec.clock_ns, mono + 990);
    close_house();
}

static void test_housekeep(void **state)
{
    (void)state;
    open_house(2, true, 100);
    counter_set(&h.shard[0].c.flows_counted, 5);
    counter_set(&h.shard[1].c.flows_counted, 7);
    feed_housekeep(h.feed, (struct instant){99}, (struct instant){1});
    drain_all();
    assert_int_equal(h.seen_count[0], 0);
    feed_housekeep(h.feed, (struct instant){100}, (struct instant){2});
    for (unsigned i = 0; i < 2; i++) {
        const struct ring_shared *ring = h.map[i];
        assert_int_equal(atomic_load(&ring->flows_global), 12);
        assert_int_equal(atomic_load(&ring->captured_until_ns), 2);
        assert_int_equal(atomic_load(&ring->clock_ns), 100);
        drain(i);
        assert_int_equal(h.seen_count[i], 1);
        assert_int_equal(h.seen[i][0].rec.kind, RING_TICK);
    }
    feed_burst(h.feed, (struct mono){100}, (struct wall){100});
    feed_tcp(1, 1, 100);
    feed_flush(h.feed, (struct instant){3});
    feed_housekeep(h.feed, (struct instant){110}, (struct instant){3});
    assert_int_equal(counter_get(&h.page.ring_backlog[0]) + counter_get(&h.page.ring_backlog[1]), 128);
    close_house();
}

static unsigned rung(unsigned shard)
{
    char byte;
    unsigned n = 0;
    while (read(h.bell[shard][1], &byte, 1) == 1)
        n++;
    return n;
}

static void test_doorbell_only_for_sleepers(void **state)
{
    (void)state;
    open_house(1, true, NS_PER_SEC);
    feed_burst(h.feed, (struct mono){100}, (struct wall){100});
    feed_tcp(1, 1, 100);
    feed_flush(h.feed, (struct instant){3});
    assert_int_equal(rung(0), 0);
    drain(0);
    assert_true(ring_consumer_will_sleep(&h.consumer[0]));
    feed_flush(h.feed, (struct instant){3}); /* nothing new */
    assert_int_equal(rung(0), 0);
    feed_tcp(1, 2, 100);
    feed_flush(h.feed, (struct instant){3});
    assert_int_equal(rung(0), 1);
    drain(0);
    assert_true(ring_consumer_will_sleep(&h.consumer[0]));
    feed_housekeep(h.feed, (struct instant){10 * NS_PER_SEC}, (struct instant){4}); /* a TICK: found after the nap */
    assert_int_equal(rung(0), 0);
    assert_true(ring_backlog(&h.consumer[0]) > 0);
    assert_int_equal(feed_end(h.feed), 0);
    assert_int_equal(rung(0), 1);
    close_house();
}

/* Waking takes longer than a burst: a sleeper is woken at its end, and -read, which has no bursts, at once. */
static void test_one_doorbell_for_a_burst(void **state)
{
    (void)state;
    for (int live = 0; live < 2; live++) {
        open_house(1, live, NS_PER_SEC);
        feed_burst(h.feed, (struct mono){100}, (struct wall){100});
        assert_true(ring_consumer_will_sleep(&h.consumer[0]));
        for (uint32_t i = 0; i < 64; i++)
            feed_tcp(1, i, 100);
        assert_int_equal(ring_backlog(&h.consumer[0]) / 128, 64); /* whoever is awake sees them */
        assert_int_equal(rung(0), live ? 0 : 1);
        ring_consumer_woke(&h.consumer[0]);
        feed_flush(h.feed, (struct instant){3});
        assert_int_equal(rung(0), live ? 1 : 0);
        feed_flush(h.feed, (struct instant){3});
        assert_int_equal(rung(0), 0);
        close_house();
    }
}

static void test_a_sleeper_is_woken_before_its_ring_fills(void **state)
{
    (void)state;
    open_house(1, true, NS_PER_SEC);
    feed_burst(h.feed, (struct mono){100}, (struct wall){100});
    assert_true(ring_consumer_will_sleep(&h.consumer[0]));
    for (uint32_t i = 0; i < RING_BYTES / 4 / 128 + 64; i++)
        feed_tcp(1, i, 100);
    assert_in_range(rung(0), 1, 2);
    close_house();
}

static void test_ring_of_another_build(void **state)
{
    (void)state;
    open_house(1, true, NS_PER_SEC);
    struct ring_shared *ring = h.map[0];
    ring->layout++;
    assert_int_equal(feed_add_ring(h.feed, 0, ring, ring_map_bytes(RING_BYTES), &h.shard[0], -1), SC_EVERSION);
    ring->layout--;
    assert_int_equal(feed_add_ring(h.feed, 1, ring, ring_map_bytes(RING_BYTES), &h.shard[0], -1), SC_EINVAL);
    close_house();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_record),
        cmocka_unit_test(test_snaplen),
        cmocka_unit_test(test_causes),
        cmocka_unit_test(test_causes_of_other_headers),
        cmocka_unit_test(test_tick_before_the_packet_that_crosses),
        cmocka_unit_test(test_same_for_any_number_of_shards),
        cmocka_unit_test(test_live_ring_full),
        cmocka_unit_test(test_offline_waits),
        cmocka_unit_test(test_offline_gives_up),
        cmocka_unit_test(test_impossible_index),
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_end),
        cmocka_unit_test(test_settle),
        cmocka_unit_test(test_live_clock),
        cmocka_unit_test(test_housekeep),
        cmocka_unit_test(test_doorbell_only_for_sleepers),
        cmocka_unit_test(test_one_doorbell_for_a_burst),
        cmocka_unit_test(test_a_sleeper_is_woken_before_its_ring_fills),
        cmocka_unit_test(test_ring_of_another_build),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
