/* SPDX-License-Identifier: Apache-2.0
 * Which flow an aborted socket was: each rule of aborts.h has a test that fails without it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "dispatcher/hub/aborts.h"

#define SHARDS 2
#define T0 (INT64_C(1700000000) * NS_PER_SEC)
#define WAIT_NS (5 * NS_PER_SEC)

static struct {
    struct shard_page page[SHARDS];
    const struct shard_page *pages[SHARDS];
    struct hub_page hub;
    struct aborts *aborts;
    struct flowevent out[512];
    unsigned count;
} t;

static const struct siphash_key hash_key = {0x0123456789abcdef, 0xfedcba9876543210};

static void on_complete(void *ctx, const struct flowevent *ev)
{
    (void)ctx;
    assert_true(t.count < 512);
    t.out[t.count++] = *ev;
}

static int set_up(void **state)
{
    (void)state;
    memset(&t, 0, sizeof(t));
    for (unsigned i = 0; i < SHARDS; i++)
        t.pages[i] = &t.page[i];
    struct aborts_setup s = {SHARDS, t.pages, WAIT_NS, &hash_key, &t.hub, on_complete, NULL};
    t.aborts = aborts_new(&s);
    return t.aborts ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    aborts_free(t.aborts);
    return 0;
}

static const uint8_t server[4] = {192, 0, 2, 1}, client[4] = {198, 51, 100, 7}, other[4] = {198, 51, 100, 8};

static struct flowkey key_of(uint16_t cport, const uint8_t *peer, bool *server_low)
{
    struct flowkey key;
    *server_low = flowkey_make(&key, 4, server, 443, peer, cport);
    return key;
}

/* The shard saw the server reset its connection with peer:cport. */
static void reset(unsigned shard, uint16_t cport, const uint8_t *peer, int64_t at, uint64_t cookie)
{
    bool low;
    struct reset_note note = {
        .flow = cport, .generation = 1, .at = {T0 + at}, .cookie = cookie, .key = key_of(cport, peer, &low)};
    note.side = low ? 0 : 1;
    reset_board_tell(&t.page[shard].resets, &note);
}

static void told(uint64_t cookie, const uint8_t *peer, int64_t at, bool bound)
{
    struct flowevent ev = {.kind = FLOWEVENT_OPEN,
                           .has_id = true,
                           .destroyed = true,
                           .cookie = (int64_t)cookie,
                           .sport = 443,
                           .seen = {T0 + at}};
    ev.src.len = ev.dst.len = 4;
    memcpy(ev.dst.bytes, peer, 4);
    if (bound)
        memcpy(ev.src.bytes, server, 4);
    aborts_event(t.aborts, &ev);
}

static void settled(int64_t at)
{
    for (unsigned i = 0; i < SHARDS; i++)
        reset_board_settle(&t.page[i].resets, (struct mono){T0 + at});
}

static void turn(int64_t at)
{
    aborts_turn(t.aborts, (struct mono){T0 + at});
}

static void expect_named(unsigned n, uint64_t cookie, uint16_t cport)
{
    assert_true(n < t.count);
    assert_int_equal(t.out[n].cookie, cookie);
    assert_int_equal(t.out[n].sport, 443);
    assert_int_equal(t.out[n].dport, cport);
    bool low;
    struct flowkey key = key_of(cport, t.out[n].dst.bytes, &low);
    assert_memory_equal(&t.out[n].key, &key, sizeof(key));
    assert_memory_equal(t.out[n].src.bytes, server, 4);
}

static void one_flow_is_named(void **state)
{
    (void)state;
    reset(1, 5000, client, 10, 0);
    told(0xa, client, 20, false);
    settled(20);
    turn(30);
    assert_int_equal(t.count, 1);
    expect_named(0, 0xa, 5000);
    assert_int_equal(t.out[0].seen.ns, T0 + 20);
    turn(40);
    assert_int_equal(t.count, 1); /* once */
}

/* The hub dies after it has journalled the event and before it takes it from the kernel: its successor gets both. */
static void told_twice_it_names_one_flow(void **state)
{
    (void)state;
    reset(0, 5000, client, 10, 0);
    reset(1, 5001, client, 25, 0);
    told(0xa, client, 20, false);
    settled(22);
    turn(30);
    assert_int_equal(t.count, 1);
    told(0xa, client, 40, false); /* read again, later */
    told(0xb, client, 41, false); /* the end of the second flow's socket */
    settled(50);
    turn(60);
    assert_int_equal(t.count, 2);
    expect_named(0, 0xa, 5000);
    expect_named(1, 0xb, 5001);
}

static void waits_until_all_shards_have_told(void **state)
{
    (void)state;
    reset(1, 5000, client, 10, 0);
    told(0xa, client, 20, false);
    reset_board_settle(&t.page[1].resets, (struct mono){T0 + 20});
    turn(30);
    assert_int_equal(t.count, 0);
    reset(0, 5001, client, 15, 0); /* the other shard has one, too */
    settled(20);
    turn(40);
    assert_int_equal(t.count, 0);
    turn(WAIT_NS + 2 * NS_PER_SEC);
    assert_int_equal(counter_get(&t.hub.uuid_ambiguous), 1);
}

static void flow_reset_after_the_event_was_read_is_not_meant(void **state)
{
    (void)state;
    reset(0, 5000, client, 10, 0);
    reset(1, 5001, client, 21, 0);
    told(0xa, client, 20, false);
    settled(30);
    turn(40);
    assert_int_equal(t.count, 1);
    expect_named(0, 0xa, 5000);
}

static void port_peer_and_local_address_must_fit(void **state)
{
    (void)state;
    reset(0, 5000, client, 10, 0);
    reset(0, 5001, other, 11, 0);
    told(0xb, other, 20, true);
    told(0xa, client, 21, false);
    settled(30);
    turn(40);
    assert_int_equal(t.count, 2);
    expect_named(0, 0xb, 5001);
    expect_named(1, 0xa, 5000);
    struct flowevent ev = {.destroyed = true, .cookie = 0xc, .sport = 444, .seen = {T0 + 50}};
    ev.src.len = ev.dst.len = 4;
    memcpy(ev.dst.bytes, client, 4);
    reset(0, 5002, client, 45, 0);
    aborts_event(t.aborts, &ev); /* another port */
    ev.sport = 443;
    ev.src.bytes[0] = 9; /* another local address */
    aborts_event(t.aborts, &ev);
    settled(60);
    turn(70);
    assert_int_equal(t.count, 2);
}

/* The side that did not reset is not the local one. */
static void reset_by_the_peer_is_no_abort(void **state)
{
    (void)state;
    bool low;
    struct reset_note note = {.flow = 1, .generation = 1, .at = {T0}, .key = key_of(5000, client, &low)};
    note.side = low ? 1 : 0;
    reset_board_tell(&t.page[0].resets, &note);
    told(0xa, client, 20, false);
    settled(20);
    turn(30);
    assert_int_equal(t.count, 0);
    turn(WAIT_NS + 2 * NS_PER_SEC);
    assert_int_equal(counter_get(&t.hub.uuid_ambiguous), 0); /* not captured: nothing to tell apart */
}

static void two_of_a_kind_are_counted_and_block_nobody(void **state)
{
    (void)state;
    reset(0, 5000, client, 10, 0);
    reset(1, 5001, client, 11, 0);
    told(0xa, client, 20, false);
    told(0xb, client, 20, false);
    reset(0, 5002, client, 30, 0);
    told(0xc, client, 40, false); /* the two before are spoken for, so this one is */
    settled(40);
    turn(50);
    assert_int_equal(t.count, 1);
    expect_named(0, 0xc, 5002);
    turn(WAIT_NS + 2 * NS_PER_SEC);
    assert_int_equal(t.count, 1);
    assert_int_equal(counter_get(&t.hub.uuid_ambiguous), 2);
}

/* An event that comes late, after that of a younger socket: no wrong name meanwhile. */
static void late_event_names_nothing_wrong(void **state)
{
    (void)state;
    reset(0, 5000, client, 10, 0);
    reset(1, 5001, client, 11, 0);
    told(0xb, client, 20, false);
    settled(30);
    turn(30);
    assert_int_equal(t.count, 0);
}

static void others_that_get_their_names_make_it_certain(void **state)
{
    (void)state;
    reset(0, 5000, client, 10, 0);
    reset(1, 5001, client, 11, 0);
    told(0xa, client, 20, false);
    settled(20);
    turn(30);
    assert_int_equal(t.count, 0);
    reset(1, 5001, client, 11, 0xb); /* the lookup had named it */
    turn(40);
    assert_int_equal(t.count, 1);
    expect_named(0, 0xa, 5000);
}

static void cookie_that_has_named_a_flow_names_no_other(void **state)
{
    (void)state;
    reset(0, 5000, client, 10, 0xa);
    reset(1, 5001, client, 11, 0);
    told(0xa, client, 20, false);
    settled(20);
    turn(30);
    assert_int_equal(t.count, 0);
    told(0xb, client, 21, false);
    settled(21);
    turn(40);
    assert_int_equal(t.count, 1);
    expect_named(0, 0xb, 5001);
}

static void missed_notes_bind_nothing_before(void **state)
{
    (void)state;
    for (unsigned i = 0; i < RESET_NOTES + 1; i++)
        reset(0, (uint16_t)(i + 1), other, 1, 0);
    reset(1, 5001, client, 11, 0);
    told(0xa, client, 20, false);
    settled(20);
    turn(30);
    assert_int_equal(t.count, 0);
    reset(1, 5002, client, 40, 0);
    told(0xb, client, 50, false);
    settled(50);
    turn(60);
    assert_int_equal(t.count, 1);
    expect_named(0, 0xb, 5002);
}

/* What the hub before us had read. */
static void events_outlive_the_hub(void **state)
{
    (void)state;
    static _Alignas(64) char memory[JOURNAL_BYTES_MIN];
    memset(memory, 0, sizeof(memory));
    enum journal_origin origin;
    struct journal *j = journal_open(memory, sizeof(memory), SHARDS, 7, &origin);
    assert_non_null(j);
    struct flowevent ev = {.kind = FLOWEVENT_OPEN, .has_id = true, .destroyed = true, .sport = 443};
    ev.src.len = ev.dst.len = 4;
    memcpy(ev.dst.bytes, client, 4);
    const struct mono now = {100 * NS_PER_SEC};
    for (unsigned i = 0; i < 3; i++) { /* too old; of another kind; the one */
        char line[FLOWEVENT_TEXT];
        uint64_t seq;
        ev.cookie = 0xa + i;
        ev.time.ns = 5 * T0; /* the wall clock may have been set: it orders nothing */
        ev.seen.ns = T0 + 20 * NS_PER_MS;
        ev.yyyymmdd = 20231114;
        ev.dport = i == 1 ? 9 : 0;
        assert_int_equal(uuid_from_cookie(&ev.uuid, "p", (uint64_t)ev.cookie), SC_OK);
        int n = flowevent_format(&ev, line, sizeof(line));
        struct mono at = {i == 0 ? now.ns - WAIT_NS - 1 : now.ns};
        assert_int_equal(journal_append(j, 0, at, line, (size_t)n, &seq), SC_OK);
    }
    aborts_recall(t.aborts, j, now);
    journal_close(j);
    reset(1, 5000, client, 10 * NS_PER_MS, 0);
    settled(30 * NS_PER_MS);
    turn(40 * NS_PER_MS);
    assert_int_equal(t.count, 1);
    expect_named(0, 0xc, 5000);
}

/* The oldest of them is not looked at: it might be the one. */
static void more_than_can_be_looked_at_name_nothing(void **state)
{
    (void)state;
    reset(0, 5000, client, 10, 0);
    reset(0, 5001, client, 15, 0);
    for (unsigned i = 0; i < ABORTS_GROUP - 1; i++)
        reset(0, (uint16_t)(6000 + i), client, 100, 0);
    told(0xa, client, 20, false);
    settled(20);
    turn(200);
    assert_int_equal(t.count, 0);
}

/* Many ports share a bucket. */
static void no_other_port_fits(void **state)
{
    (void)state;
    reset(0, 5000, client, 10, 0);
    settled(20);
    struct flowevent ev = {.destroyed = true, .seen = {T0 + 20}};
    ev.src.len = ev.dst.len = 4;
    memcpy(ev.dst.bytes, client, 4);
    for (unsigned port = 1; port < 65536; port++) {
        ev.sport = (uint16_t)port;
        ev.cookie = port;
        if (port != 443)
            aborts_event(t.aborts, &ev);
        if (port % 8000 == 0)
            turn(30);
    }
    turn(30);
    assert_int_equal(t.count, 0);
}

/* What an unkeyed hash (FNV-1a) would make of a port and a peer. */
static unsigned unkeyed(uint16_t port, const uint8_t peer[4])
{
    uint64_t h = UINT64_C(0xcbf29ce484222325) ^ port;
    for (unsigned i = 0; i < 4; i++)
        h = (h ^ peer[i]) * UINT64_C(0x100000001b3);
    return (unsigned)((h ^ h >> 32) % 4096);
}

/* Somebody chooses peers for the place that they have in the table: the work stays what it is for any others. */
static void chosen_peers_are_no_more_work(void **state)
{
    uint64_t work[2];
    for (int chosen = 0; chosen < 2; chosen++) {
        unsigned n = 0;
        for (uint32_t a = 1; n < 4000; a++) {
            const uint8_t peer[4] = {10, (uint8_t)(a >> 16), (uint8_t)(a >> 8), (uint8_t)a};
            if (chosen && unkeyed(443, peer) != 7)
                continue;
            n++;
            reset(0, (uint16_t)n, peer, n, 0);
            reset(0, (uint16_t)(n + 5000), peer, n, 0); /* two, so that nothing is decided */
            told(n, peer, 10000, false);
            if (n % 1000 == 0)
                turn(10001);
        }
        settled(20000);
        turn(30000);
        work[chosen] = aborts_looked(t.aborts);
        tear_down(state);
        assert_int_equal(set_up(state), 0);
    }
    assert_true(work[1] < 2 * work[0]);
}

static void old_ones_make_room(void **state)
{
    (void)state;
    reset(0, 5000, client, 10, 0);
    for (unsigned i = 0; i < 3 * ABORTS_MAX; i++)
        told(i + 1, other, 20, false);
    told(0xa0000, client, 30, false);
    settled(30);
    turn(40);
    assert_int_equal(t.count, 1);
    expect_named(0, 0xa0000, 5000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(one_flow_is_named, set_up, tear_down),
        cmocka_unit_test_setup_teardown(told_twice_it_names_one_flow, set_up, tear_down),
        cmocka_unit_test_setup_teardown(waits_until_all_shards_have_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(flow_reset_after_the_event_was_read_is_not_meant, set_up, tear_down),
        cmocka_unit_test_setup_teardown(port_peer_and_local_address_must_fit, set_up, tear_down),
        cmocka_unit_test_setup_teardown(reset_by_the_peer_is_no_abort, set_up, tear_down),
        cmocka_unit_test_setup_teardown(two_of_a_kind_are_counted_and_block_nobody, set_up, tear_down),
        cmocka_unit_test_setup_teardown(late_event_names_nothing_wrong, set_up, tear_down),
        cmocka_unit_test_setup_teardown(others_that_get_their_names_make_it_certain, set_up, tear_down),
        cmocka_unit_test_setup_teardown(cookie_that_has_named_a_flow_names_no_other, set_up, tear_down),
        cmocka_unit_test_setup_teardown(missed_notes_bind_nothing_before, set_up, tear_down),
        cmocka_unit_test_setup_teardown(events_outlive_the_hub, set_up, tear_down),
        cmocka_unit_test_setup_teardown(more_than_can_be_looked_at_name_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(no_other_port_fits, set_up, tear_down),
        cmocka_unit_test_setup_teardown(chosen_peers_are_no_more_work, set_up, tear_down),
        cmocka_unit_test_setup_teardown(old_ones_make_room, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
