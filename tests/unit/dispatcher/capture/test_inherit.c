/* SPDX-License-Identifier: Apache-2.0
 * What a dispatcher leaves in its page for one that takes over. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "dispatcher/capture/inherit.h"

static struct dispatcher_page page;

static struct interface_counters *add(unsigned at, uint32_t index)
{
    struct interface_counters *c = &page.interfaces[at];
    atomic_store(&c->index, index);
    atomic_store(&c->capturing, 1);
    atomic_store(&c->used, 1);
    return c;
}

static int setup(void **state)
{
    (void)state;
    memset(&page, 0, sizeof page);
    return 0;
}

static void a_group_is_found_while_it_is_captured(void **state)
{
    (void)state;
    struct interface_counters *a = add(0, 7), *b = add(1, 9);
    inherit_tell(&page, a, 0); /* a number like any other */
    inherit_tell(&page, b, 0xffff);
    assert_int_equal(inherit_group(&page, 7), 0);
    assert_int_equal(inherit_group(&page, 9), 0xffff);
    assert_int_equal(inherit_group(&page, 8), -1);
    atomic_store(&a->capturing, 0);
    assert_int_equal(inherit_group(&page, 7), -1);
    inherit_tell(&page, b, -1);
    assert_int_equal(inherit_group(&page, 9), -1);
}

static void the_slot_that_is_shared_has_none(void **state)
{
    (void)state;
    inherit_tell(&page, add(INTERFACES_MAX - 1, 7), 5);
    assert_int_equal(inherit_group(&page, 7), -1);
}

static bool is_below(void *ctx, int if_index)
{
    const int *limit = ctx;
    return if_index < *limit;
}

static void all_means_all_that_are_captured(void **state)
{
    (void)state;
    int limit = 8;
    assert_true(inherit_all(&page, is_below, &limit));
    add(0, 7);
    assert_true(inherit_all(&page, is_below, &limit));
    struct interface_counters *c = add(1, 8);
    assert_false(inherit_all(&page, is_below, &limit));
    atomic_store(&c->capturing, 0);
    assert_true(inherit_all(&page, is_below, &limit));
}

static void begun_is_seen_until_the_end(void **state)
{
    (void)state;
    assert_false(inherit_begun(&page));
    inherit_begin(&page);
    assert_true(inherit_begun(&page));
    inherit_end(&page);
    assert_false(inherit_begun(&page));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_group_is_found_while_it_is_captured, setup),
        cmocka_unit_test_setup(the_slot_that_is_shared_has_none, setup),
        cmocka_unit_test_setup(all_means_all_that_are_captured, setup),
        cmocka_unit_test_setup(begun_is_seen_until_the_end, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
