/* SPDX-License-Identifier: Apache-2.0
 * The closed list of causes: its names are an API (metrics, summary), so they stand here a second time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "shared/cause.h"

static const char *const trouble[] = {
    "short_frame", "bad_ip4",    "bad_ip6",   "ext_chain",  "tcp_short",        "tcp_bad_offset",
    "vlan_depth",  "bad_record", "ring_full", "budget",     "halfopen_evicted", "no_uuid",
    "disk_full",   "disk_error", "poison",    "arena_lost", "linktype_changed",
};
static const char *const limits[] = {
    "not_tcp", "tunnel", "frag_noninitial", "filtered", "capture_limit", "maxflows", "sampled", "duplicate",
};
#define LENGTH(array) (sizeof(array) / sizeof(*(array)))

/* Index of the cause with this label, CAUSE_COUNT if there is none. */
static enum cause by_name(const char *name)
{
    int c = 0;
    while (c < CAUSE_COUNT && strcmp(cause_name((enum cause)c), name) != 0)
        c++;
    return (enum cause)c;
}

static void the_list_is_closed(void **state)
{
    (void)state;
    assert_int_equal(CAUSE_COUNT, LENGTH(trouble) + LENGTH(limits));
    for (size_t i = 0; i < LENGTH(trouble); i++) {
        assert_int_not_equal(by_name(trouble[i]), CAUSE_COUNT);
        assert_true(cause_is_trouble(by_name(trouble[i])));
    }
    for (size_t i = 0; i < LENGTH(limits); i++) {
        assert_int_not_equal(by_name(limits[i]), CAUSE_COUNT);
        assert_false(cause_is_trouble(by_name(limits[i])));
    }
}

static void a_fine_packet_has_no_cause(void **state)
{
    (void)state;
    assert_string_equal(cause_name(CAUSE_NONE), "none");
    assert_false(cause_is_trouble(CAUSE_NONE));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_list_is_closed),
        cmocka_unit_test(a_fine_packet_has_no_cause),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
