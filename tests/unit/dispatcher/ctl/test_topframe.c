/* SPDX-License-Identifier: Apache-2.0
 * Frames from two answers to `status`. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dispatcher/ctl/topframe.h"

static char *frame;

static const char first[] =
    "{\"version\":\"0.1.0\",\"ready\":true,\"draining\":false,\"processes\":["
    "{\"process\":\"dispatcher\",\"pid\":10,\"up\":true,\"restarts\":0,\"heartbeat_age_ms\":7},"
    "{\"process\":\"shard\",\"pid\":12,\"up\":true,\"restarts\":3,\"heartbeat_age_ms\":8,\"shard\":0,\"flows\":5,"
    "\"unnamed\":1,\"files\":100,\"ring_used\":50,\"ring_size\":200,\"budget_used\":1,\"budget_limit\":8}],"
    "\"packets\":{\"delivered\":1000,\"saved\":900,\"lost\":3,\"limits\":4},"
    "\"drops\":{\"not_tcp\":4,\"no_uuid\":3},\"kernel\":{\"received\":1000,\"dropped\":0},"
    "\"flows\":{\"live\":5,\"unnamed\":1,\"started\":50,\"saved\":40},\"files\":40,\"bytes\":4000,"
    "\"interfaces\":[{\"interface\":\"eth0\",\"up\":true,\"delivered\":1000,\"kernel_dropped\":0}]}";
static const char second[] =
    "{\"version\":\"0.1.0\",\"ready\":true,\"draining\":false,\"processes\":["
    "{\"process\":\"dispatcher\",\"pid\":10,\"up\":true,\"restarts\":0,\"heartbeat_age_ms\":7},"
    "{\"process\":\"shard\",\"pid\":12,\"up\":false,\"restarts\":3,\"heartbeat_age_ms\":8,\"shard\":0,\"flows\":5,"
    "\"unnamed\":1,\"files\":130,\"ring_used\":50,\"ring_size\":200,\"budget_used\":1,\"budget_limit\":8}],"
    "\"packets\":{\"delivered\":3000,\"saved\":2900,\"lost\":5,\"limits\":4},"
    "\"drops\":{\"not_tcp\":4,\"no_uuid\":5},\"kernel\":{\"received\":500,\"dropped\":0},"
    "\"flows\":{},\"files\":70,\"bytes\":4000,\"interfaces\":[]}";

static struct topframe_sample sample(const char *text, int64_t seconds)
{
    struct topframe_sample s = {.at = {seconds * NS_PER_SEC}};
    assert_int_equal(jsontext_open(&s.status, text, strlen(text)), SC_OK);
    return s;
}

static const char *render(const struct topframe_sample *now, const struct topframe_sample *before)
{
    size_t len;
    free(frame);
    FILE *f = open_memstream(&frame, &len);
    assert_non_null(f);
    topframe_write(now, before, f);
    (void)fclose(f);
    return frame;
}

static void one_sample(void **state)
{
    (void)state;
    struct topframe_sample a = sample(first, 1);
    const char *text = render(&a, NULL);
    static const char *const has[] = {
        "shardcap 0.1.0: ready\n",
        "delivered 1000 (-/s)",
        "live 5  unnamed 1",
        "dispatcher         10 up           0       7 ms\n",
        "shard[0]           12 up           3       8 ms         5         1         -    25%     13%\n",
        "no_uuid            lost                3          -\n",
        "not_tcp            limit               4          -\n",
        "eth0             up    delivered 1000"};
    for (size_t i = 0; i < sizeof has / sizeof has[0]; i++)
        if (!strstr(text, has[i]))
            fail_msg("not in the frame: %s\n%s", has[i], text);
}

static void what_moves(void **state)
{
    (void)state;
    struct topframe_sample a = sample(first, 1), b = sample(second, 3);
    const char *text = render(&b, &a);
    static const char *const has[] = {"shardcap 0.1.0: DEGRADED\n",
                                      "delivered 3000 (1000/s)",
                                      "lost 5 (1/s)",
                                      "received 500 (-/s)", /* a counter that went back */
                                      "files 70 (15/s)",
                                      " DOWN ",
                                      "        15    25%",
                                      "no_uuid            lost                5          1\n",
                                      "not_tcp            limit               4          0\n"};
    for (size_t i = 0; i < sizeof has / sizeof has[0]; i++)
        if (!strstr(text, has[i]))
            fail_msg("not in the frame: %s\n%s", has[i], text);
}

static void of_another_form(void **state)
{
    (void)state;
    static const char *const texts[] = {"{}", "[]", "1", "{\"processes\":1,\"drops\":[1],\"interfaces\":[2]}"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct topframe_sample a = sample(texts[i], 1);
        assert_non_null(strstr(render(&a, &a), "DEGRADED"));
    }
}

static int release(void **state)
{
    (void)state;
    free(frame);
    frame = NULL;
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_sample),
        cmocka_unit_test(what_moves),
        cmocka_unit_test(of_another_form),
    };
    return cmocka_run_group_tests_name("ctl/topframe", tests, NULL, release);
}
