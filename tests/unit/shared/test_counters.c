/* SPDX-License-Identifier: Apache-2.0
 * Names of states, and the sums: they balance at rest, and never go negative in flight. */
#include "shared/counters.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void test_names(void **state)
{
    (void)state;
    assert_string_equal(saver_state_name(SAVER_NOTSTARTED), "notstarted");
    assert_string_equal(saver_state_name(SAVER_WRITEFINAL_ERROR), "writefinalerror");
    assert_string_equal(saver_state_name((enum saver_state)999), "unknown");
    assert_string_equal(saver_error_reason(SAVER_STOPPED), "unknown");
    for (int s = SAVER_ERROR_FIRST; s < SAVER_STATE_COUNT; s++) {
        char text[64];
        snprintf(text, sizeof text, "%serror", saver_error_reason((enum saver_state)s));
        assert_string_equal(text, saver_state_name((enum saver_state)s));
    }
}

static struct dispatcher_page d;
static struct shard_page pages[2];
static const struct shard_page *shards[2] = {&pages[0], &pages[1]};

static int reset(void **state)
{
    (void)state;
    memset(&d, 0, sizeof d);
    memset(pages, 0, sizeof pages);
    return 0;
}

static void test_balance_at_rest(void **state)
{
    (void)state;
    struct totals t;
    counter_set(&d.delivered, 1000);
    counter_set(&d.drops[CAUSE_NOT_TCP], 100);
    counter_set(&d.drops[CAUSE_RING_FULL], 50);
    counter_set(&d.enqueued[0], 500);
    counter_set(&d.enqueued[1], 350);
    counter_set(&pages[0].c.consumed, 500);
    counter_set(&pages[0].c.published, 450);
    counter_set(&pages[0].c.drops[CAUSE_NO_UUID], 30);
    counter_set(&pages[0].c.drops[CAUSE_CAPTURE_LIMIT], 5);
    counter_set(&pages[1].c.consumed, 340);
    counter_set(&pages[1].c.published, 340);
    counter_set(&pages[0].c.files, 7);
    counter_set(&pages[1].c.files, 8);
    counter_set(&pages[1].c.budget_limit, 1 << 20);
    counter_set(&d.interfaces[3].kernel_received, 77); /* not used: not counted */
    d.interfaces[4].used = 1;
    counter_set(&d.interfaces[4].kernel_received, 1100);
    counter_set(&d.interfaces[4].kernel_dropped, 100);
    totals_read(&t, &d, shards, 2);
    assert_int_equal(t.delivered, 1000);
    assert_int_equal(t.enqueued, 850);
    assert_int_equal(t.consumed, 840);
    assert_int_equal(t.in_ring, 10);
    assert_int_equal(t.saved, 790);
    assert_int_equal(t.buffered, 15);
    assert_int_equal(t.lost, 80);
    assert_int_equal(t.limits, 105);
    assert_int_equal(t.drops[CAUSE_NO_UUID], 30);
    assert_int_equal(t.delivered, t.saved + t.buffered + t.in_ring + t.lost + t.limits);
    assert_int_equal(t.files, 15);
    assert_int_equal(t.budget_limit, 1 << 20);
    assert_int_equal(t.kernel_received, 1100);
    assert_int_equal(t.kernel_dropped, 100);
}

static void test_never_negative(void **state)
{
    (void)state;
    struct totals t;
    counter_set(&pages[0].c.consumed, 10);
    counter_set(&pages[0].c.published, 12); /* as seen by a reader between two stores */
    counter_set(&pages[1].c.consumed, 5);
    counter_set(&d.enqueued[0], 9);
    totals_read(&t, &d, shards, 2);
    assert_int_equal(t.in_ring, 0);
    assert_int_equal(t.buffered, 5); /* one shard does not eat another's */
    const struct shard_page *some[2] = {NULL, &pages[1]};
    totals_read(&t, NULL, some, 2);
    assert_int_equal(t.delivered, 0);
    assert_int_equal(t.consumed, 5);
    totals_read(&t, &d, NULL, 0);
    assert_int_equal(t.saved, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test_setup(test_balance_at_rest, reset),
        cmocka_unit_test_setup(test_never_negative, reset),
    };
    return cmocka_run_group_tests_name("counters", tests, NULL, NULL);
}
