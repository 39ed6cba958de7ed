/* SPDX-License-Identifier: Apache-2.0
 * The calendar against dates known otherwise and against the C library, and the text form. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>
#include <time.h>

#include "shared/clock.h"

static void days_of_known_dates(void **state)
{
    (void)state;
    assert_int_equal(clock_days(1970, 1, 1), 0);
    assert_int_equal(clock_days(1969, 12, 31), -1);
    assert_int_equal(clock_days(2000, 2, 29), 11016);
    assert_int_equal(clock_days(2000, 3, 1), 11017);
    assert_int_equal(clock_days(1, 1, 1), -719162);
    assert_int_equal(clock_days(9999, 12, 31), 2932896);
}

static void civil_agrees_with_the_library(void **state)
{
    (void)state;
    /* A prime step walks through all times of day, months and leap years of the range. */
    for (int64_t sec = -9223372036; sec < 9223372036; sec += 7654321) {
        time_t t = (time_t)sec;
        struct tm tm;
        assert_non_null(gmtime_r(&t, &tm));
        struct civil c = clock_civil((struct wall){sec * NS_PER_SEC + 5});
        assert_int_equal(c.year, tm.tm_year + 1900);
        assert_int_equal(c.month, tm.tm_mon + 1);
        assert_int_equal(c.day, tm.tm_mday);
        assert_int_equal(c.hour, tm.tm_hour);
        assert_int_equal(c.min, tm.tm_min);
        assert_int_equal(c.sec, tm.tm_sec);
        assert_int_equal(c.ns, 5);
        assert_int_equal(clock_days(c.year, c.month, c.day) * 86400 + c.hour * 3600 + c.min * 60 + c.sec, sec);
    }
}

static void before_1970_rounds_down(void **state)
{
    (void)state;
    struct civil c = clock_civil((struct wall){-1});
    assert_int_equal(c.year, 1969);
    assert_int_equal(c.month, 12);
    assert_int_equal(c.day, 31);
    assert_int_equal(c.sec, 59);
    assert_int_equal(c.ns, 999999999);
    assert_int_equal(clock_yyyymmdd((struct wall){-1}), 19691231);
}

static void years_are_clamped(void **state)
{
    (void)state;
    struct civil first = clock_civil_of(INT64_MIN, 7), last = clock_civil_of(INT64_MAX, 7);
    assert_int_equal(first.year * 10000 + first.month * 100 + first.day, 10101);
    assert_int_equal(first.ns, 0);
    assert_int_equal(last.year * 10000 + last.month * 100 + last.day, 99991231);
    assert_int_equal(last.ns, 999999999);
    for (int year = 1; year <= 9999; year++) {
        struct civil c = clock_civil_of(clock_days(year, 12, 31) * 86400 + 86399, 3);
        assert_int_equal(c.year * 10000 + c.month * 100 + c.day, year * 10000 + 1231);
        assert_int_equal(c.hour * 3600 + c.min * 60 + c.sec, 86399);
    }
}

static void format_and_extremes(void **state)
{
    (void)state;
    char text[CLOCK_TEXT];
    clock_format((struct wall){INT64_C(1732035108123456789)}, text);
    assert_string_equal(text, "2024-11-19T16:51:48.123456789Z");
    assert_int_equal(clock_yyyymmdd((struct wall){INT64_C(1732035108123456789)}), 20241119);
    clock_format((struct wall){0}, text);
    assert_string_equal(text, "1970-01-01T00:00:00.000000000Z");
    clock_format((struct wall){INT64_MIN}, text);
    assert_string_equal(text, "1677-09-21T00:12:43.145224192Z");
    clock_format((struct wall){INT64_MAX}, text);
    assert_string_equal(text, "2262-04-11T23:47:16.854775807Z");
}

static void system_clocks_run(void **state)
{
    (void)state;
    const struct clock *c = clock_system();
    struct mono a = c->mono(c->ctx);
    struct mono b = c->mono(c->ctx);
    assert_true(a.ns > 0 && b.ns >= a.ns);
    assert_true(clock_civil(c->wall(c->ctx)).year >= 2024);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(days_of_known_dates),     cmocka_unit_test(civil_agrees_with_the_library),
        cmocka_unit_test(before_1970_rounds_down), cmocka_unit_test(years_are_clamped),
        cmocka_unit_test(format_and_extremes),     cmocka_unit_test(system_clocks_run),
    };
    return cmocka_run_group_tests_name("clock", tests, NULL, NULL);
}
