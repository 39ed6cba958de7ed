/* SPDX-License-Identifier: Apache-2.0
 * Failure policy: as inject; a line that is neither of a record nor an event is told and skipped, status 1. */
#include "dispatcher/ctl/replay.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "dispatcher/ctl/batch.h"
#include "dispatcher/ctl/events.h"
#include "dispatcher/ctl/input.h"
#include "dispatcher/ctl/sender.h"
#include "shared/flowevent.h"
#include "shared/lines.h"
#include "shared/proto.h"

#define RECORD_HEAD 128 /* bytes that a record adds to an event */

struct replay {
    struct lines *lines;
    struct batch *batch;
    bool recorded_pace, begun, stopped;
    struct wall first;
    struct mono start;
    unsigned long line, bad;
};

/* Waits until the event is as old here as it was in the record. */
static void wait_for(struct replay *r, struct wall time)
{
    const struct clock *clock = clock_system();
    if (!r->begun) {
        r->begun = true;
        r->first = time;
        r->start = clock->mono(clock->ctx);
    }
    int64_t age, due;
    if (time.ns <= r->first.ns)
        return;
    if (__builtin_sub_overflow(time.ns, r->first.ns, &age) || __builtin_add_overflow(r->start.ns, age, &due))
        due = INT64_MAX;
    struct timespec t = {.tv_sec = due / NS_PER_SEC, .tv_nsec = due % NS_PER_SEC};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR)
        ;
}

/* The event of a line: of a record, or itself. *skip_r: it is a message that is no UUID event. */
static bool event_of(const char *line, size_t len, struct jsontext *event_r, struct wall *time_r, bool *skip_r)
{
    struct event_message m;
    struct flowevent ev;
    *skip_r = false;
    if (events_read(&m, line, len) == SC_OK) {
        *skip_r = strncmp(m.topic, "uuid.", 5) != 0;
        *event_r = m.body;
        *time_r = m.time;
        return true;
    }
    *event_r = (struct jsontext){line, line + len};
    bool good = flowevent_parse(line, len, &ev) == FLOWEVENT_GOOD;
    *time_r = ev.time;
    return good;
}

static void on_line(void *ctx, const char *line, size_t len)
{
    struct replay *r = ctx;
    struct jsontext event;
    struct wall time;
    bool skip;
    r->line++;
    if (r->stopped || len == 0)
        return;
    if (!event_of(line, len, &event, &time, &skip)) {
        (void)fprintf(stderr, "shardcapctl: line %lu is neither of a record nor an event\n", r->line);
        r->bad++;
        return;
    }
    if (skip)
        return;
    if (r->recorded_pace)
        wait_for(r, time);
    r->stopped = !batch_feed(r->batch, event.at, (size_t)(event.end - event.at)) || !batch_feed(r->batch, "\n", 1);
}

static void on_too_long(void *ctx)
{
    struct replay *r = ctx;
    (void)fprintf(stderr, "shardcapctl: line %lu is too long\n", ++r->line);
    r->bad++;
}

static bool on_bytes(void *ctx, const char *bytes, size_t n)
{
    struct replay *r = ctx;
    lines_feed(r->lines, bytes, n);
    return !r->stopped;
}

static int replay(const struct args *a)
{
    const char *file = args_get(a, "f");
    struct sender s = {
        .rundir = a->rundir, .wait = args_has(a, "wait"), .answers = stdout, .json = args_has(a, "json")};
    struct replay r = {.recorded_pace = !args_has(a, "rate")};
    uint64_t rate;
    if (!args_number(a, "rate", 1, 1000000, 0, &rate))
        return EXIT_USAGE;
    r.batch = batch_new(sender_send, &s, rate);
    r.lines = lines_new(FLOWEVENT_LINE_MAX + RECORD_HEAD, on_line, on_too_long, &r);
    bool good = r.batch && r.lines;
    if (good) {
        good = input_read(file ? file : "-", on_bytes, &r);
        lines_end(r.lines);
        (void)batch_end(r.batch);
    } else {
        (void)fprintf(stderr, "shardcapctl: out of memory\n");
    }
    lines_free(r.lines);
    batch_free(r.batch);
    sender_close(&s);
    return good && !s.failed && s.refused == 0 && r.bad == 0 ? EXIT_DONE : EXIT_FAILED;
}

static const struct args_option options[] = {
    {"f", "FILE", "what record wrote, or FlowEvent lines; '-', the default, is standard input"},
    {"rate", "N", "N events a second; default: the pace at which they came, by their times"},
    {"wait", NULL, "wait for a shardcap that is not there, and through its restarts, as inject does"},
    {"json", NULL, "answers as JSON, one object a line"},
    {NULL, NULL, NULL},
};

const struct command replay_command = {
    .name = "replay",
    .operands = "",
    .summary = "inject the UUID events of a record again; prints one answer per event",
    .status = "0 all taken; 1 an event was refused or had no answer, or a line is not of a record",
    .options = options,
    .run = replay,
};
