/* SPDX-License-Identifier: Apache-2.0
 * A shard with the rings of two dispatchers: both are consumed, each flow in order; it ends when both have ended; a
 * successor goes on in both where its predecessor was, whatever of them was consumed by then. */
#include "tests/unit/shard/rig.h"

struct two {
    struct rig *r;
    struct ring_producer producer[2];
    unsigned at; /* whose ring rig_send writes to */
};

static void choose(struct two *t, unsigned dispatcher)
{
    t->producer[t->at] = t->r->producer;
    t->at = dispatcher;
    t->r->producer = t->producer[dispatcher];
}

static struct two open_two(void)
{
    struct two t = {.r = rig_new()};
    t.r->config.dispatchers = 2;
    t.r->config.savefile_count = 0;
    t.r->config.uuid_sources = UUID_SOURCE_HASH;
    t.r->other_ring_map = rig_map(t.r->ring_bytes);
    t.producer[0] = t.r->producer;
    assert_int_equal(ring_format(t.r->other_ring_map, RIG_RING, 1, 0), SC_OK);
    assert_int_equal(
        ring_producer_attach(&t.producer[1], t.r->other_ring_map, t.r->ring_bytes, shard_page_peer(t.r->page, 1)),
        SC_OK);
    rig_start(t.r);
    return t;
}

static void close_two(struct two *t)
{
    munmap(t->r->other_ring_map, t->r->ring_bytes);
    rig_free(t->r);
}

/* A packet of a flow, by the dispatcher that the flow belongs to. */
static void send(struct two *t, uint16_t flow, unsigned number)
{
    choose(t, flow % 2);
    rig_send(t->r, &(struct rig_packet){.flow = flow, .at = (int64_t)number * 1000, .seq = number, .flags = TCP_ACK});
}

static void finish(struct two *t, int64_t at)
{
    choose(t, 0);
    rig_mark(t->r, RING_END, at);
    assert_int_not_equal(rig_run(t->r), SHARD_DONE); /* the other has not ended */
    choose(t, 1);
    rig_end(t->r, at);
    rig_check_balance(t->r);
    assert_int_equal(rig_sum_drops(t->r), 0);
}

static void test_both_rings_are_consumed(void **state)
{
    struct two t = open_two();
    (void)state;
    for (unsigned i = 0; i < 200; i++)
        send(&t, (uint16_t)(i % 10), i);
    (void)rig_run(t.r);
    assert_int_equal(counter_get(&t.r->page->c.consumed), 200);
    assert_int_equal(counter_get(&t.r->page->c.flows_live), 10);
    finish(&t, NS_PER_SEC);
    assert_int_equal(counter_get(&t.r->page->c.files), 10);
    close_two(&t);
}

/* One that sleeps is woken by either. */
static void test_sleep_looks_at_both(void **state)
{
    struct two t = open_two();
    (void)state;
    (void)rig_run(t.r);
    assert_true(shard_will_sleep(t.r->shard));
    shard_woke(t.r->shard);
    for (uint16_t flow = 0; flow < 2; flow++) {
        send(&t, flow, flow);
        assert_false(shard_will_sleep(t.r->shard));
        (void)rig_run(t.r);
        assert_true(shard_will_sleep(t.r->shard));
        shard_woke(t.r->shard);
    }
    finish(&t, NS_PER_SEC);
    close_two(&t);
}

/* Killed after every single turn, with more in either ring: each packet is taken once. */
static void test_a_successor_goes_on_in_both(void **state)
{
    struct two t = open_two();
    (void)state;
    for (unsigned i = 0; i < 120; i++) {
        send(&t, (uint16_t)(i % 7), i);
        if (i % 3 == 0)
            (void)shard_step(t.r->shard);
        if (i % 5 == 0) {
            rig_crash(t.r);
            rig_start(t.r);
        }
    }
    rig_crash(t.r);
    rig_start(t.r);
    (void)rig_run(t.r);
    assert_int_equal(counter_get(&t.r->page->c.consumed), 120);
    assert_int_equal(counter_get(&t.r->page->c.flows_started), 7);
    finish(&t, NS_PER_SEC);
    close_two(&t);
}

/* The end of one ring outlives the process that saw it. */
static void test_a_successor_knows_which_ring_has_ended(void **state)
{
    struct two t = open_two();
    (void)state;
    send(&t, 0, 1);
    send(&t, 1, 2);
    choose(&t, 0);
    rig_mark(t.r, RING_END, NS_PER_SEC);
    assert_int_not_equal(rig_run(t.r), SHARD_DONE);
    rig_crash(t.r);
    rig_start(t.r);
    send(&t, 1, 3);
    assert_int_not_equal(rig_run(t.r), SHARD_DONE);
    choose(&t, 1);
    rig_end(t.r, NS_PER_SEC);
    rig_check_balance(t.r);
    assert_int_equal(rig_sum_drops(t.r), 0);
    close_two(&t);
}

/* What is lost in one ring is counted for that ring; the other goes on. */
static void test_a_ring_that_was_left_behind(void **state)
{
    struct two t = open_two();
    (void)state;
    for (unsigned i = 0; i < 20; i++)
        send(&t, (uint16_t)(i % 2), i);
    (void)rig_run(t.r);
    rig_crash(t.r);
    struct ring_shared *ring = t.r->other_ring_map;
    choose(&t, 0);
    t.producer[1].prod += 4 * RIG_RING; /* as if a ring's worth and more had passed */
    t.producer[1].packets += 3;
    choose(&t, 1);
    rig_commit(t.r, NS_PER_SEC);
    t.r->sent += 3;
    assert_true(ring->slot[0].prod > RIG_RING || ring->slot[1].prod > RIG_RING);
    rig_start(t.r);
    assert_int_equal(counter_get(&t.r->page->c.drops[CAUSE_BAD_RECORD]), 3);
    send(&t, 0, 40);
    send(&t, 1, 41);
    choose(&t, 0);
    rig_mark(t.r, RING_END, 2 * NS_PER_SEC);
    choose(&t, 1);
    rig_end(t.r, 2 * NS_PER_SEC);
    rig_check_balance(t.r);
    close_two(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_both_rings_are_consumed),
        cmocka_unit_test(test_sleep_looks_at_both),
        cmocka_unit_test(test_a_successor_goes_on_in_both),
        cmocka_unit_test(test_a_successor_knows_which_ring_has_ended),
        cmocka_unit_test(test_a_ring_that_was_left_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
