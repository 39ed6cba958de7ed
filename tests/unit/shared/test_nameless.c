/* SPDX-License-Identifier: Apache-2.0
 * Waits fall into their buckets; and the reason for flows without names is told when most have none, and fits the
 * sources. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "shared/nameless.h"

static struct config config; /* large */

static const char *reason(uint32_t sources, uint64_t named, uint64_t nameless)
{
    struct totals t = {.flows_named = named, .flows_nameless = nameless};
    config_init(&config);
    config.uuid_sources = sources;
    return nameless_reason(&config, &t);
}

static void told_when_most_have_none(void **state)
{
    (void)state;
    assert_null(reason(UUID_SOURCE_KERNEL, 0, 0));
    assert_null(reason(UUID_SOURCE_KERNEL, 0, 9)); /* too few to tell */
    assert_non_null(reason(UUID_SOURCE_KERNEL, 0, 10));
    assert_null(reason(UUID_SOURCE_KERNEL, 50, 50));
    assert_non_null(reason(UUID_SOURCE_KERNEL, 50, 51));
    config.savefile_count = 1;
    struct totals t = {.flows_nameless = 100};
    assert_null(nameless_reason(&config, &t)); /* a savefile's events are what they are */
}

static void says_what_to_set(void **state)
{
    (void)state;
    const char *kernel = reason(UUID_SOURCE_KERNEL, 0, 100);
    assert_non_null(strstr(kernel, "another namespace, or the traffic is forwarded"));
    assert_non_null(strstr(kernel, "-uuid.source=hash, or run in that namespace"));
    assert_string_equal(reason(UUID_SOURCE_KERNEL | UUID_SOURCE_EVENTSOCKET, 0, 100), kernel);
    assert_non_null(strstr(reason(UUID_SOURCE_EVENTSOCKET, 0, 100), "eventsocket,kernel"));
    assert_non_null(strstr(reason(UUID_SOURCE_KERNEL | UUID_SOURCE_HASH, 0, 100), "one direction"));
    assert_non_null(strstr(reason(0, 0, 100), "inject"));
}

static void waits_fall_into_buckets(void **state)
{
    (void)state;
    struct sli s;
    memset(&s, 0, sizeof(s));
    const int64_t ms = 1000000;
    sli_add(&s, -5);
    sli_add(&s, ms);
    sli_add(&s, ms + 1);
    sli_add(&s, 2 * ms);
    sli_add(&s, INT64_C(131072) * ms);
    sli_add(&s, INT64_C(131072) * ms + 1);
    assert_int_equal(s.bucket[0], 2);
    assert_int_equal(s.bucket[1], 2);
    assert_int_equal(s.bucket[SLI_BUCKETS - 1], 1);
    assert_int_equal(s.bucket[SLI_BUCKETS], 1);
    assert_int_equal(sli_count(&s), 6);
    assert_int_equal(s.sum_ns, 4 * ms + 2 * 131072 * ms + 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(told_when_most_have_none),
        cmocka_unit_test(says_what_to_set),
        cmocka_unit_test(waits_fall_into_buckets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
