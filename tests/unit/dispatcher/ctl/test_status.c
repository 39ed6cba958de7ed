/* SPDX-License-Identifier: Apache-2.0
 * The status table: exit statuses, and answers of another form. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dispatcher/ctl/status.h"

static char *table;
static char error[CLIENT_ERROR];

static int print(const char *answer)
{
    size_t len = 0;
    free(table);
    table = NULL;
    FILE *f = open_memstream(&table, &len);
    assert_non_null(f);
    int status = status_print(answer, strlen(answer), f, error);
    (void)fclose(f);
    return status;
}

static int release(void **state)
{
    (void)state;
    free(table);
    table = NULL;
    return 0;
}

static void two_verdicts(void **state)
{
    (void)state;
    assert_int_equal(print("fine\nshardcap 0.1.0: ready\nrow\n"), 0);
    assert_string_equal(table, "shardcap 0.1.0: ready\nrow\n");
    assert_string_equal(error, "");
    assert_int_equal(print("degraded\nshardcap 0.1.0: not ready\n"), 1);
    assert_string_equal(table, "shardcap 0.1.0: not ready\n");
    assert_string_equal(error, "");
}

static void other_forms(void **state)
{
    (void)state;
    static const char *const wrong[] = {"", "fine", "finely\n", "error usage: x\n", "{}", "\n"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_int_equal(print(wrong[i]), 1);
        assert_string_not_equal(error, "");
        assert_string_equal(table, "");
    }
    assert_int_equal(print("fine\n\033[2J\x80\n"), 0);
    assert_string_equal(table, "?[2J?\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(two_verdicts, release),
        cmocka_unit_test_teardown(other_forms, release),
    };
    return cmocka_run_group_tests_name("ctl/status", tests, NULL, NULL);
}
