/* SPDX-License-Identifier: Apache-2.0
 * Names of files, and times as people give them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "dispatcher/ctl/timearg.h"
#include "dispatcher/ctl/tree.h"

static void uuids(void **state)
{
    (void)state;
    static const struct {
        const char *name, *uuid;
    } rows[] = {{"a_1.pcap.gz", "a_1"},     {"a_1.pcap", "a_1"},      {"a_1.1.pcap.gz", "a_1"},
                {"a.b_1.12.pcap", "a.b_1"}, {"a.1.2.pcap.gz", "a.1"}, {"1.pcap", "1"},
                {"a.1x.pcap.gz", "a.1x"},   {"a1.pcap.gz", "a1"},     {".a_1.pcap.gz", NULL},
                {"a_1.pcap.gz.part", NULL}, {".pcap.gz", NULL},       {"README", NULL},
                {"a_1.pcapng", NULL}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char uuid[TREE_UUID];
        assert_int_equal(tree_uuid(rows[i].name, uuid), rows[i].uuid != NULL);
        if (rows[i].uuid)
            assert_string_equal(uuid, rows[i].uuid);
    }
    char uuid[TREE_UUID], deep[TREE_UUID + 6];
    memset(deep, 'x', sizeof deep);
    memcpy(deep + TREE_UUID, ".pcap", 6);
    assert_false(tree_uuid(deep, uuid));
    assert_true(tree_uuid(deep + 1, uuid));
}

static void times(void **state)
{
    (void)state;
    const struct wall now = {1700000000 * NS_PER_SEC};
    static const struct {
        const char *text;
        int64_t sec;
    } good[] = {{"2023-11-14T22:13:20Z", 1700000000},
                {"2023-11-14T22:13:20+01:00", 1699996400},
                {"2023-11-14T22:13", 1699999980},
                {"2023-11-14", 1699920000},
                {"90s", 1699999910},
                {"2m", 1699999880},
                {"1h", 1699996400},
                {"3d", 1699740800}};
    static const char *const bad[] = {"",           "yesterday",   "5",           "5x",         "h",
                                      "1.5h",       "5 h",         "-5h",         "5hh",        "2023-11",
                                      "2023-13-01", "2023-11-14T", "9999999999s", "999999999d", "2023-11-14T22:13:20"};
    struct wall t;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_int_equal(timearg_parse(good[i].text, now, &t), SC_OK);
        assert_int_equal(t.ns / NS_PER_SEC, good[i].sec);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(timearg_parse(bad[i], now, &t), SC_EFORMAT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(uuids), cmocka_unit_test(times)};
    return cmocka_run_group_tests_name("ctl/tree", tests, NULL, NULL);
}
