/* SPDX-License-Identifier: Apache-2.0
 * What events.sock says, with a sink in place of the socket: each topic's text, masked addresses, one message at a
 * time, and nothing at all while nobody is there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "dispatcher/hub/watchers.h"

static struct config config;
static struct supervisor_page supervisor;
static struct dispatcher_page dispatcher;
static struct hub_page hub;
static struct shard_page shards[2];
static struct pages pages;
static struct evloop *loop;
static struct watchers *w;
static struct mono time_now;
static struct {
    unsigned watchers, messages, per_turn;
    char last[WATCHERS_MESSAGE + 1];
} sink;

static struct mono fake_mono(void *ctx)
{
    (void)ctx;
    return time_now;
}

static struct wall fake_wall(void *ctx)
{
    (void)ctx;
    return (struct wall){0};
}

static const struct clock clock_fake = {.mono = fake_mono, .wall = fake_wall};

static unsigned count(void *ctx)
{
    (void)ctx;
    return sink.watchers;
}

static void take(void *ctx, const void *bytes, size_t len)
{
    (void)ctx;
    assert_true(len < sizeof sink.last);
    memcpy(sink.last, bytes, len);
    sink.last[len] = '\0';
    sink.messages++;
    sink.per_turn++;
}

static int set_up(void **state)
{
    (void)state;
    memset(&config, 0, sizeof config);
    memset(&supervisor, 0, sizeof supervisor);
    memset(&hub, 0, sizeof hub);
    memset(shards, 0, sizeof shards);
    memset(&sink, 0, sizeof sink);
    config.shards = 2;
    config.anonymizer.mode = ANONYMIZE_NETBLOCK;
    pages = (struct pages){.config = &config, .supervisor = &supervisor, .dispatcher = &dispatcher, .hub = &hub};
    pages.shard[0] = &shards[0];
    pages.shard[1] = &shards[1];
    loop = evloop_new();
    struct watchers_setup s = {loop, &clock_fake, &pages, count, take, NULL};
    w = watchers_new(&s);
    sink.watchers = 1;
    time_now.ns = NS_PER_SEC;
    return loop && w ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    watchers_free(w);
    evloop_free(loop);
    return 0;
}

/* Turns the loop until so many messages have left; never more than one in a turn. */
static void until_sent(unsigned n)
{
    while (sink.messages < n) {
        sink.per_turn = 0;
        evloop_turn(loop, NS_PER_SEC);
        assert_true(sink.per_turn <= 1);
    }
}

static void says(const char *text)
{
    until_sent(sink.messages + 1);
    assert_string_equal(sink.last, text);
}

static struct flowevent event(const char *text)
{
    struct flowevent ev;
    assert_int_equal(flowevent_parse(text, strlen(text), &ev), FLOWEVENT_GOOD);
    return ev;
}

static void uuid_topics(void **state)
{
    (void)state;
    struct flowevent ev =
        event("{\"Event\":0,\"Timestamp\":\"2024-11-19T16:51:48.5Z\",\"UUID\":\"a_1\",\"ID\":{\"SPort\":443,"
              "\"DPort\":51234,\"SrcIP\":\"192.0.2.10\",\"DstIP\":\"198.51.100.7\",\"Cookie\":-3}}");
    watchers_event(w, &ev);
    says("uuid.open "
         "{\"Event\":0,\"Timestamp\":\"2024-11-19T16:51:48.5Z\",\"UUID\":\"a_1\",\"ID\":{\"SPort\":443,\"DPort\":"
         "51234,\"SrcIP\":\"192.0.2.0\",\"DstIP\":\"198.51.100.0\",\"Interface\":0,\"Cookie\":-3}}");
    ev = event("{\"Event\":1,\"Timestamp\":\"2024-11-19T16:51:48Z\",\"UUID\":\"a_1\",\"ID\":null}");
    watchers_event(w, &ev);
    says("uuid.close {\"Event\":1,\"Timestamp\":\"2024-11-19T16:51:48Z\",\"UUID\":\"a_1\",\"ID\":null}");
}

static struct report report(enum report_kind kind)
{
    struct report r = {.kind = (uint16_t)kind, .packets = 8, .bytes = 530};
    const uint8_t a[4] = {192, 0, 2, 10}, b[4] = {198, 51, 100, 0};
    (void)flowkey_make(&r.key, 4, a, 443, b, 51234);
    strcpy(r.uuid.text, "a_1");
    strcpy(r.path, "2024/11/19/a_1.pcap.gz");
    return r;
}

static void flow_topics(void **state)
{
    (void)state;
    struct report r = report(REPORT_SAVED);
    watchers_report(w, 1, &r);
    says("flow.saved {\"Timestamp\":\"1970-01-01T00:00:00.000000000Z\",\"Shard\":1,\"UUID\":\"a_1\",\"Flow\":"
         "\"192.0.2.10:443<->198.51.100.0:51234\",\"File\":\"2024/11/19/a_1.pcap.gz\",\"Packets\":8,\"Bytes\":530}");
    r = report(REPORT_LOST);
    r.cause = CAUSE_DISK_FULL;
    r.left_out = 4;
    watchers_report(w, 0, &r);
    says("flow.lost {\"Timestamp\":\"1970-01-01T00:00:00.000000000Z\",\"Shard\":0,\"UUID\":\"a_1\",\"Flow\":"
         "\"192.0.2.10:443<->198.51.100.0:51234\",\"Cause\":\"disk_full\",\"Packets\":8,\"LeftOut\":4}");
    r.cause = CAUSE_NO_UUID;
    r.uuid.text[0] = '\0';
    watchers_report(w, 0, &r);
    until_sent(3);
    assert_non_null(strstr(sink.last, "\"UUID\":null,"));
    r = report(REPORT_NAMED); /* with whole addresses: not for those who watch */
    watchers_report(w, 0, &r);
    until_sent(3);
}

static void shard_topics(void **state)
{
    (void)state;
    watchers_tick(w); /* stats, and no shard yet */
    until_sent(1);
    counter_set(&supervisor.up_shard[1], 1);
    counter_set(&supervisor.pid_shard[1], 42);
    watchers_tick(w);
    says("shard.up {\"Timestamp\":\"1970-01-01T00:00:00.000000000Z\",\"Shard\":1,\"PID\":42,\"Restarts\":0}");
    counter_set(&supervisor.pid_shard[1], 43); /* replaced between two looks */
    counter_set(&supervisor.restarts_shard[1], 1);
    watchers_tick(w);
    until_sent(4);
    assert_non_null(strstr(sink.last, "shard.up "));
    assert_non_null(strstr(sink.last, "\"PID\":43,\"Restarts\":1"));
    counter_set(&supervisor.up_shard[1], 0);
    watchers_tick(w);
    says("shard.down {\"Timestamp\":\"1970-01-01T00:00:00.000000000Z\",\"Shard\":1,\"PID\":43,\"Restarts\":1}");
}

static void stats_come_once_a_second(void **state)
{
    (void)state;
    counter_set(&hub.events, 17);
    counter_set(&shards[0].c.reports_left_out, 2);
    counter_set(&shards[1].c.reports_left_out, 3);
    for (int i = 0; i < 31; i++, time_now.ns += NS_PER_SEC / 10)
        watchers_tick(w);
    until_sent(4);
    assert_int_equal(strncmp(sink.last, "stats {\"Timestamp\":\"", 20), 0);
    assert_non_null(strstr(sink.last, "\"Events\":17,"));
    assert_non_null(strstr(sink.last, "\"LeftOut\":5}"));
    time_now.ns += 100 * NS_PER_SEC;
    watchers_tick(w);
    watchers_tick(w);
    until_sent(5);
}

static void nobody_and_too_much(void **state)
{
    (void)state;
    struct report r = report(REPORT_SAVED);
    sink.watchers = 0;
    watchers_report(w, 0, &r);
    watchers_tick(w);
    evloop_turn(loop, 0);
    assert_int_equal(counter_get(&hub.watch_sent), 0);
    assert_int_equal(counter_get(&hub.watchers), 0);
    sink.watchers = 2;
    for (unsigned i = 0; i < WATCHERS_ROOM / 100; i++)
        watchers_report(w, 0, &r);
    assert_true(counter_get(&hub.watch_left_out) > 0);
    assert_int_equal(counter_get(&hub.watchers), 2);
    for (unsigned i = 1; i <= 100; i++) /* around the end of the queue */
        until_sent(i);
    for (unsigned i = 0; i < 20; i++)
        watchers_report(w, 0, &r);
    until_sent(101);
    assert_non_null(strstr(sink.last, "a_1.pcap.gz"));
    assert_int_equal(counter_get(&hub.watch_sent), 101);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(uuid_topics, set_up, tear_down),
        cmocka_unit_test_setup_teardown(flow_topics, set_up, tear_down),
        cmocka_unit_test_setup_teardown(shard_topics, set_up, tear_down),
        cmocka_unit_test_setup_teardown(stats_come_once_a_second, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nobody_and_too_much, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("hub/watchers", tests, NULL, NULL);
}
