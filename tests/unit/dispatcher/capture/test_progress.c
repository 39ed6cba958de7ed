/* SPDX-License-Identifier: Apache-2.0
 * Up to which moment everything has been read: never too late, also while somebody sets the wall clock. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "dispatcher/capture/progress.h"

#define SEC NS_PER_SEC
#define MS NS_PER_MS
#define W0 (INT64_C(1700000000) * SEC)
#define T0 (1000 * SEC)

static struct {
    int64_t mono, difference;
    struct steps steps;
    struct progress p;
} t;

static struct mono read_mono(void *ctx)
{
    (void)ctx;
    return (struct mono){t.mono};
}

static struct wall read_wall(void *ctx)
{
    (void)ctx;
    return (struct wall){t.mono + t.difference};
}

static int set_up(void **state)
{
    (void)state;
    t.mono = T0;
    t.difference = W0;
    t.steps = (struct steps){0};
    progress_begin(&t.p, (struct mono){T0});
    return 0;
}

static struct mono begin(int64_t at)
{
    static const struct clock c = {read_mono, read_wall, NULL};
    t.mono = T0 + at;
    return steps_look(&t.steps, &c);
}

static void packet(int64_t at)
{
    progress_packet(&t.p, (struct wall){T0 + t.difference + at});
}

static void until_is(int64_t at)
{
    assert_int_equal(t.p.until.ns, T0 + at);
}

static void packets_prove_their_own_time(void **state)
{
    (void)state;
    until_is(0);
    struct mono began = begin(10 * MS);
    packet(8 * MS);
    packet(3 * MS); /* another processor's, a little late */
    progress_burst(&t.p, &t.steps, began, false);
    until_is(8 * MS);
    progress_burst(&t.p, &t.steps, begin(20 * MS), false); /* nothing came, and nothing is proven */
    until_is(8 * MS);
}

static void drained_source_proves_what_must_have_arrived(void **state)
{
    (void)state;
    progress_burst(&t.p, &t.steps, begin(300 * MS), true);
    until_is(300 * MS - CAPTURE_DELAY_NS);
    progress_burst(&t.p, &t.steps, begin(290 * MS), true); /* never goes back */
    until_is(300 * MS - CAPTURE_DELAY_NS);
}

/* Packets that come during the burst prove no more than its begin: the clock may have been set since. */
static void burst_proves_its_begin_at_most(void **state)
{
    (void)state;
    struct mono began = begin(10 * MS);
    t.difference += 3600 * SEC;
    packet(11 * MS);
    progress_burst(&t.p, &t.steps, began, false);
    until_is(10 * MS);
}

static void clock_that_is_set_proves_nothing(void **state)
{
    static const int64_t steps[] = {-3600 * SEC, 3600 * SEC};
    (void)state;
    for (int i = 0; i < 2; i++) {
        (void)set_up(NULL);
        progress_burst(&t.p, &t.steps, begin(1 * MS), false);
        packet(5 * MS); /* on its way while the clock is set */
        t.difference += steps[i];
        progress_burst(&t.p, &t.steps, begin(10 * MS), false);
        until_is(5 * MS);
        struct mono began = begin(20 * MS);
        packet(15 * MS); /* carries the new time */
        progress_burst(&t.p, &t.steps, began, false);
        until_is(15 * MS);
        progress_burst(&t.p, &t.steps, begin(300 * MS), true);
        until_is(300 * MS - CAPTURE_DELAY_NS);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(packets_prove_their_own_time, set_up),
        cmocka_unit_test_setup(drained_source_proves_what_must_have_arrived, set_up),
        cmocka_unit_test_setup(burst_proves_its_begin_at_most, set_up),
        cmocka_unit_test_setup(clock_that_is_set_proves_nothing, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
