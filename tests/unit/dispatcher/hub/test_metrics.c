/* SPDX-License-Identifier: Apache-2.0
 * The exposition text and the status JSON, from pages in plain memory: every name and label of the reference from the
 * start, sums, and a linter's rules over the whole text. */
#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dispatcher/hub/metrics.h"
#include "dispatcher/hub/metrics_text.h"
#include "dispatcher/hub/status.h"

#define SHARDS 3

static struct config config;
static struct supervisor_page supervisor;
static struct dispatcher_page dispatcher;
static struct hub_page hub;
static struct shard_page shards[SHARDS];
static struct pages pages;
static struct procstat family;

static int set_up(void **state)
{
    (void)state;
    memset(&config, 0, sizeof config);
    memset(&supervisor, 0, sizeof supervisor);
    memset(&dispatcher, 0, sizeof dispatcher);
    memset(&hub, 0, sizeof hub);
    memset(shards, 0, sizeof shards);
    memset(&family, 0, sizeof family);
    config.shards = SHARDS;
    config.ringsize = 16 * 1024 * 1024;
    pages = (struct pages){.config = &config, .supervisor = &supervisor, .dispatcher = &dispatcher, .hub = &hub};
    for (int i = 0; i < SHARDS; i++)
        pages.shard[i] = &shards[i];
    return 0;
}

/* NUL-terminated; lives until the next call. */
static const char *render(void)
{
    static struct text t;
    text_clear(&t);
    metrics_render(&pages, &family, "4c6fb12", &t);
    assert_false(t.failed);
    text_add(&t, "", 1);
    return t.data;
}

static void has(const char *text, const char *line)
{
    char whole[512];
    (void)snprintf(whole, sizeof whole, "\n%s\n", line);
    if (!strstr(text, whole))
        fail_msg("there is no line \"%s\"", line);
}

static void everything_from_the_start(void **state)
{
    (void)state;
    const char *text = render();
    char line[256];
    static const char *const single[] = {
        "pcap_saver_starts_total",
        "pcap_saver_stops_total",
        "pcap_saver_skipped_total",
        "pcap_demuxer_bad_packets_total",
        "pcap_demuxer_uuids_total",
        "pcap_demuxer_savers_garbage_collected_total",
        "pcap_demuxer_savers_active",
        "pcap_demuxer_ignored_total",
        "pcap_muxer_interfaces_with_captures",
        "process_cpu_seconds_total",
        "process_resident_memory_bytes",
        "process_virtual_memory_bytes",
        "process_open_fds",
        "process_max_fds",
        "process_start_time_seconds",
        "pcap_demuxer_gc_latency_seconds_sum",
        "pcap_demuxer_gc_latency_seconds_count",
        "pcap_demuxer_gc_latency_seconds_bucket{le=\"1e-06\"}",
        "pcap_demuxer_gc_latency_seconds_bucket{le=\"0.524288\"}",
        "pcap_demuxer_gc_latency_seconds_bucket{le=\"+Inf\"}",
        "shardcap_capture_gap_seconds",
        "shardcap_eventsocket_up",
        "shardcap_packets_delivered_total",
        "shardcap_up{process=\"dispatcher\",shard=\"\"}",
        "shardcap_restarts_total{process=\"shard\",shard=\"2\"}",
    };
    for (size_t i = 0; i < sizeof single / sizeof single[0]; i++) {
        (void)snprintf(line, sizeof line, "%s 0", single[i]);
        has(text, line);
    }
    static const char *const states[] = {
        "notstarted",
        "readingcandidatepackets",
        "uuidwait",
        "uuidfound",
        "dircreation",
        "writepartial",
        "streaming",
        "writefinal",
        "discardingpackets",
        "stopped",
        "nopacketserror",
        "uuidtimedouterror",
        "uuidchanclosederror",
        "mkdirerror",
        "fileopenerror",
        "writepartialerror",
        "streamingerror",
        "writefinalerror",
        "draining",
        "skipped",
    };
    for (size_t i = 0; i < sizeof states / sizeof states[0]; i++) {
        (void)snprintf(line, sizeof line, "pcap_saver_states{state=\"%s\"} 0", states[i]);
        has(text, line);
        (void)snprintf(line, sizeof line, "pcap_missed_packets_total{saverstate=\"%s\"} 0", states[i]);
        has(text, line);
        (void)snprintf(line, sizeof line, "pcap_missed_uuids_total{saverstate=\"%s\"} 0", states[i]);
        has(text, line);
    }
    static const char *const errors[] = {"nopackets", "uuidtimedout", "uuidchanclosed", "mkdir",
                                         "fileopen",  "writepartial", "streaming",      "writefinal"};
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
        (void)snprintf(line, sizeof line, "pcap_saver_errors_total{reason=\"%s\"} 0", errors[i]);
        has(text, line);
    }
    static const char *const bad[] = {"nilid",   "badip",   "badjson", "baduuid",
                                      "badport", "badtime", "toolong", "unknownevent"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        (void)snprintf(line, sizeof line, "pcap_tcpinfohandler_bad_events_total{reason=\"%s\"} 0", bad[i]);
        has(text, line);
    }
    (void)snprintf(line, sizeof line, "git_short_commit{commit=\"4c6fb12\"} %d", 0x4c6fb12);
    has(text, line);
}

static void sums_and_labels(void **state)
{
    (void)state;
    for (int i = 0; i < SHARDS; i++) {
        counter_set(&shards[i].c.saver_starts, (uint64_t)i + 1);
        counter_set(&shards[i].c.saver_states[SAVER_UUIDWAIT], 10);
        counter_set(&shards[i].c.consumed, 100);
        counter_set(&shards[i].c.published, 60);
        counter_set(&shards[i].c.drops[CAUSE_NO_UUID], 30);
        counter_set(&shards[i].c.gc_latency[0], 1);
        counter_set(&shards[i].c.gc_latency[3], 2);
        counter_set(&shards[i].c.gc_latency[GC_LATENCY_BUCKETS], 1);
        counter_set(&shards[i].c.gc_latency_sum_ns, 1500000000);
    }
    counter_set(&dispatcher.drops[CAUSE_SHORT_FRAME], 5);
    counter_set(&dispatcher.drops[CAUSE_VLAN_DEPTH], 2);
    counter_set(&dispatcher.drops[CAUSE_RING_FULL], 9);
    counter_set(&dispatcher.enqueued[1], 123);
    counter_set(&dispatcher.ring_backlog[1], 4096);
    counter_set(&dispatcher.capture_gap_ms, 1250);
    counter_set(&supervisor.up_shard[2], 1);
    counter_set(&hub.bad_events[FLOWEVENT_BADIP], 4);
    const char *text = render();
    has(text, "pcap_saver_starts_total 6");
    has(text, "pcap_saver_states{state=\"uuidwait\"} 30");
    has(text, "pcap_demuxer_bad_packets_total 7");
    has(text, "pcap_tcpinfohandler_bad_events_total{reason=\"badip\"} 4");
    has(text, "pcap_demuxer_gc_latency_seconds_bucket{le=\"1e-06\"} 3");
    has(text, "pcap_demuxer_gc_latency_seconds_bucket{le=\"4e-06\"} 3");
    has(text, "pcap_demuxer_gc_latency_seconds_bucket{le=\"8e-06\"} 9");
    has(text, "pcap_demuxer_gc_latency_seconds_bucket{le=\"0.524288\"} 9");
    has(text, "pcap_demuxer_gc_latency_seconds_bucket{le=\"+Inf\"} 12");
    has(text, "pcap_demuxer_gc_latency_seconds_count 12");
    has(text, "pcap_demuxer_gc_latency_seconds_sum 4.5");
    has(text, "shardcap_packets_enqueued_total{shard=\"1\"} 123");
    has(text, "shardcap_packets_buffered{shard=\"0\"} 10");
    has(text, "shardcap_dropped_packets_total{cause=\"no_uuid\",class=\"lost\"} 90");
    has(text, "shardcap_dropped_packets_total{cause=\"ring_full\",class=\"lost\"} 9");
    has(text, "shardcap_dropped_packets_total{cause=\"capture_limit\",class=\"limit\"} 0");
    has(text, "shardcap_ring_bytes{shard=\"1\",kind=\"used\"} 4096");
    has(text, "shardcap_ring_bytes{shard=\"1\",kind=\"size\"} 16777216");
    has(text, "shardcap_capture_gap_seconds 1.25");
    has(text, "shardcap_up{process=\"shard\",shard=\"2\"} 1");
    assert_null(strstr(text, "shard=\"3\""));
}

static void put_interface(unsigned slot, const char *name, uint64_t received, bool up)
{
    struct interface_counters *i = &dispatcher.interfaces[slot];
    strncpy(i->name, name, sizeof i->name - 1);
    counter_set(&i->kernel_received, received);
    atomic_store(&i->capturing, up);
    atomic_store(&i->used, 1);
}

static void interfaces_once_each(void **state)
{
    (void)state;
    put_interface(0, "eth0", 10, false);
    put_interface(3, "we\"ird\\\n", 1, true);
    put_interface(5, "eth0", 5, true);
    const char *text = render();
    has(text, "shardcap_kernel_received_packets_total{interface=\"eth0\"} 15");
    has(text, "shardcap_interface_up{interface=\"eth0\"} 1");
    has(text, "shardcap_interface_up{interface=\"we\\\"ird\\\\?\"} 1");
}

static void odd_commits(void **state)
{
    (void)state;
    struct text t = {0};
    metrics_render(&pages, &family, "unknown", &t);
    metrics_render(&pages, &family, "\"\\\n\x80\xff a string that is much longer than it should be", &t);
    metrics_render(&pages, &family, "", &t);
    assert_false(t.failed);
    text_add(&t, "", 1);
    has(t.data, "git_short_commit{commit=\"unknown\"} 0");
    text_free(&t);
}

/* ---- a linter: the rules that promtool applies to names, and the exposition format's own ---- */

static bool ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), m = strlen(end);
    return n >= m && strcmp(s + n - m, end) == 0;
}

struct lint {
    char family[128], type[16];
    char seen_families[256][128];
    unsigned families;
    char seen[4096][160];
    unsigned samples;
};

static void lint_family(struct lint *l, const char *line)
{
    char name[128], rest[256];
    if (sscanf(line, "# HELP %127s %255[^\n]", name, rest) == 2) {
        for (unsigned i = 0; i < l->families; i++)
            assert_string_not_equal(l->seen_families[i], name);
        strcpy(l->seen_families[l->families++], name);
        strcpy(l->family, name);
        l->type[0] = '\0';
        assert_true(strlen(rest) > 5);
        for (const char *p = name; *p; p++)
            assert_true(islower((unsigned char)*p) || isdigit((unsigned char)*p) || *p == '_');
        return;
    }
    assert_int_equal(sscanf(line, "# TYPE %127s %15s", name, l->type), 2);
    assert_string_equal(name, l->family);
    bool is_counter = strcmp(l->type, "counter") == 0;
    assert_true(is_counter || strcmp(l->type, "gauge") == 0 || strcmp(l->type, "histogram") == 0);
    if (is_counter != ends_with(name, "_total"))
        fail_msg("%s: exactly the counters end in _total", name);
    static const char *const words[] = {"counter", "gauge", "histogram", "summary"};
    for (size_t i = 0; i < 4; i++)
        assert_null(strstr(name, words[i]));
    static const char *const suffixes[] = {"_count", "_sum", "_bucket", "_milliseconds", "_ms", "_kilobytes", "_kb"};
    for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++)
        assert_false(ends_with(name, suffixes[i]));
}

static void lint_sample(struct lint *l, const char *line)
{
    const char *value = strrchr(line, ' ');
    assert_non_null(value);
    char *end;
    double v = strtod(value + 1, &end);
    assert_true(*end == '\0' && end != value + 1 && v >= 0);
    size_t n = strlen(l->family);
    assert_int_equal(strncmp(line, l->family, n), 0);
    assert_true(l->type[0] != '\0');
    if (strcmp(l->type, "histogram") != 0)
        assert_true(line[n] == ' ' || line[n] == '{');
    size_t id = (size_t)(value - line);
    assert_true(id < sizeof l->seen[0] && l->samples < 4096);
    for (unsigned i = 0; i < l->samples; i++)
        if (strncmp(l->seen[i], line, id) == 0 && l->seen[i][id] == '\0')
            fail_msg("twice: %s", line);
    memcpy(l->seen[l->samples], line, id);
    l->seen[l->samples++][id] = '\0';
}

static void lint(void **state)
{
    (void)state;
    static struct lint l;
    put_interface(0, "eth0", 10, false);
    put_interface(1, "eth0", 10, false);
    put_interface(2, "lo", 10, false);
    char *text = strdup(render());
    assert_int_equal(text[strlen(text) - 1], '\n');
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        if (line[0] == '#')
            lint_family(&l, line);
        else
            lint_sample(&l, line);
    }
    free(text);
    assert_true(l.families > 50 && l.samples > 200);
}

static void json_of_status(void **state)
{
    (void)state;
    struct text t = {0};
    put_interface(0, "e\"th", 10, true);
    counter_set(&supervisor.ready, 1);
    counter_set(&dispatcher.drops[CAUSE_NOT_TCP], 3);
    dispatcher.generation = 5;
    pages.pulses.now = (struct mono){3 * NS_PER_SEC};
    pages.pulses.dispatcher = (struct pulse){1, {2 * NS_PER_SEC}, true};
    status_json(&pages, &t);
    text_add(&t, "", 1);
    assert_non_null(strstr(t.data, "\"ready\":true,\"draining\":false"));
    assert_non_null(strstr(t.data, "\"generation\":5,\"heartbeat_age_ms\":1000}"));
    assert_non_null(strstr(t.data, "\"drops\":{\"not_tcp\":3}"));
    assert_non_null(strstr(t.data, "\"shard\":2,"));
    assert_non_null(strstr(t.data, "{\"interface\":\"e\\u0022th\",\"up\":true"));
    assert_non_null(strstr(t.data, "\"eventsocket\":\"none\""));
    int depth = 0;
    bool quoted = false;
    for (const char *p = t.data; *p; p++) {
        if (*p == '"')
            quoted = !quoted;
        else if (!quoted && (*p == '{' || *p == '['))
            depth++;
        else if (!quoted && (*p == '}' || *p == ']'))
            depth--;
        assert_true(depth >= 0);
    }
    assert_int_equal(depth, 0);
    text_free(&t);
}

static const char *table(void)
{
    static struct text t;
    text_clear(&t);
    status_table(&pages, &t);
    assert_false(t.failed);
    text_add(&t, "", 1);
    return t.data;
}

static void table_of_status(void **state)
{
    (void)state;
    assert_int_equal(strncmp(table(), "degraded\nshardcap ", 18), 0);
    counter_set(&supervisor.ready, 1);
    counter_set(&supervisor.up_dispatcher, 1);
    counter_set(&supervisor.up_hub, 1);
    for (int i = 0; i < SHARDS; i++)
        counter_set(&supervisor.up_shard[i], 1);
    counter_set(&supervisor.pid_shard[2], 4711);
    counter_set(&dispatcher.ring_backlog[2], config.ringsize / 2);
    counter_set(&dispatcher.drops[CAUSE_NOT_TCP], 3);
    put_interface(0, "e\033th", 10, true);
    const char *t = table();
    assert_int_equal(strncmp(t, "fine\nshardcap ", 14), 0);
    assert_non_null(strstr(t, "\nshard[2]         4711 up "));
    assert_non_null(strstr(t, " 50 "));
    assert_non_null(strstr(t, "\n  limit not_tcp 3\n"));
    assert_non_null(strstr(t, "\ninterface    e?th up "));
    counter_set(&supervisor.up_shard[1], 0);
    assert_int_equal(strncmp(table(), "degraded\n", 9), 0);
    counter_set(&supervisor.up_shard[1], 1);
    counter_set(&supervisor.draining, 1);
    assert_non_null(strstr(table(), ": stopping\n"));
}

static void text_has_a_bound(void **state)
{
    (void)state;
    struct text t = {0};
    static char block[1 << 20];
    for (int i = 0; i < 20; i++)
        text_add(&t, block, sizeof block);
    assert_true(t.failed);
    assert_int_equal(t.len, TEXT_MAX);
    text_clear(&t);
    text_printf(&t, "%2000d", 1);
    assert_true(t.failed);
    text_free(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(everything_from_the_start, set_up),
        cmocka_unit_test_setup(sums_and_labels, set_up),
        cmocka_unit_test_setup(interfaces_once_each, set_up),
        cmocka_unit_test_setup(odd_commits, set_up),
        cmocka_unit_test_setup(lint, set_up),
        cmocka_unit_test_setup(json_of_status, set_up),
        cmocka_unit_test_setup(table_of_status, set_up),
        cmocka_unit_test(text_has_a_bound),
    };
    return cmocka_run_group_tests_name("hub/metrics", tests, NULL, NULL);
}
