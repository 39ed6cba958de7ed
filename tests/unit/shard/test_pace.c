/* SPDX-License-Identifier: Apache-2.0
 * Idle time buys small files, load and a ring that fills up do not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "shard/pace.h"

#define RING ((uint64_t)16 << 20)
#define SAVED ((uint64_t)PACE_BYTES_PER_S * PACE_SAVED_S)

static struct mono at(double s)
{
    return (struct mono){INT64_C(5000000000000) + (int64_t)(s * 1e9)};
}

static void test_a_quiet_shard_compresses_small(void **state)
{
    struct pace p = {0};
    (void)state;
    for (int i = 0; i < 1000; i++) { /* 1,000 packets of 100 bytes a second */
        assert_int_equal(pace_effort(&p, at(i * 0.1), 100000, RING), EFFORT_SMALL);
        pace_spent(&p, 10000);
    }
}

static void test_the_allowance_runs_out_and_comes_back(void **state)
{
    struct pace p = {0};
    (void)state;
    assert_int_equal(pace_effort(&p, at(0), 0, RING), EFFORT_SMALL);
    pace_spent(&p, SAVED + PACE_BYTES_PER_S / 4);
    assert_int_equal(pace_effort(&p, at(0), 0, RING), EFFORT_FAST);
    assert_int_equal(pace_effort(&p, at(0.24), 0, RING), EFFORT_FAST);
    assert_int_equal(pace_effort(&p, at(0.26), 0, RING), EFFORT_SMALL);
}

/* Asked in steps below the resolution of a byte, time is not lost. */
static void test_small_steps_add_up(void **state)
{
    struct pace p = {0};
    (void)state;
    assert_int_equal(pace_effort(&p, at(0), 0, RING), EFFORT_SMALL);
    pace_spent(&p, SAVED + 100);
    int64_t t = at(0).ns;
    while (pace_effort(&p, (struct mono){t}, 0, RING) == EFFORT_FAST)
        t += 1000;
    assert_in_range(t - at(0).ns, 100 * NS_PER_SEC / PACE_BYTES_PER_S, 110 * NS_PER_SEC / PACE_BYTES_PER_S);
}

static void test_a_ring_that_fills_up_ends_it(void **state)
{
    struct pace p = {0};
    (void)state;
    assert_int_equal(pace_effort(&p, at(0), RING / PACE_FULL_SHARE - 1, RING), EFFORT_SMALL);
    assert_int_equal(pace_effort(&p, at(0), RING / PACE_FULL_SHARE, RING), EFFORT_FAST);
    assert_int_equal(pace_effort(&p, at(0), 0, RING), EFFORT_SMALL);
}

/* Quiet for days does not buy days of slow work. */
static void test_savings_are_bounded(void **state)
{
    struct pace p = {0};
    (void)state;
    (void)pace_effort(&p, at(0), 0, RING);
    assert_int_equal(pace_effort(&p, at(1e6), 0, RING), EFFORT_SMALL);
    pace_spent(&p, SAVED);
    assert_int_equal(pace_effort(&p, at(1e6), 0, RING), EFFORT_FAST);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_quiet_shard_compresses_small),
        cmocka_unit_test(test_the_allowance_runs_out_and_comes_back),
        cmocka_unit_test(test_small_steps_add_up),
        cmocka_unit_test(test_a_ring_that_fills_up_ends_it),
        cmocka_unit_test(test_savings_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
