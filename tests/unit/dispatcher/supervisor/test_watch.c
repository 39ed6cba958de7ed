/* SPDX-License-Identifier: Apache-2.0
 * Silence of children on a clock of the test's own: who is killed for it, when, and who is not. No process runs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "dispatcher/supervisor/watch.h"

static struct family f;
static struct memory memory;
static struct dispatcher_page dispatcher;
static struct hub_page hub;
static struct shard_page page;
static struct ring_shared ring;
static struct mono now;

static void come_up(struct child *c, enum child_kind kind)
{
    *c = (struct child){.family = &f, .kind = kind, .sock = -1, .progress_since = now};
    slot_init(&c->slot, NS_PER_SEC);
    slot_want(&c->slot, now);
    slot_spawned(&c->slot, now);
    slot_ready(&c->slot, now);
}

static int setup(void **state)
{
    (void)state;
    memset(&dispatcher, 0, sizeof(dispatcher));
    memset(&hub, 0, sizeof(hub));
    memset(&page, 0, sizeof(page));
    memset(&ring, 0, sizeof(ring));
    memory = (struct memory){.shards = 1, .dispatcher = &dispatcher, .hub = &hub};
    memory.shard[0] = &page;
    memory.ring_head[0] = &ring;
    now.ns = 1000 * NS_PER_SEC;
    f = (struct family){.memory = &memory, .clock = clock_system(), .phase = PHASE_RUNNING};
    come_up(&f.hub, CHILD_HUB);
    come_up(&f.dispatcher, CHILD_DISPATCHER);
    come_up(&f.shard[0], CHILD_SHARD);
    return 0;
}

/* Looks every second for that long; hub and dispatcher move unless they are still. */
static void pass(int64_t ns, bool still)
{
    for (int64_t end = now.ns + ns; now.ns < end;) {
        now.ns += NS_PER_SEC;
        if (!still) {
            dispatcher.heartbeat++;
            hub.heartbeat++;
        }
        watch_children(&f, now);
    }
}

static bool killed(const struct child *c)
{
    return c->slot.killed;
}

static void test_a_shard_that_leaves_its_ring_alone(void **state)
{
    (void)state;
    pass(100 * NS_PER_SEC, false);
    assert_false(killed(&f.shard[0])); /* nothing to do */
    ring.slot[1].prod = 64;
    pass(WATCH_RING_NS - NS_PER_SEC, false);
    assert_false(killed(&f.shard[0]));
    pass(NS_PER_SEC, false);
    assert_true(killed(&f.shard[0]));
    assert_false(killed(&f.hub) || killed(&f.dispatcher));
}

static void test_a_shard_that_works(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 100; i++) {
        ring.slot[i % 2].prod = 64 * (i + 2);
        if (i % 2)
            page.progress++;
        else
            page.ring.cons += 64;
        pass(4 * NS_PER_SEC, false);
    }
    assert_false(killed(&f.shard[0]));
}

static void test_a_dead_dispatcher_s_gauges_accuse_nobody(void **state)
{
    (void)state;
    dispatcher.ring_backlog[0] = 4096; /* stood there when it died; the ring itself is empty */
    pass(20 * NS_PER_SEC, false);
    assert_false(killed(&f.shard[0]));
}

static void test_a_slow_disk_has_its_own_limit(void **state)
{
    (void)state;
    ring.slot[0].prod = 64;
    page.stage = STAGE_FILE;
    pass(WATCH_FILE_NS - NS_PER_SEC, false);
    assert_false(killed(&f.shard[0]));
    pass(NS_PER_SEC, false);
    assert_true(killed(&f.shard[0]));
}

static void test_a_shard_that_does_not_finish(void **state)
{
    (void)state;
    f.phase = PHASE_FINISHING;
    pass(WATCH_FINISH_NS - NS_PER_SEC, false);
    assert_false(killed(&f.shard[0]));

    pass(NS_PER_SEC, false);
    assert_true(killed(&f.shard[0]));
    assert_int_equal(f.status, EXIT_DONE); /* a successor may do better */
    come_up(&f.shard[0], CHILD_SHARD);
    f.shard[0].slot.faults = 2;
    pass(WATCH_FINISH_NS, false);
    assert_true(killed(&f.shard[0]));
    assert_int_equal(f.status, EXIT_FAILED);
    assert_string_equal(f.reason, "shard[0]: does not finish");
}

static void test_loops_that_stand_still(void **state)
{
    (void)state;
    pass(WATCH_LOOP_NS - NS_PER_SEC, true);
    assert_false(killed(&f.hub) || killed(&f.dispatcher));
    pass(2 * NS_PER_SEC, true);
    assert_true(killed(&f.hub) && killed(&f.dispatcher));
}

static void test_who_asks_twice_waits_less(void **state)
{
    (void)state;
    f.phase = PHASE_DRAINING;
    f.stops = 2;
    pass(WATCH_HURRY_NS + NS_PER_SEC, true);
    assert_true(killed(&f.dispatcher));
    assert_false(killed(&f.hub));
}

static void test_a_hub_that_does_not_go(void **state)
{
    (void)state;
    f.phase = PHASE_CLOSING;
    f.phase_since = now;
    pass(WATCH_HURRY_NS - NS_PER_SEC, false);
    assert_false(killed(&f.hub));
    pass(NS_PER_SEC, false);
    assert_true(killed(&f.hub));
}

static void test_our_own_pause_accuses_nobody(void **state)
{
    (void)state;
    come_up(&f.hub, CHILD_HUB);
    slot_spawned(&f.hub.slot, now); /* starting, with a limit */
    ring.slot[0].prod = 64;
    pass(NS_PER_SEC, false);
    now.ns += 3600 * NS_PER_SEC;
    watch_children(&f, now);
    assert_false(killed(&f.shard[0]) || killed(&f.dispatcher));
    assert_int_equal(slot_tick(&f.hub.slot, now), SLOT_NOTHING);
    pass(SLOT_START_LIMIT_NS, false);
    assert_int_equal(slot_tick(&f.hub.slot, now), SLOT_KILL);
    assert_true(killed(&f.shard[0])); /* its time began anew, and is over */
}

static void test_what_a_shard_owes(void **state)
{
    (void)state;
    assert_false(watch_shard_owes(&f, 0));
    ring.slot[0].prod = 64;
    assert_true(watch_shard_owes(&f, 0));
    page.ring.cons = 64;
    page.c.consumed = 10;
    page.c.published = 6;
    assert_true(watch_shard_owes(&f, 0));
    page.c.drops[CAUSE_NO_UUID] = 4;
    assert_false(watch_shard_owes(&f, 0));
    page.c.drops[CAUSE_NO_UUID] = 5; /* written over: it could be started again for ever */
    assert_false(watch_shard_owes(&f, 0));
}

static void test_the_first_reason_stays(void **state)
{
    (void)state;
    family_fail(&f, EXIT_CONFIG, "hub", "first");
    family_fail(&f, EXIT_FAILED, "", "second");
    assert_int_equal(f.status, EXIT_CONFIG);
    assert_string_equal(f.reason, "hub: first");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, setup)
    const struct CMUnitTest tests[] = {
        TEST(test_a_shard_that_leaves_its_ring_alone),
        TEST(test_a_shard_that_works),
        TEST(test_a_dead_dispatcher_s_gauges_accuse_nobody),
        TEST(test_a_slow_disk_has_its_own_limit),
        TEST(test_a_shard_that_does_not_finish),
        TEST(test_loops_that_stand_still),
        TEST(test_who_asks_twice_waits_less),
        TEST(test_a_hub_that_does_not_go),
        TEST(test_our_own_pause_accuses_nobody),
        TEST(test_what_a_shard_owes),
        TEST(test_the_first_reason_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
