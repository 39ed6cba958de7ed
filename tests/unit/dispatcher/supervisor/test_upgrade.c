/* SPDX-License-Identifier: Apache-2.0
 * May the programs on disk follow those that run? Decided from what -layout says; no program is run. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "dispatcher/supervisor/upgrade.h"

static struct upgrade u;
static char common[LAYOUT_TEXT];

static void says(enum upgrade_which which, unsigned k, const char *more)
{
    char *text = u.program[which].question[k].text;
    assert_true(snprintf(text, LAYOUT_TEXT, "%s%s\n", common, more) < LAYOUT_TEXT);
}

static int setup(void **state)
{
    static const char *const more[] = {[UPGRADE_SELF] = " resume 1",
                                       [UPGRADE_HUB] = " journal 1",
                                       [UPGRADE_DISPATCHER] = "",
                                       [UPGRADE_SHARD] = " arena 2"};
    (void)state;
    memset(&u, 0, sizeof(u));
    layout_common(common);
    for (unsigned i = 0; i < UPGRADE_PROGRAMS; i++)
        for (unsigned k = 0; k < 2; k++)
            says(i, k, more[i]);
    return 0;
}

static void fits(bool new_arena)
{
    char answer[PROTO_TEXT];
    bool is_new;
    assert_int_equal(upgrade_verdict(&u, &is_new, answer), SC_OK);
    assert_int_equal(is_new, new_arena);
}

static void refused(const char *program, const char *name)
{
    char answer[PROTO_TEXT], want[PROTO_TEXT];
    bool is_new;
    assert_int_equal(upgrade_verdict(&u, &is_new, answer), SC_EVERSION);
    snprintf(want, sizeof(want), "error layout: %s on disk has another layout of \"%s\"", program, name);
    assert_memory_equal(answer, want, strlen(want));
    assert_non_null(strstr(answer, "restart the service"));
}

static void test_the_same(void **state)
{
    (void)state;
    fits(false);
    says(UPGRADE_HUB, 1, " journal 1 more 7"); /* what nobody had before concerns nobody */
    fits(false);
}

static void test_another_arena(void **state)
{
    (void)state;
    says(UPGRADE_SHARD, 1, " arena 3");
    fits(true);
    says(UPGRADE_SHARD, 1, "");
    refused("shardcap-shard", "arena");
}

static void test_anything_else(void **state)
{
    (void)state;
    says(UPGRADE_HUB, 1, " journal 2");
    refused("shardcap-hub", "journal");
    setup(NULL);
    says(UPGRADE_SELF, 1, " resume 2");
    refused("shardcap", "resume");
    for (unsigned i = 0; i < UPGRADE_PROGRAMS; i++) { /* each number of the common part, in each program */
        static const char *const names[] = {"proto", "config", "counters", "ring", "bus"};
        static const char *const programs[] = {"shardcap", "shardcap-hub", "shardcap-dispatcher", "shardcap-shard"};
        for (unsigned n = 0; n < sizeof(names) / sizeof(*names); n++) {
            setup(NULL);
            char *text = u.program[i].question[1].text;
            char *digit = strstr(text, names[n]) + strlen(names[n]) + 1;
            *digit = *digit == '9' ? '8' : (char)(*digit + 1);
            refused(programs[i], names[n]);
        }
        setup(NULL);
        u.program[i].question[1].text[0] = '\0'; /* no program of ours */
        refused(programs[i], i == UPGRADE_SHARD ? "arena" : "proto");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_the_same, setup),
        cmocka_unit_test_setup(test_another_arena, setup),
        cmocka_unit_test_setup(test_anything_else, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
