/* SPDX-License-Identifier: Apache-2.0
 * Whose turn it is to start, on records of children without processes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "dispatcher/supervisor/turn.h"

#define SHARDS 3

static struct family f;
static struct memory memory;
static const struct mono now = {NS_PER_SEC};

static void make(struct child *c, enum child_kind kind)
{
    *c = (struct child){.family = &f, .kind = kind, .sock = -1, .pidfd = -1};
    slot_init(&c->slot, NS_PER_SEC);
    slot_want(&c->slot, now);
}

static void come_up(struct child *c)
{
    slot_spawned(&c->slot, now);
    slot_ready(&c->slot, now);
    c->ever_ready = true;
}

static int setup(void **state)
{
    (void)state;
    memory = (struct memory){.shards = SHARDS};
    f = (struct family){.memory = &memory, .heir = {.sock = -1}};
    make(&f.hub, CHILD_HUB);
    make(&f.dispatcher, CHILD_DISPATCHER);
    for (unsigned i = 0; i < SHARDS; i++)
        make(&f.shard[i], CHILD_SHARD);
    return 0;
}

static void test_the_hub_comes_first(void **state)
{
    (void)state;
    assert_true(turn_of(&f, &f.hub));
    assert_false(turn_of(&f, &f.shard[0]));
    slot_spawned(&f.hub.slot, now);
    assert_false(turn_of(&f, &f.shard[0]));
    slot_ready(&f.hub.slot, now);
    assert_true(turn_of(&f, &f.shard[0]));
}

static void test_no_dispatcher_beside_an_heir(void **state)
{
    (void)state;
    come_up(&f.hub);
    assert_true(turn_of(&f, &f.dispatcher));
    f.heir.pid = 1;
    assert_false(turn_of(&f, &f.dispatcher));
    assert_true(turn_of(&f, &f.shard[0]));
}

static void test_one_starts_at_a_time(void **state)
{
    (void)state;
    come_up(&f.hub);
    slot_spawned(&f.shard[1].slot, now);
    assert_false(turn_of(&f, &f.shard[0]));
    assert_false(turn_of(&f, &f.dispatcher));
    assert_true(turn_of(&f, &f.hub)); /* the one that starts waits for it */
    slot_ready(&f.shard[1].slot, now);
    assert_true(turn_of(&f, &f.shard[0]));
    slot_spawned(&f.dispatcher.slot, now);
    assert_false(turn_of(&f, &f.shard[0]));
}

static void test_backoff_blocks_nobody(void **state)
{
    (void)state;
    come_up(&f.hub);
    slot_spawned(&f.shard[0].slot, now);
    assert_true(slot_exited(&f.shard[0].slot, DEATH_FAULT, true, now) > 0);
    assert_true(turn_of(&f, &f.shard[1]));
    assert_true(turn_of(&f, &f.dispatcher));
}

static void test_without_a_hub_nobody_waits_for_another(void **state)
{
    (void)state;
    come_up(&f.hub);
    for (unsigned i = 0; i < SHARDS; i++)
        come_up(&f.shard[i]);
    (void)slot_exited(&f.hub.slot, DEATH_FAULT, true, now);
    for (unsigned i = 0; i < 2; i++) {
        (void)slot_exited(&f.shard[i].slot, DEATH_OUTSIDE, true, now);
        assert_true(turn_of(&f, &f.shard[i]));
        slot_spawned(&f.shard[i].slot, now); /* reads its ring, and cannot say READY */
    }
    assert_false(turn_of(&f, &f.dispatcher)); /* was never ready: the start goes in order */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_the_hub_comes_first, setup),
        cmocka_unit_test_setup(test_no_dispatcher_beside_an_heir, setup),
        cmocka_unit_test_setup(test_one_starts_at_a_time, setup),
        cmocka_unit_test_setup(test_backoff_blocks_nobody, setup),
        cmocka_unit_test_setup(test_without_a_hub_nobody_waits_for_another, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
