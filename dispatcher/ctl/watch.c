/* SPDX-License-Identifier: Apache-2.0
 * Failure policy: goes on for ever; ends when it is told to, or when its output cannot be written. */
#include "dispatcher/ctl/watch.h"

#include "dispatcher/ctl/events.h"
#include "shared/proto.h"

struct watch {
    const struct args *a;
    bool json, failed;
    uint64_t left; /* 0 = no limit */
};

/* Strings without their quotes; what a terminal might take for a command is not sent to it. */
static void show_value(struct jsontext v)
{
    bool string = *v.at == '"';
    for (const char *p = v.at + string; p < v.end - string; p++)
        (void)fputc(*p < ' ' || *p > '~' ? '?' : *p, stdout);
}

/* Members of objects inside follow their own: ID.SPort=443 reads as SPort=443. */
static void show_members(struct jsontext object)
{
    struct jsontext name, value, inner, inner_name;
    while (jsontext_next(&object, &name, &value)) {
        if (*value.at != '{') {
            (void)printf(" %.*s=", (int)(name.end - name.at - 2), name.at + 1);
            show_value(value);
            continue;
        }
        while (jsontext_next(&value, &inner_name, &inner)) {
            (void)printf(" %.*s=", (int)(inner_name.end - inner_name.at - 2), inner_name.at + 1);
            show_value(inner);
        }
    }
}

static bool take(void *ctx, const struct event_message *m)
{
    struct watch *w = ctx;
    if (!events_wanted(m, w->a->operand, w->a->count))
        return true;
    if (w->json) {
        events_write(m, stdout);
    } else {
        struct civil c = clock_civil(m->time);
        (void)printf("%02d:%02d:%02d.%03d %-10s", c.hour, c.min, c.sec, (int)(c.ns / NS_PER_MS), m->topic);
        show_members(m->body);
        (void)putchar('\n');
    }
    w->failed = fflush(stdout) != 0 || ferror(stdout);
    return !w->failed && !(w->left > 0 && --w->left == 0);
}

static int watch(const struct args *a)
{
    char error[CLIENT_ERROR];
    struct watch w = {.a = a, .json = args_has(a, "json")};
    if (!args_number(a, "count", 1, UINT64_MAX, 0, &w.left))
        return EXIT_USAGE;
    if (events_listen(a->rundir, take, &w, error) == SC_OK)
        return w.failed ? EXIT_FAILED : EXIT_DONE;
    (void)fprintf(stderr, "shardcapctl: %s\n", error);
    return EXIT_FAILED;
}

static const struct args_option options[] = {
    {"json", NULL, "one JSON object a line: time, topic, event"},
    {"count", "N", "end after N messages; default: go on until it is stopped"},
    {NULL, NULL, NULL},
};

const struct command watch_command = {
    .name = "watch",
    .operands = "[TOPIC ..]",
    .most = -1,
    .summary = "show what happens, through restarts of shardcap. A TOPIC is the begin of uuid.open, uuid.close,\n"
               "flow.saved, flow.lost, shard.up, shard.down, stats; default: all",
    .status = "0 N messages were shown; 1 the output cannot be written",
    .options = options,
    .run = watch,
};
