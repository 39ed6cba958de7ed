/* SPDX-License-Identifier: Apache-2.0
 * Every error of the house has a text of its own; any other int has one, too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "shared/err.h"

static void every_error_has_its_own_text(void **state)
{
    (void)state;
    for (int a = SC_OK; a >= SC_EOF; a--) {
        assert_non_null(sc_strerror(a));
        assert_string_not_equal(sc_strerror(a), "unknown error");
        for (int b = SC_OK; b > a; b--)
            assert_string_not_equal(sc_strerror(a), sc_strerror(b));
    }
}

static void foreign_values_are_unknown(void **state)
{
    (void)state;
    assert_string_equal(sc_strerror(1), "unknown error");
    assert_string_equal(sc_strerror(SC_EOF - 1), "unknown error");
    assert_string_equal(sc_strerror(INT32_MIN), "unknown error");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_error_has_its_own_text),
        cmocka_unit_test(foreign_values_are_unknown),
    };
    return cmocka_run_group_tests_name("err", tests, NULL, NULL);
}
