/* SPDX-License-Identifier: Apache-2.0
 * What a shard tells of its flows: masked as the files are, limited under a flood, counted where it is left out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "shard/reporter.h"
#include "shared/report.h"

static struct mono time_now;

static struct mono fake_mono(void *ctx)
{
    (void)ctx;
    return time_now;
}

static const struct clock clock_fake = {.mono = fake_mono};
static struct anonymizer anonymizer;
static struct shard_counters counters;
static struct reporter reporter;
static int hub;
static const uint8_t local[4] = {203, 0, 113, 9}, remote[4] = {198, 51, 100, 7};
static struct flowkey key;
static struct uuid uuid;

static int set_up(void **state)
{
    int pair[2], size = 4 << 20;
    (void)state;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
        return -1;
    (void)setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    hub = pair[1];
    memset(&counters, 0, sizeof(counters));
    anonymizer = (struct anonymizer){.mode = ANONYMIZE_NETBLOCK, .exempt_count = 2};
    ipaddr_set(&anonymizer.exempt[0], remote + 0, 4); /* given by the user: shown, but not ours */
    anonymizer.exempt[0].bytes[3] = 200;
    ipaddr_set(&anonymizer.exempt[1], local, 4);
    reporter =
        (struct reporter){.fd = pair[0], .clock = &clock_fake, .anonymizer = &anonymizer, .given = 1, .c = &counters};
    (void)flowkey_make(&key, 4, local, 443, remote, 51234);
    assert_int_equal(uuid_from_cookie(&uuid, "host_1", 5), SC_OK);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    (void)close(reporter.fd);
    (void)close(hub);
    return 0;
}

static void addresses_are_masked_as_in_the_file(void **state)
{
    struct report r;
    char text[FLOWKEY_TEXT];
    (void)state;
    reporter_saved(&reporter, &key, &uuid, "2026/11/24/x.pcap.gz", 8, 530);
    assert_int_equal(report_recv(hub, &r), SC_OK);
    assert_int_equal(r.kind, REPORT_SAVED);
    assert_string_equal(flowkey_format(&r.key, text), "198.51.100.0:51234<->203.0.113.9:443");
    assert_true(r.packets == 8 && r.bytes == 530);
    reporter_lost(&reporter, &key, NULL, CAUSE_NO_UUID, 3);
    assert_int_equal(report_recv(hub, &r), SC_OK);
    assert_string_equal(flowkey_format(&r.key, text), "198.51.100.0:51234<->203.0.113.9:443");
    assert_int_equal(r.cause, CAUSE_NO_UUID);
    assert_string_equal(r.uuid.text, "");
}

static void a_name_of_the_kernel_comes_whole_and_with_its_side(void **state)
{
    struct report r;
    (void)state;
    reporter_named(&reporter, &key, &uuid, 5, (struct wall){77});
    assert_int_equal(report_recv(hub, &r), SC_OK);
    assert_true(flowkey_equal(&r.key, &key));
    assert_memory_equal(r.key.addr[r.local], local, 4);
    assert_int_equal(r.cookie, 5);
    assert_int_equal(r.first_ns, 77);
    /* the other way round, beside an address that only the user named */
    const uint8_t named[4] = {198, 51, 100, 200}, low[4] = {10, 0, 0, 1};
    ipaddr_set(&anonymizer.exempt[1], low, 4);
    (void)flowkey_make(&key, 4, named, 1, low, 2);
    reporter_named(&reporter, &key, &uuid, 5, (struct wall){77});
    assert_int_equal(report_recv(hub, &r), SC_OK);
    assert_memory_equal(r.key.addr[r.local], low, 4);
}

static void a_flood_of_losses_is_limited_and_counted(void **state)
{
    struct report r;
    unsigned got = 0;
    (void)state;
    for (int i = 0; i < 10 * REPORTER_LOST_PER_SECOND; i++) {
        reporter_lost(&reporter, &key, NULL, CAUSE_HALFOPEN_EVICTED, 1);
        while (report_recv(hub, &r) == SC_OK)
            got++;
    }
    assert_int_equal(got, REPORTER_LOST_PER_SECOND);
    assert_int_equal(counter_get(&counters.reports_left_out), 9 * REPORTER_LOST_PER_SECOND);
    time_now.ns += NS_PER_SEC;
    reporter_lost(&reporter, &key, NULL, CAUSE_HALFOPEN_EVICTED, 1);
    assert_int_equal(report_recv(hub, &r), SC_OK);
    assert_int_equal(r.left_out, 9 * REPORTER_LOST_PER_SECOND);
}

static void a_hub_that_does_not_read_costs_nothing(void **state)
{
    (void)state;
    for (int i = 0; i < 100000; i++)
        reporter_saved(&reporter, &key, &uuid, "2026/11/24/x.pcap.gz", 8, 530);
    assert_true(counter_get(&counters.reports_left_out) > 0);
    (void)shutdown(hub, SHUT_RDWR);
    uint64_t before = counter_get(&counters.reports_left_out);
    reporter_saved(&reporter, &key, &uuid, "2026/11/24/x.pcap.gz", 8, 530);
    assert_int_equal(counter_get(&counters.reports_left_out), before + 1);
    reporter_saved(NULL, &key, &uuid, "x", 1, 1);
    reporter_lost(NULL, &key, &uuid, CAUSE_NO_UUID, 1);
    reporter_named(NULL, &key, &uuid, 1, (struct wall){1});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(addresses_are_masked_as_in_the_file, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_name_of_the_kernel_comes_whole_and_with_its_side, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_flood_of_losses_is_limited_and_counted, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_hub_that_does_not_read_costs_nothing, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("shard/reporter", tests, NULL, NULL);
}
