/* SPDX-License-Identifier: Apache-2.0
 * When, by CLOCK_MONOTONIC, the wall clock showed a time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "shared/steps.h"

#define SEC NS_PER_SEC
#define HOUR (3600 * SEC)
#define W0 (INT64_C(1700000000) * SEC) /* wall - mono at first */

/* Clocks of a test. sleep_ns: what passes between two readings, once. */
static struct {
    int64_t mono, difference, sleep_ns;
    struct steps s;
} t;

static struct mono read_mono(void *ctx)
{
    (void)ctx;
    return (struct mono){t.mono};
}

static struct wall read_wall(void *ctx)
{
    (void)ctx;
    struct wall w = {t.mono + t.difference};
    t.mono += t.sleep_ns;
    t.sleep_ns = 0;
    return w;
}

static const struct clock test_clock = {read_mono, read_wall, NULL};

static int set_up(void **state)
{
    (void)state;
    t.mono = 1000 * SEC;
    t.difference = W0;
    t.sleep_ns = 0;
    t.s = (struct steps){0};
    return 0;
}

static int64_t look(int64_t at)
{
    t.mono = at;
    return steps_look(&t.s, &test_clock).ns;
}

static int64_t when(int64_t wall, int64_t near)
{
    return steps_mono(&t.s, (struct wall){wall}, (struct mono){near}).ns;
}

static void nobody_has_looked(void **state)
{
    (void)state;
    assert_int_equal(when(W0, 77), 77);
}

static void without_steps_it_is_the_difference(void **state)
{
    (void)state;
    assert_int_equal(look(1000 * SEC), 1000 * SEC);
    look(1001 * SEC);
    assert_int_equal(t.s.count, 1);
    assert_int_equal(steps_wall(&t.s).ns, W0 + 1001 * SEC);
    assert_int_equal(when(W0 + 1000 * SEC + 5, 0), 1000 * SEC + 5);
    assert_int_equal(when(W0 + 3 * SEC, 0), 3 * SEC);    /* from before the first look */
    assert_int_equal(when(W0 + 1001 * SEC + 1, 77), 77); /* nobody has seen that time yet */
}

static void after_a_step_times_of_before_are_still_known(void **state)
{
    (void)state;
    static const int64_t steps[] = {-HOUR, -SEC, 2 * SEC, HOUR};
    for (int i = 0; i < 4; i++) {
        (void)set_up(NULL);
        look(1000 * SEC);
        t.difference += steps[i];
        look(1001 * SEC);
        look(1010 * SEC);
        assert_int_equal(t.s.count, 2);
        assert_int_equal(when(W0 + 1000 * SEC, 1000 * SEC + 100), 1000 * SEC);
        assert_int_equal(when(W0 + steps[i] + 1009 * SEC, 1009 * SEC + 100), 1009 * SEC);
        /* between the looks nobody knows on which side of the step it was: both are possible */
        assert_int_equal(when(W0 + 1000 * SEC + 5, 1000 * SEC + 5), 1000 * SEC + 5);
        assert_int_equal(when(W0 + steps[i] + 1001 * SEC - 5, 1001 * SEC - 5), 1001 * SEC - 5);
    }
}

/* The same time was shown twice. */
static void of_two_moments_the_nearer_one(void **state)
{
    (void)state;
    look(1000 * SEC);
    t.difference -= 5 * SEC;
    look(1000 * SEC + 1);
    look(1010 * SEC);
    int64_t wall = W0 + 999 * SEC;
    assert_int_equal(when(wall, 999 * SEC + 100), 999 * SEC);
    assert_int_equal(when(wall, 1004 * SEC + 100), 1004 * SEC);
}

/* The clock jumped over it. */
static void what_was_never_shown_is_held_for_likely(void **state)
{
    (void)state;
    look(1000 * SEC);
    t.difference += HOUR;
    look(1001 * SEC);
    assert_int_equal(when(W0 + 1800 * SEC + 1000 * SEC, 1000 * SEC + 3), 1000 * SEC + 3);
    assert_int_equal(when(INT64_MAX, 5), 5);
    assert_int_equal(when(INT64_MIN, 5), 5);
}

static void sleep_between_two_readings_is_no_step(void **state)
{
    (void)state;
    look(1000 * SEC);
    t.sleep_ns = 3 * SEC;
    look(1001 * SEC);
    assert_int_equal(t.s.count, 1);
    set_up(NULL);
    t.sleep_ns = 3 * SEC; /* nor does it spoil the first look */
    look(1000 * SEC);
    look(1010 * SEC);
    assert_int_equal(t.s.count, 1);
}

static void old_steps_make_room(void **state)
{
    (void)state;
    for (int i = 0; i < 3 * STEPS_KEPT; i++) {
        look(1000 * SEC + i * SEC);
        t.difference += HOUR;
    }
    assert_int_equal(t.s.count, STEPS_KEPT);
    int64_t last = 1000 * SEC + (3 * STEPS_KEPT - 1) * SEC;
    assert_int_equal(when(W0 + (3 * STEPS_KEPT - 1) * HOUR + last, last), last);
    assert_int_equal(when(W0 + (3 * STEPS_KEPT - 2) * HOUR + last - SEC, last - SEC + 9), last - SEC);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(nobody_has_looked, set_up),
        cmocka_unit_test_setup(without_steps_it_is_the_difference, set_up),
        cmocka_unit_test_setup(after_a_step_times_of_before_are_still_known, set_up),
        cmocka_unit_test_setup(of_two_moments_the_nearer_one, set_up),
        cmocka_unit_test_setup(what_was_never_shown_is_held_for_likely, set_up),
        cmocka_unit_test_setup(sleep_between_two_readings_is_no_step, set_up),
        cmocka_unit_test_setup(old_steps_make_room, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
