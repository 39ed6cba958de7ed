/* SPDX-License-Identifier: Apache-2.0
 * The state machine of one child, on a fake clock. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>

#include "dispatcher/supervisor/slot.h"
#include "shared/proto.h"

static struct mono at_ms(int64_t ms)
{
    return (struct mono){ms * NS_PER_MS};
}

/* waitpid's encoding (wait(2), W_EXITCODE of glibc). */
static int exited(int status)
{
    return status << 8;
}

static void start(struct slot *s, int64_t ms)
{
    assert_int_equal(slot_tick(s, at_ms(ms)), SLOT_SPAWN);
    slot_spawned(s, at_ms(ms));
    assert_int_equal(s->state, SLOT_STARTING);
}

static void test_wanted_spawned_ready(void **state)
{
    struct slot s;
    (void)state;
    slot_init(&s, 30 * NS_PER_SEC);
    assert_int_equal(slot_tick(&s, at_ms(0)), SLOT_NOTHING);
    slot_want(&s, at_ms(5));
    start(&s, 5);
    assert_int_equal(s.generation, 1);
    slot_ready(&s, at_ms(20));
    assert_int_equal(s.state, SLOT_READY);
    slot_want(&s, at_ms(30)); /* running already */
    assert_int_equal(slot_tick(&s, at_ms(40)), SLOT_NOTHING);
}

static void test_not_ready_in_time_is_killed_once(void **state)
{
    struct slot s;
    (void)state;
    slot_init(&s, 30 * NS_PER_SEC);
    slot_want(&s, at_ms(0));
    start(&s, 0);
    assert_int_equal(slot_tick(&s, at_ms(4999)), SLOT_NOTHING);
    assert_int_equal(slot_tick(&s, at_ms(5000)), SLOT_KILL);
    assert_int_equal(slot_tick(&s, at_ms(5001)), SLOT_NOTHING);
    assert_int_equal(slot_death_of(&s, SIGKILL), DEATH_FAULT); /* our own kill */
}

static void test_killed_from_outside_costs_no_delay(void **state)
{
    struct slot s;
    (void)state;
    slot_init(&s, 30 * NS_PER_SEC);
    slot_want(&s, at_ms(0));
    for (int64_t i = 0; i < 100; i++) {
        start(&s, i);
        slot_ready(&s, at_ms(i));
        assert_int_equal(slot_death_of(&s, SIGKILL), DEATH_OUTSIDE);
        assert_int_equal(slot_exited(&s, DEATH_OUTSIDE, true, at_ms(i)), 0);
    }
    assert_int_equal(s.generation, 100);
}

static void test_faults_back_off_and_time_forgives(void **state)
{
    static const int64_t want_ms[] = {100, 1000, 2000, 4000, 8000, 16000, 30000, 30000};
    struct slot s;
    int64_t now = 0;
    (void)state;
    slot_init(&s, 30 * NS_PER_SEC);
    slot_want(&s, at_ms(0));
    for (unsigned i = 0; i < sizeof(want_ms) / sizeof(*want_ms); i++) {
        start(&s, now);
        slot_ready(&s, at_ms(now));
        assert_int_equal(slot_exited(&s, DEATH_FAULT, true, at_ms(now)), want_ms[i] * NS_PER_MS);
        assert_int_equal(slot_tick(&s, at_ms(now + want_ms[i] - 1)), SLOT_NOTHING);
        now += want_ms[i];
    }
    start(&s, now);
    slot_ready(&s, at_ms(now));
    assert_int_equal(slot_tick(&s, at_ms(now + 10000)), SLOT_NOTHING); /* forgiven */
    assert_int_equal(slot_exited(&s, DEATH_FAULT, true, at_ms(now + 10000)), 100 * NS_PER_MS);
}

static void test_hub_never_waits_longer_than_its_limit(void **state)
{
    struct slot s;
    (void)state;
    slot_init(&s, NS_PER_SEC);
    slot_want(&s, at_ms(0));
    for (int i = 0; i < 50; i++) {
        start(&s, i * 1000);
        assert_true(slot_exited(&s, DEATH_FAULT, true, at_ms(i * 1000)) <= NS_PER_SEC);
    }
}

static void test_what_takes_longer_to_start_may(void **state)
{
    struct slot s;
    (void)state;
    slot_init(&s, 30 * NS_PER_SEC);
    s.start_more_ns = 7 * NS_PER_SEC;
    slot_want(&s, at_ms(0));
    start(&s, 0);
    assert_int_equal(slot_tick(&s, at_ms(SLOT_START_LIMIT_NS / NS_PER_MS + 6999)), SLOT_NOTHING);
    assert_int_equal(slot_tick(&s, at_ms(SLOT_START_LIMIT_NS / NS_PER_MS + 7000)), SLOT_KILL);
}

static void test_configuration_is_never_retried(void **state)
{
    struct slot s;
    (void)state;
    slot_init(&s, 30 * NS_PER_SEC);
    slot_want(&s, at_ms(0));
    start(&s, 0);
    assert_int_equal(slot_death_of(&s, exited(EXIT_CONFIG)), DEATH_CONFIG);
    assert_int_equal(slot_death_of(&s, exited(EXIT_USAGE)), DEATH_CONFIG);
    assert_int_equal(slot_exited(&s, DEATH_CONFIG, true, at_ms(1)), -1);
    assert_int_equal(s.state, SLOT_ENDED);
    assert_int_equal(slot_tick(&s, at_ms(60000)), SLOT_NOTHING);
}

static void test_every_death_has_its_meaning(void **state)
{
    static const int faults[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS};
    struct slot s;
    (void)state;
    slot_init(&s, NS_PER_SEC);
    for (unsigned i = 0; i < sizeof(faults) / sizeof(*faults); i++)
        assert_int_equal(slot_death_of(&s, faults[i]), DEATH_FAULT);
    assert_int_equal(slot_death_of(&s, SIGTERM), DEATH_OUTSIDE);
    assert_int_equal(slot_death_of(&s, exited(EXIT_DONE)), DEATH_DONE);
    assert_int_equal(slot_death_of(&s, exited(EXIT_PANIC)), DEATH_FAULT);
    assert_int_equal(slot_death_of(&s, exited(EXIT_FAILED)), DEATH_FAULT);
}

static void test_not_wanted_any_more(void **state)
{
    struct slot s;
    (void)state;
    slot_init(&s, NS_PER_SEC);
    slot_want(&s, at_ms(0));
    start(&s, 0);
    assert_int_equal(slot_exited(&s, DEATH_DONE, false, at_ms(1)), -1);
    assert_int_equal(s.state, SLOT_ENDED);
    slot_want(&s, at_ms(2));
    assert_int_equal(slot_tick(&s, at_ms(2)), SLOT_SPAWN);
}

static void test_spawn_that_fails_is_tried_later(void **state)
{
    struct slot s;
    (void)state;
    slot_init(&s, NS_PER_SEC);
    slot_want(&s, at_ms(0));
    assert_int_equal(slot_tick(&s, at_ms(0)), SLOT_SPAWN);
    slot_spawn_failed(&s, at_ms(0));
    assert_int_equal(slot_tick(&s, at_ms(99)), SLOT_NOTHING);
    assert_int_equal(slot_tick(&s, at_ms(100)), SLOT_SPAWN);
    assert_int_equal(s.generation, 0);
}

static void test_leaving_is_no_fault_however_it_ends(void **state)
{
    struct slot s;
    (void)state;
    slot_init(&s, 30 * NS_PER_SEC);
    slot_leave(&s, SLOT_LEAVE_LIMIT_NS, at_ms(0)); /* nobody there */
    assert_int_equal(s.state, SLOT_IDLE);
    slot_want(&s, at_ms(0));
    start(&s, 0);
    slot_leave(&s, SLOT_LEAVE_LIMIT_NS, at_ms(0)); /* not ready: nothing to hand over yet */
    assert_int_equal(s.state, SLOT_STARTING);
    slot_ready(&s, at_ms(10));
    slot_leave(&s, SLOT_LEAVE_LIMIT_NS, at_ms(20));
    assert_int_equal(slot_tick(&s, at_ms(5019)), SLOT_NOTHING);
    assert_int_equal(slot_exited(&s, slot_death_of(&s, exited(EXIT_DONE)), true, at_ms(5019)), 0);
    start(&s, 5019);
    slot_ready(&s, at_ms(5030));
    slot_leave(&s, SLOT_LEAVE_LIMIT_NS, at_ms(5030));
    slot_paused(&s, NS_PER_SEC);
    assert_int_equal(slot_tick(&s, at_ms(11029)), SLOT_NOTHING);
    assert_int_equal(slot_tick(&s, at_ms(11030)), SLOT_KILL); /* said once */
    assert_int_equal(slot_tick(&s, at_ms(11031)), SLOT_NOTHING);
    assert_int_equal(slot_death_of(&s, SIGKILL), DEATH_OUTSIDE);
    assert_int_equal(slot_exited(&s, DEATH_OUTSIDE, true, at_ms(11031)), 0);
    assert_int_equal(s.faults, 0);
}

static void test_an_external_one_is_waited_for(void **state)
{
    struct slot s;
    (void)state;
    slot_init(&s, 30 * NS_PER_SEC);
    s.external = true;
    slot_want(&s, at_ms(0));
    assert_int_equal(slot_tick(&s, at_ms(100000)), SLOT_NOTHING);
    slot_spawned(&s, at_ms(100000)); /* it came */
    assert_int_equal(s.generation, 1);
    assert_int_equal(slot_tick(&s, at_ms(200000)), SLOT_NOTHING);
    slot_ready(&s, at_ms(200000));
    assert_int_equal(slot_exited(&s, DEATH_OUTSIDE, true, at_ms(200001)), 0);
    assert_int_equal(slot_tick(&s, at_ms(300000)), SLOT_NOTHING);
}

/* What the fault rule of shards looks at: less than what asks for a delay. */
static void only_deaths_of_its_own_making_count(void **state)
{
    (void)state;
    static const int faults[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS};
    static const int others[] = {SIGKILL, SIGTERM, SIGHUP, SIGTRAP};
    struct slot s;
    slot_init(&s, NS_PER_SEC);
    for (unsigned i = 0; i < sizeof(faults) / sizeof(*faults); i++)
        assert_true(slot_fault_counts(&s, faults[i]));
    for (unsigned i = 0; i < sizeof(others) / sizeof(*others); i++)
        assert_false(slot_fault_counts(&s, others[i]));
    assert_true(slot_fault_counts(&s, EXIT_PANIC << 8));
    assert_false(slot_fault_counts(&s, EXIT_FAILED << 8));
    assert_false(slot_fault_counts(&s, EXIT_DONE << 8));
    assert_false(slot_fault_counts(&s, EXIT_CONFIG << 8));
    slot_killed(&s);
    assert_true(slot_fault_counts(&s, SIGKILL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wanted_spawned_ready),
        cmocka_unit_test(test_not_ready_in_time_is_killed_once),
        cmocka_unit_test(test_killed_from_outside_costs_no_delay),
        cmocka_unit_test(test_faults_back_off_and_time_forgives),
        cmocka_unit_test(test_hub_never_waits_longer_than_its_limit),
        cmocka_unit_test(test_what_takes_longer_to_start_may),
        cmocka_unit_test(test_configuration_is_never_retried),
        cmocka_unit_test(test_every_death_has_its_meaning),
        cmocka_unit_test(test_not_wanted_any_more),
        cmocka_unit_test(test_spawn_that_fails_is_tried_later),
        cmocka_unit_test(test_leaving_is_no_fault_however_it_ends),
        cmocka_unit_test(test_an_external_one_is_waited_for),
        cmocka_unit_test(only_deaths_of_its_own_making_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
