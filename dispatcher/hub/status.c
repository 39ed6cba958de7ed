/* SPDX-License-Identifier: Apache-2.0
 * Pages -> JSON. Written by hand: it is all numbers and our own words, but for names of interfaces, which are escaped.
 * Failure policy: cannot fail but for memory (the text's sticky flag). */
#include "dispatcher/hub/status.h"

#include <inttypes.h>
#include <string.h>

#include "shared/nameless.h"
#include "shared/version.h"

static uint64_t get(const counter *c)
{
    return counter_get(c);
}

struct one {
    const char *name;
    const counter *pid, *up, *restarts;
    uint32_t generation;
    uint64_t heartbeat_age_ms;
};

static uint32_t generation(const _Atomic uint32_t *g)
{
    return atomic_load_explicit(g, memory_order_relaxed);
}

static void process(struct text *out, const struct one *p)
{
    text_printf(out,
                "{\"process\":\"%s\",\"pid\":%" PRIu64 ",\"up\":%s,\"restarts\":%" PRIu64 ",\"generation\":%" PRIu32
                ",\"heartbeat_age_ms\":%" PRIu64,
                p->name, get(p->pid), get(p->up) ? "true" : "false", get(p->restarts), p->generation,
                p->heartbeat_age_ms);
}

static void shard(const struct pages *pages, unsigned i, struct text *out)
{
    const struct supervisor_page *s = pages->supervisor;
    const struct shard_counters *c = &pages->shard[i]->c;
    struct one one = {"shard",
                      &s->pid_shard[i],
                      &s->up_shard[i],
                      &s->restarts_shard[i],
                      generation(&pages->shard[i]->generation),
                      pulses_age_ms(&pages->pulses, &pages->pulses.shard[i])};
    text_printf(out, ",\n ");
    process(out, &one);
    text_printf(
        out,
        ",\"shard\":%u,\"flows\":%" PRIu64 ",\"unnamed\":%" PRIu64 ",\"files\":%" PRIu64 ",\"ring_used\":%" PRIu64
        ",\"ring_size\":%" PRIu64 ",\"budget_used\":%" PRIu64 ",\"budget_limit\":%" PRIu64 "}",
        i, get(&c->flows_live), get(&c->flows_unnamed), get(&c->files), get(&pages->dispatcher->ring_backlog[i]),
        config_ring_bytes(pages->config), get(&c->budget_used), get(&c->budget_limit));
}

static void processes(const struct pages *pages, struct text *out)
{
    const struct supervisor_page *s = pages->supervisor;
    struct one dispatcher = {"dispatcher",
                             &s->pid_dispatcher,
                             &s->up_dispatcher,
                             &s->restarts_dispatcher,
                             generation(&pages->dispatcher->generation),
                             pulses_age_ms(&pages->pulses, &pages->pulses.dispatcher)};
    struct one hub = {"hub", &s->pid_hub, &s->up_hub, &s->restarts_hub, generation(&pages->hub->generation), 0};
    text_printf(out, "\"processes\":[");
    process(out, &dispatcher);
    text_printf(out, "},\n ");
    process(out, &hub); /* it is we who answer: its heart beats */
    text_printf(out, "}");
    for (unsigned i = 0; i < pages->config->shards; i++)
        shard(pages, i, out);
    text_printf(out, "],\n");
}

static void interface(const struct interface_counters *i, bool first, struct text *out)
{
    text_printf(out, "%s{\"interface\":\"", first ? "" : ",");
    for (size_t n = 0; n < INTERFACE_NAME && i->name[n]; n++) {
        unsigned char c = (unsigned char)i->name[n];
        if (c < 0x20 || c >= 0x7f || c == '"' || c == '\\')
            text_printf(out, "\\u%04x", c);
        else
            text_add(out, &i->name[n], 1);
    }
    text_printf(out, "\",\"up\":%s,\"delivered\":%" PRIu64 ",\"kernel_dropped\":%" PRIu64 "}",
                atomic_load_explicit(&i->capturing, memory_order_relaxed) ? "true" : "false", get(&i->delivered),
                get(&i->kernel_dropped));
}

static void interfaces(const struct pages *pages, struct text *out)
{
    text_printf(out, "\"interfaces\":[");
    bool first = true;
    for (unsigned i = 0; i < INTERFACES_MAX; i++) {
        const struct interface_counters *one = &pages->dispatcher->interfaces[i];
        if (!atomic_load_explicit(&one->used, memory_order_acquire)) /* pairs with the dispatcher's release */
            continue;
        interface(one, first, out);
        first = false;
    }
    text_printf(out, "]");
}

static void sums(const struct totals *t, struct text *out)
{
    text_printf(out,
                "\"packets\":{\"delivered\":%" PRIu64 ",\"saved\":%" PRIu64 ",\"buffered\":%" PRIu64
                ",\"in_ring\":%" PRIu64 ",\"lost\":%" PRIu64 ",\"limits\":%" PRIu64 "},\n",
                t->delivered, t->saved, t->buffered, t->in_ring, t->lost, t->limits);
    text_printf(out, "\"drops\":{");
    bool first = true;
    for (int i = 0; i < CAUSE_COUNT; i++) {
        if (t->drops[i] == 0)
            continue;
        text_printf(out, "%s\"%s\":%" PRIu64, first ? "" : ",", cause_name((enum cause)i), t->drops[i]);
        first = false;
    }
    text_printf(out, "},\n\"kernel\":{\"received\":%" PRIu64 ",\"dropped\":%" PRIu64 "},\n", t->kernel_received,
                t->kernel_dropped);
    text_printf(out,
                "\"flows\":{\"live\":%" PRIu64 ",\"halfopen\":%" PRIu64 ",\"unnamed\":%" PRIu64 ",\"started\":%" PRIu64
                ",\"saved\":%" PRIu64 "},\n\"files\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\n",
                t->flows_live, t->flows_halfopen, t->flows_unnamed, t->flows_started, t->flows_saved, t->files,
                t->file_bytes);
    text_printf(out, "\"salvaged\":{\"files\":%" PRIu64 ",\"packets\":%" PRIu64 "},\"removed\":%" PRIu64 ",\n",
                t->salvaged_files, t->salvaged_packets, t->removed_files);
    text_printf(out, "\"disk\":{\"free\":%" PRIu64 ",\"total\":%" PRIu64 ",\"used\":%" PRIu64 ",\"paused\":%s},\n",
                t->disk_free, t->disk_total, t->disk_used, t->disk_paused ? "true" : "false");
}

const char *status_eventsocket(const struct pages *pages)
{
    if (!pages->config->eventsocket[0])
        return "none";
    return get(&pages->hub->eventsocket_up) ? "up" : "down";
}

void status_json(const struct pages *pages, struct text *out)
{
    const struct supervisor_page *s = pages->supervisor;
    const struct hub_page *h = pages->hub;
    struct totals t;
    totals_read(&t, pages->dispatcher, pages->shard, pages->config->shards);
    text_printf(out,
                "{\"version\":\"%s\",\"commit\":\"%s\",\"ready\":%s,\"draining\":%s,\"restarting\":%" PRIu64
                ",\"started\":%.3f,\"dispatchers\":%u,\n",
                version_text(), version_commit(), get(&s->ready) ? "true" : "false",
                get(&s->draining) ? "true" : "false", get(&s->restarting),
                (double)pages->config->started_ns / (double)NS_PER_SEC, config_dispatchers(pages->config));
    if (pages->config->kernel_prefix.text[0]) /* its rule leaves nothing to escape */
        text_printf(out, "\"uuid_prefix\":\"%s\",\n", pages->config->kernel_prefix.text);
    processes(pages, out);
    sums(&t, out);
    const char *reason = nameless_reason(pages->config, &t);
    if (reason) /* a text of ours, without anything to escape */
        text_printf(out, "\"nameless\":\"%s\",\n", reason);
    uint64_t bad = 0;
    for (int i = 0; i < FLOWEVENT_BAD_COUNT; i++)
        bad += get(&h->bad_events[i]);
    text_printf(out, "\"events\":{\"accepted\":%" PRIu64 ",\"bad\":%" PRIu64 ",\"eventsocket\":\"%s\"},\n",
                get(&h->events), bad, status_eventsocket(pages));
    interfaces(pages, out);
    text_printf(out, "}\n");
}
