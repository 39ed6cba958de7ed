/* SPDX-License-Identifier: Apache-2.0
 * When things are due, on a clock of our own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "dispatcher/ctl/pace.h"

/* Takes all that is due at `now`, at most max. */
static unsigned due(struct pace *p, int64_t now, unsigned max)
{
    unsigned n = 0;
    while (n < max && pace_next(p, (struct mono){now}) == 0)
        n++;
    return n;
}

static void so_many_a_second(void **state)
{
    (void)state;
    struct pace p = {.rate = 3};
    int64_t start = 1000;
    assert_int_equal(due(&p, start, 9), 1);
    assert_int_equal(pace_next(&p, (struct mono){start}), NS_PER_SEC / 3);
    assert_int_equal(due(&p, start + NS_PER_SEC / 3, 9), 1);
    assert_int_equal(pace_next(&p, (struct mono){start + NS_PER_SEC - 5}), 0); /* at 2/3 */
    assert_int_equal(pace_next(&p, (struct mono){start + NS_PER_SEC - 5}), 5); /* at 1 */
    for (int second = 1; second < 100; second++)
        assert_int_equal(due(&p, start + second * NS_PER_SEC + NS_PER_SEC * 2 / 3, 9), 3);
}

static void at_once(void **state)
{
    (void)state;
    struct pace p = {0};
    assert_int_equal(due(&p, 5, 1000), 1000);
}

static void held_up(void **state)
{
    (void)state;
    struct pace p = {.rate = 100};
    assert_int_equal(due(&p, 0, 1000), 1);
    /* An hour without a hub: a second's worth comes at once, the rest at the pace. */
    int64_t later = 3600 * NS_PER_SEC;
    assert_int_equal(due(&p, later, 1000), 101);
    assert_int_equal(due(&p, later + NS_PER_SEC, 1000), 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(so_many_a_second),
        cmocka_unit_test(at_once),
        cmocka_unit_test(held_up),
    };
    return cmocka_run_group_tests_name("ctl/pace", tests, NULL, NULL);
}
