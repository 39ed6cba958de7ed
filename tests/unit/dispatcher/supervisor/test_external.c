/* SPDX-License-Identifier: Apache-2.0
 * Who may have a slot. No socket is opened. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "dispatcher/supervisor/external.h"
#include "shared/layout.h"

static struct family f;
static struct memory memory;
static const struct mono now = {NS_PER_SEC};
static char good[LAYOUT_TEXT + 16];

static int setup(void **state)
{
    char common[LAYOUT_TEXT];
    (void)state;
    memory = (struct memory){.shards = 2};
    f = (struct family){.memory = &memory};
    for (unsigned i = 0; i < 2; i++) {
        f.shard[i] = (struct child){.family = &f, .kind = CHILD_SHARD, .index = i, .sock = -1, .pidfd = -1};
        slot_init(&f.shard[i].slot, NS_PER_SEC);
        f.shard[i].slot.external = true;
        slot_want(&f.shard[i].slot, now);
    }
    snprintf(good, sizeof(good), "%s arena 7", layout_common(common));
    return 0;
}

static void verdict(uint32_t slot, const char *layout, int want, const char *why)
{
    char text[PROTO_TEXT] = "";
    assert_int_equal(external_verdict(&f, slot, layout, text), want);
    if (!strstr(text, why))
        fail_msg("\"%s\" does not say \"%s\"", text, why);
}

static void test_slots(void **state)
{
    (void)state;
    verdict(0, good, EXIT_DONE, "");
    verdict(2, good, EXIT_CONFIG, "no slot 2");
    verdict(UINT32_MAX, good, EXIT_CONFIG, "-shards is 2");
    f.shard[1].sock = 5;
    verdict(1, good, EXIT_TEMPFAIL, "slot 1 is taken");
    verdict(0, good, EXIT_DONE, "");
    f.shard[1].sock = -1;
    (void)slot_exited(&f.shard[1].slot, DEATH_DONE, false, now);
    verdict(1, good, EXIT_TEMPFAIL, "stopping");
}

static void test_layouts(void **state)
{
    char other[LAYOUT_TEXT + 32];
    (void)state;
    verdict(0, "", EXIT_CONFIG, "another version");
    verdict(0, "arena 7", EXIT_CONFIG, "another version");
    snprintf(other, sizeof(other), "%.*s", (int)(strstr(good, " arena") - good), good);
    verdict(0, other, EXIT_CONFIG, "another version"); /* no arena */
    f.shard[0].arena_layout = 7;
    verdict(0, good, EXIT_DONE, "");
    f.shard[0].arena_layout = 8;
    verdict(0, good, EXIT_CONFIG, "arena of slot 0 has layout 8, yours is 7");
    verdict(1, good, EXIT_DONE, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_slots, setup),
        cmocka_unit_test_setup(test_layouts, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
