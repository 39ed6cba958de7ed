/* SPDX-License-Identifier: Apache-2.0
 * Events to shards, and the commands of ctl.sock, on a journal in plain memory and a sink that keeps the pages. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dispatcher/hub/control.h"
#include "dispatcher/hub/publish.h"

#define SHARDS 4
#define EPOCH 77

static const char good_line[] =
    "{\"Event\":0,\"Timestamp\":\"2024-11-19T16:51:48.123456789Z\",\"UUID\":\"ndt-4c6fb_1625899199_00000000013A4623\","
    "\"ID\":{\"SPort\":443,\"DPort\":51234,\"SrcIP\":\"192.0.2.10\",\"DstIP\":\"198.51.100.7\",\"Interface\":0,"
    "\"Cookie\":20596259}}";
static const char close_line[] = "{\"Event\":1,\"Timestamp\":\"2024-11-19T16:51:48Z\",\"UUID\":\"a_1\",\"ID\":null}";

static uint64_t memory[JOURNAL_BYTES_MIN / sizeof(uint64_t)];
static struct hub_page counters;
static const struct siphash_key key = {1, 2};

static struct {
    unsigned pages, events, heartbeats;
    uint64_t next[SHARDS]; /* the number that the next page of the shard must begin with */
    unsigned noted;        /* events that everybody is told of */
    enum flowevent_kind kind;
    char last[BUS_PAGE_MAX];
    size_t last_len; /* of the lines */
} sink;

struct fixture {
    struct journal *journal;
    struct publish *publish;
    struct control control;
    struct text answer;
};

static void take(void *ctx, unsigned shard, const void *bytes, size_t len)
{
    (void)ctx;
    struct bus_page p;
    assert_true(shard < SHARDS && len <= BUS_PAGE_MAX);
    assert_int_equal(bus_page_parse(bytes, len, &p), SC_OK);
    assert_int_equal(p.epoch, EPOCH);
    assert_int_equal(p.seq, sink.next[shard]);
    sink.next[shard] += p.count;
    sink.events += p.count;
    if (p.count == 0)
        sink.heartbeats++;
    else
        sink.pages++;
    memcpy(sink.last, p.lines, p.lines_len);
    sink.last_len = p.lines_len;
}

static void note(void *ctx, const struct flowevent *ev)
{
    (void)ctx;
    sink.noted++;
    sink.kind = ev->kind;
}

static void say_status(void *ctx, bool table, struct text *out)
{
    (void)ctx;
    text_printf(out, table ? "fine\n" : "{\"ready\":true}\n");
}

static char asked[80];
static bool deaf;

static bool take_ask(void *ctx, const char *command)
{
    (void)ctx;
    (void)snprintf(asked, sizeof asked, "%s", command);
    return !deaf;
}

static int set_up(void **state)
{
    static struct fixture f;
    enum journal_origin origin;
    memset(memory, 0, sizeof memory);
    memset(&counters, 0, sizeof counters);
    memset(&sink, 0, sizeof sink);
    for (int i = 0; i < SHARDS; i++)
        sink.next[i] = 1;
    f = (struct fixture){0};
    f.journal = journal_open(memory, sizeof memory, SHARDS, EPOCH, &origin);
    struct publish_setup setup = {f.journal, &key, SHARDS, &counters, take, note, NULL};
    f.publish = publish_new(&setup);
    f.control = (struct control){f.publish, f.journal, SHARDS, 60 * NS_PER_SEC, &counters, say_status, take_ask, NULL};
    *state = &f;
    return f.journal && f.publish ? 0 : -1;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    publish_free(f->publish);
    journal_close(f->journal);
    text_free(&f->answer);
    return 0;
}

static const struct mono noon = {1000 * NS_PER_SEC};

static int event(char *out, size_t cap, unsigned n)
{
    return snprintf(out, cap,
                    "{\"Event\":0,\"Timestamp\":\"2024-11-19T16:51:48Z\",\"UUID\":\"u_%u\",\"ID\":{\"SPort\":443,"
                    "\"DPort\":%u,\"SrcIP\":\"192.0.2.10\",\"DstIP\":\"198.51.100.7\",\"Interface\":0,\"Cookie\":1}}",
                    n, n % 65536);
}

static void one_event(void **state)
{
    struct fixture *f = *state;
    struct publish_receipt r, again;
    assert_int_equal(publish_line(f->publish, good_line, sizeof good_line - 1, noon, &r), PUBLISH_DONE);
    assert_int_equal(r.seq, 1);
    assert_int_equal(sink.noted, 1);
    assert_int_equal(sink.kind, FLOWEVENT_OPEN);
    assert_true(r.shard < SHARDS);
    assert_int_equal(sink.pages, 0); /* leaves at the end of the turn */
    publish_flush(f->publish);
    publish_flush(f->publish);
    assert_int_equal(sink.pages, 1);
    assert_int_equal(sink.last_len, sizeof good_line);
    assert_memory_equal(sink.last, good_line, sizeof good_line - 1);

    /* The other direction of the same flow is the same shard's. */
    static const char reverse[] =
        "{\"Event\":0,\"Timestamp\":\"2024-11-19T16:51:48Z\",\"UUID\":\"b\",\"ID\":{\"SPort\":51234,\"DPort\":443,"
        "\"SrcIP\":\"::ffff:198.51.100.7\",\"DstIP\":\"::ffff:192.0.2.10\",\"Interface\":0,\"Cookie\":-1}}";
    assert_int_equal(publish_line(f->publish, reverse, sizeof reverse - 1, noon, &again), PUBLISH_DONE);
    assert_int_equal(again.shard, r.shard);
    assert_int_equal(again.seq, 2);
    assert_int_equal(counter_get(&counters.events), 2);
}

static void many_events_and_heartbeats(void **state)
{
    struct fixture *f = *state;
    char line[512];
    for (unsigned i = 0; i < 3000; i++) {
        struct publish_receipt r;
        int n = event(line, sizeof line, i);
        assert_int_equal(publish_line(f->publish, line, (size_t)n, noon, &r), PUBLISH_DONE);
    }
    assert_true(sink.pages > 2); /* full pages do not wait */
    publish_flush(f->publish);
    assert_int_equal(sink.events, 3000);
    publish_heartbeat(f->publish);
    assert_int_equal(sink.heartbeats, SHARDS);
    uint64_t sum = 0;
    for (unsigned i = 0; i < SHARDS; i++) {
        assert_int_equal(sink.next[i], journal_next_seq(f->journal, i));
        assert_true(sink.next[i] > 500); /* spread evenly */
        sum += sink.next[i] - 1;
    }
    assert_int_equal(sum, 3000);
}

static void close_events(void **state)
{
    struct fixture *f = *state;
    struct publish_receipt r;
    assert_int_equal(publish_line(f->publish, close_line, sizeof close_line - 1, noon, &r), PUBLISH_NOTHING);
    publish_flush(f->publish);
    assert_int_equal(sink.pages, 0);
    assert_int_equal(counter_get(&counters.events), 1);
    assert_int_equal(sink.noted, 1);
    assert_int_equal(sink.kind, FLOWEVENT_CLOSE);
}

/* Hostile input 38: counted by reason. */
static void bad_events(void **state)
{
    struct fixture *f = *state;
    struct publish_receipt r;
    assert_int_equal(publish_line(f->publish, "nonsense", 8, noon, &r), PUBLISH_REFUSED);
    assert_int_equal(r.bad, FLOWEVENT_BADJSON);
    assert_int_equal(publish_line(f->publish, "", 0, noon, &r), PUBLISH_REFUSED);
    char *large = malloc(FLOWEVENT_LINE_MAX + 1);
    memset(large, ' ', FLOWEVENT_LINE_MAX + 1);
    assert_int_equal(publish_line(f->publish, large, FLOWEVENT_LINE_MAX + 1, noon, &r), PUBLISH_REFUSED);
    assert_int_equal(r.bad, FLOWEVENT_TOOLONG);
    free(large);
    assert_int_equal(counter_get(&counters.bad_events[FLOWEVENT_BADJSON]), 2);
    assert_int_equal(counter_get(&counters.bad_events[FLOWEVENT_TOOLONG]), 1);
    assert_int_equal(counter_get(&counters.events), 0);
    assert_int_equal(sink.noted, 0);
}

/* Lines as long as they may be travel, too: short again, with the date of the zone that they carry. */
static void long_lines(void **state)
{
    struct fixture *f = *state;
    struct publish_receipt r;
    char *large = malloc(FLOWEVENT_LINE_MAX);
    memset(large, ' ', FLOWEVENT_LINE_MAX);
    memcpy(large, good_line, sizeof good_line - 1);
    assert_int_equal(publish_line(f->publish, large, FLOWEVENT_LINE_MAX, noon, &r), PUBLISH_DONE);
    publish_flush(f->publish);
    assert_true(sink.last_len < FLOWEVENT_TEXT);

    char zone[512];
    int n = event(zone, sizeof zone, 1);
    char *z = strstr(zone, "48Z");
    assert_non_null(z);
    memcpy(large, zone, (size_t)(z - zone) + 2);
    size_t at = (size_t)(z - zone) + 2;
    memcpy(large + at, "+14:00", 6);
    memcpy(large + at + 6, z + 3, (size_t)n - at - 1);
    memset(large + n + 5, ' ', 1000);
    struct flowevent ev;
    assert_int_equal(flowevent_parse(large, (size_t)n + 1000, &ev), FLOWEVENT_GOOD);
    assert_int_equal(ev.yyyymmdd, 20241119);
    assert_int_equal(publish_line(f->publish, large, (size_t)n + 1000, noon, &r), PUBLISH_DONE);
    publish_flush(f->publish);
    assert_true(sink.last_len < FLOWEVENT_TEXT);
    assert_int_equal(flowevent_parse(sink.last, sink.last_len - 1, &ev), FLOWEVENT_GOOD);
    assert_int_equal(ev.yyyymmdd, 20241119);
    free(large);
}

/* ---- control ---- */

static const char *ask_bytes(struct fixture *f, const void *request, size_t len)
{
    text_clear(&f->answer);
    control_answer(&f->control, request, len, noon, &f->answer);
    assert_false(f->answer.failed);
    text_add(&f->answer, "", 1);
    return f->answer.data;
}

static const char *ask(struct fixture *f, const char *request)
{
    return ask_bytes(f, request, strlen(request));
}

static const char *ask_as_shard(struct fixture *f, const char *request, struct mono now)
{
    text_clear(&f->answer);
    control_replay(&f->control, request, strlen(request), now, &f->answer);
    assert_false(f->answer.failed);
    text_add(&f->answer, "", 1);
    return f->answer.data;
}

static void starts(const char *text, const char *with)
{
    if (strncmp(text, with, strlen(with)) != 0)
        fail_msg("\"%s\" does not begin with \"%s\"", text, with);
}

/* A last line counts with or without its newline. */
static unsigned lines_in(const char *text)
{
    unsigned n = 0;
    size_t len = strlen(text);
    for (size_t i = 0; i < len; i++)
        n += text[i] == '\n' || i + 1 == len;
    return n;
}

static void control_events(void **state)
{
    struct fixture *f = *state;
    char request[4096];
    unsigned shard, end;
    unsigned long long seq;
    (void)snprintf(request, sizeof request, "uuid.open %s", good_line);
    assert_int_equal(sscanf(ask(f, request), "ok shard=%u seq=%llu\n%n", &shard, &seq, (int *)&end), 2);
    assert_int_equal(seq, 1);
    assert_int_equal(journal_next_seq(f->journal, shard), 2);
    assert_int_equal(sscanf(ask(f, good_line), "ok shard=%u seq=%llu", &shard, &seq), 2);
    assert_int_equal(seq, 2);
    (void)snprintf(request, sizeof request, "uuid.open   %s\r\n%s\nuuid.open %s\nnonsense\n\n%s\nuuid.close %s\n",
                   good_line, good_line, good_line, close_line, close_line);
    const char *answer = ask(f, request);
    assert_int_equal(lines_in(answer), 7);
    starts(answer, "ok shard=");
    assert_non_null(strstr(answer, "\nerror badjson: "));
    assert_non_null(strstr(answer, "\nok\nok"));
    assert_int_equal(journal_next_seq(f->journal, shard), 6);
    starts(ask(f, "{}"), "error ");
    starts(ask(f, "{\"Event\":0,\"Timestamp\":\"2024-11-19T16:51:48Z\",\"UUID\":\"a\",\"ID\":null}"), "error nilid: ");
    starts(ask(f, "uuid.open {"), "error badjson: ");
    assert_int_equal(lines_in(ask(f, "uuid.open ")), 1);
}

static void control_inject_has_no_answer(void **state)
{
    struct fixture *f = *state;
    control_answer(&f->control, good_line, sizeof good_line - 1, noon, NULL);
    control_answer(&f->control, "status", 6, noon, NULL);
    control_answer(&f->control, "", 0, noon, NULL);
    control_answer(&f->control, "replay 0 0 0", 12, noon, NULL);
    assert_int_equal(counter_get(&counters.events), 1);
    assert_int_equal(counter_get(&counters.bad_events[FLOWEVENT_BADJSON]), 3);
}

static void control_usage(void **state)
{
    struct fixture *f = *state;
    static const char *const wrong[] = {
        "",
        "\n",
        " ",
        "help",
        "statusx",
        "status now",
        "replay 0 0 0", /* for shards only, elsewhere */
        "uuid.open",
        "STATUS",
        "status\nstatus",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        starts(ask(f, wrong[i]), "error usage: ");
        assert_int_equal(lines_in(f->answer.data), 1);
    }
    static const char zeros[100];
    starts(ask_bytes(f, zeros, sizeof zeros), "error usage: ");
    starts(ask_bytes(f, "status\0", 7), "error usage: ");
    starts(ask(f, "status"), "{\"ready\":true}");
    starts(ask(f, "status  table\n"), "fine\n");
    starts(ask(f, " status \r\n"), "{\"ready\":true}");
}

/* The supervisor's commands go to it as they are, and the answer is its own. */
static void commands_of_the_supervisor(void **state)
{
    struct fixture *f = *state;
    static const char *const lines[] = {"restart 3", "drain", " restart all\r\n"};
    static const char *const as[] = {"restart 3", "drain", "restart all"};
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        text_clear(&f->answer);
        assert_false(control_answer(&f->control, lines[i], strlen(lines[i]), noon, &f->answer));
        assert_int_equal(f->answer.len, 0);
        assert_string_equal(asked, as[i]);
    }
    deaf = true;
    starts(ask(f, "restart 3"), "error busy: ");
    deaf = false;
    asked[0] = '\0';
    char large[100] = "restart ";
    memset(large + 8, 'x', sizeof large - 8);
    starts(ask_bytes(f, large, sizeof large), "error usage: ");
    starts(ask(f, "restart 3\nrestart 4"), "error usage: ");
    assert_true(control_answer(&f->control, "restart 3", 9, noon, NULL)); /* inject.sock takes events only */
    assert_string_equal(asked, "");
}

static void replay(void **state)
{
    struct fixture *f = *state;
    unsigned shard;
    unsigned long long seq;
    assert_int_equal(sscanf(ask(f, good_line), "ok shard=%u seq=%llu", &shard, &seq), 2);
    (void)ask(f, good_line);
    char request[64];
    (void)snprintf(request, sizeof request, "replay %u %d 2", shard, EPOCH);
    starts(ask_as_shard(f, request, noon), "77 2 1\n{");
    starts(ask(f, request), "error usage: ");
    (void)snprintf(request, sizeof request, "replay %u %d 3", shard, EPOCH);
    assert_string_equal(ask_as_shard(f, request, noon), "77 3 0\n");
    (void)snprintf(request, sizeof request, "replay %u 5 3", shard);
    starts(ask_as_shard(f, request, noon), "77 1 2\n{");
    assert_int_equal(counter_get(&counters.replays), 3);
    /* A minute later they are history. */
    struct mono later = {noon.ns + 61 * NS_PER_SEC};
    assert_string_equal(ask_as_shard(f, request, later), "77 3 0\n");

    static const char *const wrong[] = {"",
                                        "replay",
                                        "replay 0",
                                        "replay 0 1",
                                        "replay 0 1 2 3",
                                        "replay -1 1 1",
                                        "replay 0x1 1 1",
                                        "replay 4 1 1",
                                        "replay a b c",
                                        "replay 18446744073709551616 1 1",
                                        "status",
                                        good_line};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        starts(ask_as_shard(f, wrong[i], noon), "error usage: ");
        assert_int_equal(lines_in(f->answer.data), 1);
    }
    assert_int_equal(journal_next_seq(f->journal, shard), 3);
}

static void control_answers_are_bounded(void **state)
{
    struct fixture *f = *state;
    size_t n = CONTROL_LINES_MAX + 1000;
    char *request = malloc(n + 2);
    request[0] = '{';
    memset(request + 1, '\n', n);
    const char *answer = ask_bytes(f, request, n);
    free(request);
    assert_int_equal(lines_in(answer), CONTROL_LINES_MAX + 1);
    assert_non_null(strstr(answer, "error toolong: more than"));
}

/* Only the hub says that the kernel told the end of a socket: from outside the mark is taken off. */
static void marks_of_ours_from_outside(void **state)
{
    struct fixture *f = *state;
    static const char line[] =
        "{\"Event\":0,\"Timestamp\":\"2200-01-01T00:00:00Z\",\"UUID\":\"a_1\",\"Source\":\"destroy\",\"ID\":"
        "{\"SPort\":1,\"DPort\":2,\"SrcIP\":\"10.0.0.1\",\"DstIP\":\"10.0.0.2\",\"Interface\":0,\"Cookie\":3}}";
    struct publish_receipt r;
    struct flowevent ev;
    char page[BUS_PAGE_MAX];
    assert_int_equal(flowevent_parse(line, sizeof line - 1, &ev), FLOWEVENT_GOOD);
    assert_true(ev.destroyed);
    assert_int_equal(publish_line(f->publish, line, sizeof line - 1, noon, &r), PUBLISH_DONE);
    size_t len = journal_page(f->journal, r.shard, journal_epoch(f->journal), r.seq, noon, page);
    struct bus_page got;
    assert_int_equal(bus_page_parse(page, len, &got), SC_OK);
    assert_int_equal(got.count, 1);
    assert_int_equal(flowevent_parse(got.lines, got.lines_len - 1, &ev), FLOWEVENT_GOOD);
    assert_false(ev.destroyed);
    assert_int_equal(ev.cookie, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(one_event, set_up, tear_down),
        cmocka_unit_test_setup_teardown(many_events_and_heartbeats, set_up, tear_down),
        cmocka_unit_test_setup_teardown(close_events, set_up, tear_down),
        cmocka_unit_test_setup_teardown(bad_events, set_up, tear_down),
        cmocka_unit_test_setup_teardown(marks_of_ours_from_outside, set_up, tear_down),
        cmocka_unit_test_setup_teardown(long_lines, set_up, tear_down),
        cmocka_unit_test_setup_teardown(control_events, set_up, tear_down),
        cmocka_unit_test_setup_teardown(control_inject_has_no_answer, set_up, tear_down),
        cmocka_unit_test_setup_teardown(control_usage, set_up, tear_down),
        cmocka_unit_test_setup_teardown(commands_of_the_supervisor, set_up, tear_down),
        cmocka_unit_test_setup_teardown(replay, set_up, tear_down),
        cmocka_unit_test_setup_teardown(control_answers_are_bounded, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("hub/publish+control", tests, NULL, NULL);
}
