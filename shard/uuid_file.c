/* SPDX-License-Identifier: Apache-2.0
 * The events file: lines to claims, sorted by time. Failure policy: a bad line is counted by its reason and skipped. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shard/uuid_intake.h"
#include "shared/lines.h"

struct loading {
    struct intake *in;
    unsigned shard, shards;
    size_t room;
    uint64_t line;
    bool no_memory;
};

static struct instant due_of(const struct loading *ld, int64_t time_ns)
{
    int64_t wait = ld->in->savers->config->uuidwaitduration_ns;
    return (struct instant){time_ns > INT64_MIN + wait ? time_ns - wait : INT64_MIN};
}

static struct instant until_of(const struct loading *ld, int64_t time_ns)
{
    int64_t wait = ld->in->savers->config->uuidwaitduration_ns;
    return (struct instant){time_ns < INT64_MAX - wait ? time_ns + wait : INT64_MAX};
}

static struct file_event *next_place(struct loading *ld)
{
    struct intake *in = ld->in;
    if (in->event_count == ld->room) {
        size_t room = ld->room ? ld->room * 2 : 256;
        struct file_event *more = reallocarray(in->events, room, sizeof(*more));
        if (!more) {
            ld->no_memory = true;
            return NULL;
        }
        in->events = more;
        ld->room = room;
    }
    return &in->events[in->event_count];
}

static void on_line(void *ctx, const char *line, size_t len)
{
    struct loading *ld = ctx;
    struct flowevent ev;
    ld->line++;
    enum flowevent_bad bad = flowevent_parse(line, len, &ev);
    if (bad != FLOWEVENT_GOOD) {
        ld->in->bad[bad]++;
        return;
    }
    if (ev.kind != FLOWEVENT_OPEN)
        return;
    uint64_t hash = flowkey_hash(&ev.key, &ld->in->savers->config->hash_key);
    if (flowkey_shard(hash, ld->shards) != ld->shard)
        return;
    struct file_event *at = next_place(ld);
    if (!at)
        return;
    *at = (struct file_event){.claim = {.key = ev.key,
                                        .hash = hash,
                                        .uuid = ev.uuid,
                                        .yyyymmdd = ev.yyyymmdd,
                                        .date_ok = true,
                                        .at = {ev.time.ns},
                                        .until = until_of(ld, ev.time.ns)},
                              .due = due_of(ld, ev.time.ns),
                              .line = ld->line};
    ld->in->event_count++;
}

static void on_too_long(void *ctx)
{
    struct loading *ld = ctx;
    ld->line++;
    ld->in->bad[FLOWEVENT_TOOLONG]++;
}

static int read_all(int fd, struct lines *l)
{
    static char buffer[65536];
    off_t at = 0;
    for (;;) {
        ssize_t n = pread(fd, buffer, sizeof(buffer), at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return SC_ESYS;
        if (n == 0)
            break;
        lines_feed(l, buffer, (size_t)n);
        at += n;
    }
    lines_end(l);
    return SC_OK;
}

static int by_time(const void *a, const void *b)
{
    const struct file_event *x = a, *y = b;
    if (x->due.ns != y->due.ns)
        return x->due.ns < y->due.ns ? -1 : 1;
    return (x->line > y->line) - (x->line < y->line);
}

/* What waited for its flow when a predecessor died waits again, unless a flow has the name. */
static void wait_again(struct intake *in, const struct claim *cl, struct instant now)
{
    const struct flows *fs = in->savers->flows;
    if (cl->until.ns < now.ns)
        return;
    for (uint32_t i = flows_find(fs, cl->hash, &cl->key); i != ARENA_NONE; i = fs->priv[i].older) {
        uint32_t name = arena_flow(fs->arena, i)->name;
        if (name != ARENA_NONE && strcmp(arena_name(fs->arena, name)->uuid.text, cl->uuid.text) == 0)
            return;
    }
    (void)pending_put(in->pending, cl);
}

int intake_load(struct intake *in, int fd, unsigned shard, unsigned shards)
{
    const struct arena_state *st = arena_state(in->savers->flows->arena);
    struct loading ld = {.in = in, .shard = shard, .shards = shards};
    struct lines *l = lines_new(FLOWEVENT_LINE_MAX, on_line, on_too_long, &ld);
    if (!l)
        return SC_ENOMEM;
    int err = read_all(fd, l);
    lines_free(l);
    if (err || ld.no_memory)
        return err ? err : SC_ENOMEM;
    if (in->event_count > 0)
        qsort(in->events, in->event_count, sizeof(*in->events), by_time);
    in->next = st->events_taken < in->event_count ? (size_t)st->events_taken : in->event_count;
    for (size_t i = 0; i < in->next; i++)
        wait_again(in, &in->events[i].claim, (struct instant){st->clock_ns});
    return SC_OK;
}
