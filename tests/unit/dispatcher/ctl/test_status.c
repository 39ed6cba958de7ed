/* SPDX-License-Identifier: Apache-2.0
 * The status table: what is degraded, and answers of the wrong form. */
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

static int print(const char *json)
{
    size_t len = 0;
    free(table);
    table = NULL;
    FILE *f = open_memstream(&table, &len);
    assert_non_null(f);
    int status = status_print(json, strlen(json), f, error);
    (void)fclose(f);
    return status;
}

#define PROCESSES(hub_up)                                                                                              \
    "\"processes\":[{\"process\":\"dispatcher\",\"pid\":11,\"up\":true,\"restarts\":0},"                               \
    "{\"process\":\"hub\",\"pid\":12,\"up\":" hub_up ",\"restarts\":3},"                                               \
    "{\"process\":\"shard\",\"pid\":13,\"up\":true,\"restarts\":0,\"shard\":0,\"flows\":5,\"unnamed\":1,\"files\":2,"  \
    "\"ring_used\":512,\"ring_size\":1024,\"budget_used\":1,\"budget_limit\":4}]"

static void healthy(void **state)
{
    (void)state;
    assert_int_equal(
        print("{\"version\":\"0.1.0\",\"ready\":true,\"draining\":false," PROCESSES(
            "true") ","
                    "\"packets\":{\"delivered\":9000000000},\"drops\":{\"no_uuid\":7},"
                    "\"interfaces\":[{\"interface\":\"eth0\",\"up\":true,\"delivered\":1,\"kernel_dropped\":2}],"
                    "\"events\":{\"accepted\":4,\"bad\":0,\"eventsocket\":\"up\"}}"),
        0);
    assert_string_equal(error, "");
    assert_non_null(strstr(table, "shardcap 0.1.0: ready"));
    assert_non_null(strstr(table, "shard[0]"));
    assert_non_null(strstr(table, "delivered 9000000000"));
    assert_non_null(strstr(table, "no_uuid 7"));
    assert_non_null(strstr(table, "interface eth0 up"));
    assert_non_null(strstr(table, " 50 "));
}

static void degraded(void **state)
{
    (void)state;
    assert_int_equal(print("{\"ready\":true," PROCESSES("false") "}"), 1);
    assert_non_null(strstr(table, "down"));
    assert_int_equal(print("{\"ready\":false," PROCESSES("true") "}"), 1);
    assert_non_null(strstr(table, "not ready"));
    assert_int_equal(print("{\"ready\":true}"), 1); /* no process at all */
    assert_string_equal(error, "");
}

static void other_forms(void **state)
{
    (void)state;
    static const char *const wrong[] = {"", "error usage: x\n", "[]", "{", "3", "null"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_int_equal(print(wrong[i]), 1);
        assert_string_not_equal(error, "");
    }
    (void)print("{\"version\":\"\\u001b[2J\",\"ready\":5,\"processes\":[1,{}],\"interfaces\":{},\"drops\":[]}");
    assert_null(strchr(table, '\033'));
    free(table);
    table = NULL;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(healthy),
        cmocka_unit_test(degraded),
        cmocka_unit_test(other_forms),
    };
    return cmocka_run_group_tests_name("ctl/status", tests, NULL, NULL);
}
