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

static struct pace fresh(unsigned shards)
{
    struct pace p;
    pace_init(&p, shards, at(0), 1000);
    return p;
}

/* `pps` packets a second for 100 seconds, each sealed as the effort of its moment has it; the share that was small,
 * without the first ten seconds. */
static double small_share(struct pace *p, unsigned pps)
{
    unsigned small = 0;
    for (unsigned i = 1; i <= 1000; i++) {
        uint64_t packets = 1000 + (uint64_t)i * pps / 10, fresh_bytes = (uint64_t)pps / 10 * PACE_PACKET_BYTES;
        if (pace_effort(p, at(i * 0.1), packets, 0, RING) != EFFORT_SMALL)
            continue;
        pace_spent(p, fresh_bytes);
        small += i > 100;
    }
    return small / 900.0;
}

static const unsigned half = PACE_BYTES_PER_S / PACE_PACKET_BYTES / 2; /* packets a second */

static void test_a_quiet_shard_compresses_small(void **state)
{
    struct pace p = fresh(1);
    (void)state;
    assert_true(small_share(&p, 1000) == 1);
    p = fresh(1);
    assert_true(small_share(&p, half - 50) == 1);
}

static void test_load_takes_the_allowance_away(void **state)
{
    double before = 1;
    (void)state;
    for (unsigned pps = half * 5 / 4; pps < 2 * half; pps += half / 4) {
        struct pace p = fresh(1);
        double share = small_share(&p, pps);
        double left = (2.0 * half - pps) / pps;
        assert_true(share < before && share > left - 0.02 && share < left + 0.02);
        before = share;
    }
    struct pace p = fresh(1);
    assert_true(small_share(&p, 20000) == 0);
}

static void test_shards_share_it(void **state)
{
    struct pace p = fresh(4);
    (void)state;
    assert_true(small_share(&p, half / 4 - 20) == 1);
    p = fresh(4);
    assert_true(small_share(&p, half / 2 + 20) == 0);
}

/* What was sent at full speed is not compressed slowly right afterwards. */
static void test_after_a_burst_quiet_comes_first(void **state)
{
    struct pace p = fresh(1);
    (void)state;
    assert_int_equal(pace_effort(&p, at(0), 1000 + 1000000, 0, RING), EFFORT_FAST);
    assert_int_equal(pace_effort(&p, at(PACE_SAVED_S - 0.1), 1000 + 1000000, 0, RING), EFFORT_FAST);
    assert_int_equal(pace_effort(&p, at(PACE_SAVED_S + 0.1), 1000 + 1000000, 0, RING), EFFORT_SMALL);
}

static void test_the_allowance_runs_out_and_comes_back(void **state)
{
    struct pace p = fresh(1);
    (void)state;
    assert_int_equal(pace_effort(&p, at(0), 1000, 0, RING), EFFORT_SMALL);
    pace_spent(&p, SAVED + PACE_BYTES_PER_S / 4);
    assert_int_equal(pace_effort(&p, at(0), 1000, 0, RING), EFFORT_FAST);
    assert_int_equal(pace_effort(&p, at(0.24), 1000, 0, RING), EFFORT_FAST);
    assert_int_equal(pace_effort(&p, at(0.26), 1000, 0, RING), EFFORT_SMALL);
}

/* Asked in steps below the resolution of a byte, time is not lost. */
static void test_small_steps_add_up(void **state)
{
    struct pace p = fresh(1);
    (void)state;
    pace_spent(&p, SAVED + 100);
    int64_t t = at(0).ns;
    while (pace_effort(&p, (struct mono){t}, 1000, 0, RING) == EFFORT_FAST)
        t += 1000;
    assert_in_range(t - at(0).ns, 100 * NS_PER_SEC / PACE_BYTES_PER_S, 110 * NS_PER_SEC / PACE_BYTES_PER_S);
}

static void test_a_ring_that_fills_up_ends_it(void **state)
{
    struct pace p = fresh(1);
    (void)state;
    assert_int_equal(pace_effort(&p, at(0), 1000, RING / PACE_FULL_SHARE - 1, RING), EFFORT_SMALL);
    assert_int_equal(pace_effort(&p, at(0), 1000, RING / PACE_FULL_SHARE, RING), EFFORT_FAST);
    assert_int_equal(pace_effort(&p, at(0), 1000, 0, RING), EFFORT_SMALL);
}

/* Quiet for days does not buy days of slow work, and a flood of days does not forbid it for long. */
static void test_the_past_is_bounded(void **state)
{
    struct pace p = fresh(1);
    (void)state;
    assert_int_equal(pace_effort(&p, at(1e6), 1000, 0, RING), EFFORT_SMALL);
    pace_spent(&p, SAVED);
    assert_int_equal(pace_effort(&p, at(1e6), 1000, 0, RING), EFFORT_FAST);
    assert_int_equal(pace_effort(&p, at(1e6), UINT64_C(1) << 40, 0, RING), EFFORT_FAST);
    assert_int_equal(pace_effort(&p, at(1e6 + PACE_SAVED_S + 0.1), UINT64_C(1) << 40, 0, RING), EFFORT_SMALL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_quiet_shard_compresses_small),
        cmocka_unit_test(test_load_takes_the_allowance_away),
        cmocka_unit_test(test_shards_share_it),
        cmocka_unit_test(test_after_a_burst_quiet_comes_first),
        cmocka_unit_test(test_the_allowance_runs_out_and_comes_back),
        cmocka_unit_test(test_small_steps_add_up),
        cmocka_unit_test(test_a_ring_that_fills_up_ends_it),
        cmocka_unit_test(test_the_past_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
