/* SPDX-License-Identifier: Apache-2.0
 * What is told to clients of tcp-info's protocol: byte for byte its lines, each connection once.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "dispatcher/hub/announce.h"

static struct announce *a;
static char said[8192];
static unsigned lines, locals;

static void on_event(void *ctx, const struct flowevent *ev, bool local)
{
    (void)ctx;
    int n = flowevent_format(ev, said, sizeof said - 1);
    assert_true(n > 0);
    strcpy(said + n, "\n");
    lines++;
    locals += local;
}

static int set_up(void **state)
{
    (void)state;
    lines = locals = 0;
    said[0] = '\0';
    a = announce_new(on_event, NULL);
    return a ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    announce_free(a);
    return 0;
}

#define OPEN                                                                                                           \
    "{\"Event\":0,\"Timestamp\":\"2024-11-19T16:51:48.123456789Z\",\"UUID\":\"h_1_0000000000000005\",\"ID\":{"         \
    "\"SPort\":443,"                                                                                                   \
    "\"DPort\":51234,\"SrcIP\":\"192.0.2.10\",\"DstIP\":\"198.51.100.7\",\"Interface\":0,\"Cookie\":5}}\n"
#define CLOSE                                                                                                          \
    "{\"Event\":1,\"Timestamp\":\"2024-11-19T16:51:48.123456789Z\",\"UUID\":\"h_1_0000000000000005\",\"ID\":null}\n"

static struct flowevent event(const char *line)
{
    struct flowevent ev;
    assert_int_equal(flowevent_parse(line, strlen(line) - 1, &ev), FLOWEVENT_GOOD);
    return ev;
}

static struct report named(void)
{
    struct flowevent ev = event(OPEN);
    struct report r = {.kind = REPORT_NAMED, .key = ev.key, .uuid = ev.uuid, .cookie = 5, .first_ns = ev.time.ns};
    r.local = memcmp(ev.key.addr[0], ev.src.bytes, 4) != 0;
    return r;
}

static void what_came_is_told_as_it_came(void **state)
{
    (void)state;
    struct flowevent ev = event(OPEN);
    announce_event(a, &ev);
    assert_string_equal(said, OPEN);
    announce_event(a, &ev); /* a source that repeats itself is repeated */
    assert_int_equal(lines, 2);
    ev = event(CLOSE);
    announce_event(a, &ev);
    assert_string_equal(said, CLOSE);
    ev = event(OPEN);
    ev.destroyed = true;
    announce_event(a, &ev); /* the kernel knows of its end, too */
    assert_int_equal(lines, 3);
}

static void a_name_of_the_kernel_and_its_end(void **state)
{
    (void)state;
    struct report r = named();
    announce_report(a, &r);
    assert_string_equal(said, OPEN);
    announce_report(a, &r); /* a successor of the shard found it again */
    assert_int_equal(lines, 1);
    struct flowevent ev = event(OPEN);
    ev.destroyed = true;
    announce_event(a, &ev);
    assert_string_equal(said, CLOSE);
    assert_int_equal(lines, 2);
    announce_event(a, &ev); /* a hub that died in between looks at it again */
    assert_int_equal(lines, 2);
    r.kind = REPORT_SAVED;
    strcpy(r.uuid.text, "other");
    announce_report(a, &r);
    assert_int_equal(lines, 2);
}

/* tcp-info polls: it comes after the kernel, for the open event as for the close. */
static void what_the_kernel_has_told_others_do_not_tell_again(void **state)
{
    (void)state;
    struct report r = named();
    struct flowevent ev = event(OPEN), closed = event(CLOSE);
    announce_report(a, &r);
    announce_event(a, &ev);
    assert_int_equal(lines, 1);
    ev.destroyed = true;
    announce_event(a, &ev);
    assert_int_equal(lines, 2);
    announce_event(a, &closed);
    assert_int_equal(lines, 2);
    ev = event(OPEN);
    announce_event(a, &ev);
    assert_int_equal(lines, 2);
}

static void too_short_to_be_named_in_time(void **state)
{
    (void)state;
    struct flowevent ev = event(OPEN);
    ev.destroyed = true;
    announce_event(a, &ev); /* both, without a trace of where it came from */
    assert_int_equal(lines, 2);
    assert_string_equal(said, CLOSE);
    struct report r = named();
    announce_report(a, &r);
    assert_int_equal(lines, 2);
}

static void what_stays_here_is_marked(void **state)
{
    (void)state;
    static const char *const local[] = {"127.0.0.1", "127.9.9.9", "169.254.1.1", "::1", "fe80::1", "febf::1"};
    static const char *const other[] = {"126.0.0.1", "169.253.1.1", "::2", "fec0::1", "2001:db8::1"};
    char line[512];
    for (size_t i = 0; i < sizeof local / sizeof local[0] + sizeof other / sizeof other[0]; i++) {
        size_t n = sizeof local / sizeof local[0];
        const char *ip = i < n ? local[i] : other[i - n];
        (void)snprintf(
            line, sizeof line,
            "{\"Event\":0,\"Timestamp\":\"2024-11-19T16:51:48Z\",\"UUID\":\"u_%zu\",\"ID\":{\"SPort\":1,\"DPort\":2,"
            "\"SrcIP\":\"%s\",\"DstIP\":\"%s\"}}\n",
            i, strchr(ip, ':') ? "2001:db8::9" : "192.0.2.9", ip);
        struct flowevent ev = event(line);
        unsigned before = locals;
        announce_event(a, &ev);
        assert_int_equal(locals - before, i < n);
        before = locals;
        ev.destroyed = true;
        strcat(ev.uuid.text, "_kernel");
        announce_event(a, &ev); /* open and close */
        assert_int_equal(locals - before, i < n ? 2 : 0);
    }
}

static void memory_is_bounded(void **state)
{
    (void)state;
    struct report r = named();
    for (unsigned i = 0; i < 500000; i++) {
        (void)snprintf(r.uuid.text, sizeof r.uuid.text, "u_%u", i);
        announce_report(a, &r);
        announce_report(a, &r);
    }
    assert_int_equal(lines, 500000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_came_is_told_as_it_came, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_name_of_the_kernel_and_its_end, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_the_kernel_has_told_others_do_not_tell_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(too_short_to_be_named_in_time, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_stays_here_is_marked, set_up, tear_down),
        cmocka_unit_test_setup_teardown(memory_is_bounded, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("hub/announce", tests, NULL, NULL);
}
