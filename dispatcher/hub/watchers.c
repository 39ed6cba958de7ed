/* SPDX-License-Identifier: Apache-2.0
 * See watchers.h. UUIDs and paths come here checked (flowevent.c, report.c): they need no escaping. */
#include "dispatcher/hub/watchers.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct watchers {
    struct watchers_setup s;
    struct evsource *pace;
    uint8_t *queue; /* WATCHERS_ROOM bytes, a ring of {uint32_t length, message} */
    uint64_t head, tail;
    bool sending; /* the timer runs */
    struct mono stats_due;
    uint64_t pid[SHARDS_MAX]; /* of the process last said to be up; 0 = none */
    char message[WATCHERS_MESSAGE];
};

/* ---- the queue ---- */

static void copy_in(struct watchers *w, const void *bytes, size_t n)
{
    size_t at = w->head % WATCHERS_ROOM, first = n < WATCHERS_ROOM - at ? n : WATCHERS_ROOM - at;
    memcpy(w->queue + at, bytes, first);
    memcpy(w->queue, (const uint8_t *)bytes + first, n - first);
    w->head += n;
}

static void copy_out(struct watchers *w, void *bytes, size_t n)
{
    size_t at = w->tail % WATCHERS_ROOM, first = n < WATCHERS_ROOM - at ? n : WATCHERS_ROOM - at;
    memcpy(bytes, w->queue + at, first);
    memcpy((uint8_t *)bytes + first, w->queue, n - first);
    w->tail += n;
}

static void send_next(void *ctx)
{
    struct watchers *w = ctx;
    uint32_t len;
    char out[WATCHERS_MESSAGE];
    w->sending = w->tail != w->head;
    if (!w->sending)
        return;
    copy_out(w, &len, sizeof len);
    copy_out(w, out, len);
    w->s.send(w->s.ctx, out, len);
    counter_add(&w->s.pages->hub->watch_sent, 1);
    evloop_timer_set(w->pace, WATCHERS_GAP_NS);
}

/* Is it worth writing a message? */
static bool watched(struct watchers *w)
{
    unsigned n = w->s.count(w->s.ctx);
    counter_set(&w->s.pages->hub->watchers, n);
    return n > 0;
}

/* w->message holds n characters, as snprintf says. */
static void post(struct watchers *w, int n)
{
    uint32_t len = (uint32_t)n;
    if (n < 0 || len >= sizeof w->message || WATCHERS_ROOM - (w->head - w->tail) < sizeof len + len) {
        counter_add(&w->s.pages->hub->watch_left_out, 1);
        return;
    }
    copy_in(w, &len, sizeof len);
    copy_in(w, w->message, len);
    if (!w->sending) {
        w->sending = true;
        evloop_timer_set(w->pace, 0);
    }
}

/* ---- what is said ---- */

static void time_text(const struct watchers *w, char out[CLOCK_TEXT])
{
    clock_format(w->s.clock->wall(w->s.clock->ctx), out);
}

void watchers_event(struct watchers *w, const struct flowevent *ev)
{
    const struct anonymizer *a = &w->s.pages->config->anonymizer;
    if (!watched(w))
        return;
    struct flowevent shown = *ev;
    if (shown.has_id) {
        anonymize_ip(a, &shown.src);
        anonymize_ip(a, &shown.dst);
    }
    int topic = snprintf(w->message, sizeof w->message, "%s ", ev->kind == FLOWEVENT_OPEN ? "uuid.open" : "uuid.close");
    int n = flowevent_format(&shown, w->message + topic, sizeof w->message - (size_t)topic);
    post(w, n < 0 ? n : topic + n);
}

static void on_saved(struct watchers *w, unsigned shard, const struct report *r)
{
    char time[CLOCK_TEXT], flow[FLOWKEY_TEXT];
    time_text(w, time);
    post(w, snprintf(w->message, sizeof w->message,
                     "flow.saved {\"Timestamp\":\"%s\",\"Shard\":%u,\"UUID\":\"%s\",\"Flow\":\"%s\",\"File\":\"%s\","
                     "\"Packets\":%" PRIu64 ",\"Bytes\":%" PRIu64 "}",
                     time, shard, r->uuid.text, flowkey_format(&r->key, flow), r->path, r->packets, r->bytes));
}

static void on_lost(struct watchers *w, unsigned shard, const struct report *r)
{
    char time[CLOCK_TEXT], flow[FLOWKEY_TEXT];
    const char *quote = r->uuid.text[0] ? "\"" : "";
    time_text(w, time);
    post(w, snprintf(w->message, sizeof w->message,
                     "flow.lost {\"Timestamp\":\"%s\",\"Shard\":%u,\"UUID\":%s%s%s,\"Flow\":\"%s\",\"Cause\":\"%s\","
                     "\"Packets\":%" PRIu64 ",\"LeftOut\":%" PRIu64 "}",
                     time, shard, quote, r->uuid.text[0] ? r->uuid.text : "null", quote, flowkey_format(&r->key, flow),
                     cause_name((enum cause)r->cause), r->packets, r->left_out));
}

void watchers_report(struct watchers *w, unsigned shard, const struct report *r)
{
    if (r->kind == REPORT_NAMED || !watched(w))
        return;
    if (r->kind == REPORT_SAVED)
        on_saved(w, shard, r);
    else
        on_lost(w, shard, r);
}

static void say_shard(struct watchers *w, const char *topic, unsigned shard, uint64_t pid)
{
    char time[CLOCK_TEXT];
    if (!watched(w))
        return;
    time_text(w, time);
    post(w, snprintf(w->message, sizeof w->message,
                     "%s {\"Timestamp\":\"%s\",\"Shard\":%u,\"PID\":%" PRIu64 ",\"Restarts\":%" PRIu64 "}", topic, time,
                     shard, pid, counter_get(&w->s.pages->supervisor->restarts_shard[shard])));
}

/* The supervisor's page says which process is up. One that was replaced between two looks went, and another came. */
static void look_at_shards(struct watchers *w)
{
    const struct supervisor_page *s = w->s.pages->supervisor;
    for (unsigned i = 0; i < w->s.pages->config->shards; i++) {
        uint64_t pid = counter_get(&s->up_shard[i]) ? counter_get(&s->pid_shard[i]) : 0;
        if (pid == w->pid[i])
            continue;
        if (w->pid[i])
            say_shard(w, "shard.down", i, w->pid[i]);
        if (pid)
            say_shard(w, "shard.up", i, pid);
        w->pid[i] = pid;
    }
}

static void say_sums(struct watchers *w)
{
    const struct pages *p = w->s.pages;
    struct totals t;
    uint64_t bad = 0, left_out = counter_get(&p->hub->watch_left_out);
    char time[CLOCK_TEXT];
    totals_read(&t, p->dispatcher, p->shard, p->config->shards);
    for (int i = 0; i < FLOWEVENT_BAD_COUNT; i++)
        bad += counter_get(&p->hub->bad_events[i]);
    for (unsigned i = 0; i < p->config->shards; i++)
        left_out += counter_get(&p->shard[i]->c.reports_left_out);
    time_text(w, time);
    post(w, snprintf(w->message, sizeof w->message,
                     "stats {\"Timestamp\":\"%s\",\"Delivered\":%" PRIu64 ",\"Saved\":%" PRIu64 ",\"Buffered\":%" PRIu64
                     ",\"Lost\":%" PRIu64 ",\"Limits\":%" PRIu64 ",\"KernelReceived\":%" PRIu64
                     ",\"KernelDropped\":%" PRIu64 ",\"FlowsLive\":%" PRIu64 ",\"FlowsUnnamed\":%" PRIu64
                     ",\"FlowsStarted\":%" PRIu64 ",\"FlowsSaved\":%" PRIu64 ",\"Files\":%" PRIu64
                     ",\"FileBytes\":%" PRIu64 ",\"Events\":%" PRIu64 ",\"BadEvents\":%" PRIu64 ",\"LeftOut\":%" PRIu64
                     "}",
                     time, t.delivered, t.saved, t.buffered, t.lost, t.limits, t.kernel_received, t.kernel_dropped,
                     t.flows_live, t.flows_unnamed, t.flows_started, t.flows_saved, t.files, t.file_bytes,
                     counter_get(&p->hub->events), bad, left_out));
}

void watchers_tick(struct watchers *w)
{
    struct mono now = w->s.clock->mono(w->s.clock->ctx);
    look_at_shards(w);
    if (now.ns < w->stats_due.ns)
        return;
    /* A loop that was held up does not make up for it in a burst. */
    w->stats_due.ns = w->stats_due.ns + 2 * NS_PER_SEC > now.ns ? w->stats_due.ns + NS_PER_SEC : now.ns + NS_PER_SEC;
    if (watched(w))
        say_sums(w);
}

/* ---- life ---- */

struct watchers *watchers_new(const struct watchers_setup *setup)
{
    struct watchers *w = calloc(1, sizeof *w);
    if (!w)
        return NULL;
    w->s = *setup;
    w->stats_due = setup->clock->mono(setup->clock->ctx);
    w->queue = malloc(WATCHERS_ROOM);
    w->pace = evloop_timer(setup->loop, send_next, w);
    if (!w->queue || !w->pace) {
        watchers_free(w);
        return NULL;
    }
    return w;
}

void watchers_free(struct watchers *w)
{
    if (!w)
        return;
    evsource_remove(w->pace);
    free(w->queue);
    free(w);
}
