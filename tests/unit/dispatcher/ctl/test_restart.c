/* SPDX-License-Identifier: Apache-2.0
 * When a restart is done, by what `status` said before and says now. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "dispatcher/ctl/restart.h"

static char texts[2][1024];

static struct jsontext status(int i, int dispatcher, int hub, int shard0, int shard11, const char *more)
{
    struct jsontext v;
    (void)snprintf(texts[i], sizeof texts[i],
                   "{\"ready\":true,\"draining\":false,%s\"processes\":["
                   "{\"process\":\"dispatcher\",\"up\":true,\"generation\":%d},"
                   "{\"process\":\"hub\",\"up\":true,\"generation\":%d},"
                   "{\"process\":\"shard\",\"up\":true,\"generation\":%d,\"shard\":0},"
                   "{\"process\":\"shard\",\"up\":true,\"generation\":%d,\"shard\":11}]}",
                   more, dispatcher, hub, shard0, shard11);
    assert_int_equal(jsontext_open(&v, texts[i], strlen(texts[i])), SC_OK);
    return v;
}

static void one(void **state)
{
    (void)state;
    struct jsontext before = status(0, 1, 2, 3, 4, "");
    struct jsontext same = status(1, 1, 2, 3, 4, "");
    static const char *const words[] = {"0", "11", "shard[11]", "hub", "dispatcher", "all"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        assert_false(restart_is_done(before, same, words[i]));
    struct jsontext after = status(1, 1, 2, 3, 5, "");
    assert_true(restart_is_done(before, after, "11"));
    assert_true(restart_is_done(before, after, "shard[11]"));
    static const char *const others[] = {"0", "1", "hub", "dispatcher", "all", "shard[1]", "shard[11", "111", ""};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        assert_false(restart_is_done(before, after, others[i]));
    assert_true(restart_is_done(before, status(1, 1, 3, 3, 4, ""), "hub"));
    assert_true(restart_is_done(before, status(1, 2, 2, 3, 4, ""), "dispatcher"));
}

static void all(void **state)
{
    (void)state;
    struct jsontext before = status(0, 1, 2, 3, 4, "");
    assert_false(restart_is_done(before, status(1, 1, 3, 4, 4, ""), "all"));
    assert_true(restart_is_done(before, status(1, 1, 3, 4, 5, ""), "all"));
    assert_false(restart_is_done(before, status(1, 1, 3, 4, 5, "\"restarting\":1,"), "all"));
    struct jsontext down = status(1, 1, 3, 4, 5, "");
    char *up = strstr(texts[1], "\"up\":true");
    memcpy(up, "\"up\":null", 9);
    assert_false(restart_is_done(before, down, "all"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(one), cmocka_unit_test(all)};
    return cmocka_run_group_tests_name("ctl/restart", tests, NULL, NULL);
}
