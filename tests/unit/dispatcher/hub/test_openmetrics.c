/* SPDX-License-Identifier: Apache-2.0
 * Who gets OpenMetrics, and what becomes of the lines. */
#include "dispatcher/hub/openmetrics.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void test_who_wants_it(void **state)
{
    (void)state;
    /* what Prometheus 2.42 sends */
    assert_true(openmetrics_wanted("application/openmetrics-text;version=1.0.0,application/openmetrics-text;"
                                   "version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"));
    assert_true(openmetrics_wanted("application/openmetrics-text"));
    assert_false(openmetrics_wanted(""));
    assert_false(openmetrics_wanted("*/*"));
    assert_false(openmetrics_wanted("text/plain;version=0.0.4;q=1,*/*;q=0.1"));
    assert_false(openmetrics_wanted("text/plain,application/openmetrics-text;q=0.5"));
    assert_false(openmetrics_wanted("application/openmetrics-text;q=0"));
    assert_false(openmetrics_wanted("application/openmetrics-text;q=junk"));
}

static const char *converted(const char *classic)
{
    static struct text out;
    struct text in = {0};
    text_clear(&out);
    text_add(&in, classic, strlen(classic));
    openmetrics_from(&in, &out);
    text_free(&in);
    text_add(&out, "", 1);
    return out.data;
}

static void test_lines(void **state)
{
    (void)state;
    assert_string_equal(converted("# HELP a_total Of a_total.\n# TYPE a_total counter\na_total 3\n"),
                        "# HELP a Of a_total.\n# TYPE a counter\na_total 3\n# EOF\n");
    assert_string_equal(converted("# HELP b B.\n# TYPE b gauge\nb{x=\"_total \"} 1\n"),
                        "# HELP b B.\n# TYPE b gauge\nb{x=\"_total \"} 1\n# EOF\n");
    assert_string_equal(converted(""), "# EOF\n");
    assert_string_equal(converted("# TYPE x"), "# TYPE x# EOF\n");
}

static void test_failure_is_handed_on(void **state)
{
    (void)state;
    struct text in = {.failed = true}, out = {0};
    openmetrics_from(&in, &out);
    assert_true(out.failed);
    text_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_who_wants_it),
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_failure_is_handed_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
