/* SPDX-License-Identifier: Apache-2.0
 * Lists of cores: what is added in which order, and where a thread runs afterwards. Works with any number of cores. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>

#include "shared/cpus.h"

static cpu_set_t ours;

static int remember(void **state)
{
    (void)state;
    return sched_getaffinity(0, sizeof ours, &ours);
}

static int restore(void **state)
{
    (void)state;
    return sched_setaffinity(0, sizeof ours, &ours);
}

/* All cores that we may use, the highest first, so that the order is not one that a set would have. */
static struct cpu_list all_backwards(void)
{
    struct cpu_list list = {0};
    for (unsigned cpu = CPU_SETSIZE; cpu-- > 0;) {
        char text[16];
        unsigned at;
        snprintf(text, sizeof text, "%u", cpu);
        if (CPU_ISSET(cpu, &ours) && list.count < CPUS_MAX)
            assert_int_equal(cpus_add(&list, text, &at), SC_OK);
    }
    assert_true(list.count > 0);
    return list;
}

static bool runs_on_only(unsigned cpu)
{
    cpu_set_t now;
    return sched_getaffinity(0, sizeof now, &now) == 0 && CPU_COUNT(&now) == 1 && CPU_ISSET(cpu, &now);
}

static void each_place_has_its_core(void **state)
{
    (void)state;
    struct cpu_list list = all_backwards();
    for (unsigned place = 0; place < 3 * list.count; place++) {
        cpus_take(&list, place);
        assert_true(runs_on_only(list.cpu[place % list.count]));
    }
}

static void the_list_as_a_whole(void **state)
{
    (void)state;
    struct cpu_list list = all_backwards();
    cpu_set_t now;
    cpus_take(&list, 0);
    cpus_enter(&list);
    assert_int_equal(sched_getaffinity(0, sizeof now, &now), 0);
    assert_int_equal(CPU_COUNT(&now), list.count);
    for (uint32_t i = 0; i < list.count; i++)
        assert_true(CPU_ISSET(list.cpu[i], &now));
}

static void no_list_changes_nothing(void **state)
{
    (void)state;
    struct cpu_list none = {0};
    cpu_set_t now;
    cpus_enter(&none);
    cpus_take(&none, 3);
    assert_int_equal(sched_getaffinity(0, sizeof now, &now), 0);
    assert_true(CPU_EQUAL(&now, &ours));
}

/* A core that went after the start: said, and no more. */
static void a_core_that_cannot_be_had(void **state)
{
    (void)state;
    struct cpu_list list = {.count = 1, .cpu = {CPU_SETSIZE - 1}};
    cpu_set_t now;
    if (CPU_ISSET(CPU_SETSIZE - 1, &ours))
        skip();
    cpus_enter(&list);
    cpus_take(&list, 0);
    assert_int_equal(sched_getaffinity(0, sizeof now, &now), 0);
    assert_true(CPU_EQUAL(&now, &ours));
}

static void too_many(void **state)
{
    (void)state;
    struct cpu_list list = {.count = CPUS_MAX};
    unsigned first = 0, at;
    char text[16];
    while (!CPU_ISSET(first, &ours))
        first++;
    for (unsigned i = 0; i < CPUS_MAX; i++)
        list.cpu[i] = CPU_SETSIZE - 1;
    snprintf(text, sizeof text, "%u", first);
    assert_int_equal(cpus_add(&list, text, &at), SC_EFULL);
    assert_int_equal(list.count, CPUS_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(each_place_has_its_core, restore),
        cmocka_unit_test_teardown(the_list_as_a_whole, restore),
        cmocka_unit_test_teardown(no_list_changes_nothing, restore),
        cmocka_unit_test_teardown(a_core_that_cannot_be_had, restore),
        cmocka_unit_test_teardown(too_many, restore),
    };
    return cmocka_run_group_tests(tests, remember, NULL);
}
