/* SPDX-License-Identifier: Apache-2.0
 * Pages -> a table for people, as `shardcapctl status` prints it. Made here, so that no program has to understand the
 * hub's JSON to show it. Failure policy: as status.c. */
#include "dispatcher/hub/status.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>

#include "shared/nameless.h"
#include "shared/version.h"

static uint64_t percent(uint64_t part, uint64_t whole)
{
    return whole ? (uint64_t)(100.0 * (double)part / (double)whole + 0.5) : 0;
}

static void process(struct text *out, const char *name, const counter *pid, const counter *up, const counter *restarts,
                    const _Atomic uint32_t *generation, uint64_t age_ms)
{
    text_printf(out, "%-12s %8" PRIu64 " %-5s %8" PRIu64 " %10" PRIu32 " %7" PRIu64 " ms", name, counter_get(pid),
                counter_get(up) ? "up" : "down", counter_get(restarts),
                atomic_load_explicit(generation, memory_order_relaxed), age_ms);
}

static void processes(const struct pages *pages, struct text *out)
{
    const struct supervisor_page *s = pages->supervisor;
    const struct pulses *p = &pages->pulses;
    text_printf(out, "%-12s %8s %-5s %8s %10s %10s %9s %9s %6s %8s\n", "process", "pid", "state", "restarts",
                "generation", "heartbeat", "flows", "unnamed", "ring%", "memory%");
    process(out, "dispatcher", &s->pid_dispatcher, &s->up_dispatcher, &s->restarts_dispatcher,
            &pages->dispatcher->generation, pulses_age_ms(p, &p->dispatcher));
    text_printf(out, "\n");
    process(out, "hub", &s->pid_hub, &s->up_hub, &s->restarts_hub, &pages->hub->generation, 0);
    text_printf(out, "\n");
    for (unsigned i = 0; i < pages->config->shards; i++) {
        const struct shard_counters *c = &pages->shard[i]->c;
        char name[32];
        (void)snprintf(name, sizeof name, "shard[%u]", i);
        process(out, name, &s->pid_shard[i], &s->up_shard[i], &s->restarts_shard[i], &pages->shard[i]->generation,
                pulses_age_ms(p, &p->shard[i]));
        text_printf(out, " %9" PRIu64 " %9" PRIu64 " %6" PRIu64 " %8" PRIu64 "\n", counter_get(&c->flows_live),
                    counter_get(&c->flows_unnamed),
                    percent(counter_get(&pages->dispatcher->ring_backlog[i]), config_ring_bytes(pages->config)),
                    percent(counter_get(&c->budget_used), counter_get(&c->budget_limit)));
    }
}

static void sums(const struct pages *pages, struct text *out)
{
    struct totals t;
    totals_read(&t, pages->dispatcher, pages->shard, pages->config->shards);
    text_printf(out,
                "packets      delivered %" PRIu64 "  saved %" PRIu64 "  buffered %" PRIu64 "  lost %" PRIu64
                "  limits %" PRIu64 "\n",
                t.delivered, t.saved, t.buffered, t.lost, t.limits);
    for (int i = 0; i < CAUSE_COUNT; i++)
        if (t.drops[i] > 0)
            text_printf(out, "  %s %s %" PRIu64 "\n", cause_is_trouble((enum cause)i) ? "lost" : "limit",
                        cause_name((enum cause)i), t.drops[i]);
    text_printf(out, "kernel       received %" PRIu64 "  dropped %" PRIu64 "\n", t.kernel_received, t.kernel_dropped);
    text_printf(out, "flows        live %" PRIu64 " (%" PRIu64 " unnamed)  started %" PRIu64 "  saved %" PRIu64 "\n",
                t.flows_live, t.flows_unnamed, t.flows_started, t.flows_saved);
    const char *reason = nameless_reason(pages->config, &t);
    if (reason)
        text_printf(out, "  %s\n", reason);
    text_printf(out, "files        %" PRIu64 " (%" PRIu64 " bytes)\n", t.files, t.file_bytes);
    if (t.disk_total > 0)
        text_printf(out, "disk         free %" PRIu64 " of %" PRIu64 " bytes%s\n", t.disk_free, t.disk_total,
                    t.disk_paused ? "; NEW FLOWS PAUSE (-mindiskfree, -maxdisk)" : "");
}

static void interfaces(const struct dispatcher_page *d, struct text *out)
{
    for (unsigned i = 0; i < INTERFACES_MAX; i++) {
        const struct interface_counters *one = &d->interfaces[i];
        if (!atomic_load_explicit(&one->used, memory_order_acquire)) /* pairs with the dispatcher's release */
            continue;
        char name[INTERFACE_NAME + 1] = "";
        for (size_t n = 0; n < INTERFACE_NAME && one->name[n]; n++)
            name[n] = (char)(one->name[n] > ' ' && one->name[n] < 0x7f ? one->name[n] : '?');
        text_printf(out, "interface    %s %s  delivered %" PRIu64 "  kernel dropped %" PRIu64 "\n", name,
                    atomic_load_explicit(&one->capturing, memory_order_relaxed) ? "up" : "down",
                    counter_get(&one->delivered), counter_get(&one->kernel_dropped));
    }
}

static bool all_up(const struct pages *pages)
{
    const struct supervisor_page *s = pages->supervisor;
    bool up = counter_get(&s->ready) && counter_get(&s->up_dispatcher) && counter_get(&s->up_hub);
    for (unsigned i = 0; i < pages->config->shards; i++)
        up = up && counter_get(&s->up_shard[i]);
    return up;
}

void status_table(const struct pages *pages, struct text *out)
{
    const struct hub_page *h = pages->hub;
    bool draining = counter_get(&pages->supervisor->draining) != 0;
    bool fine = all_up(pages) && !draining;
    text_printf(out, "%s\n", fine ? STATUS_FINE : STATUS_DEGRADED);
    text_printf(out, "shardcap %s: %s\n", version_text(), draining ? "stopping" : fine ? "ready" : "not ready");
    processes(pages, out);
    sums(pages, out);
    uint64_t bad = 0;
    for (int i = 0; i < FLOWEVENT_BAD_COUNT; i++)
        bad += counter_get(&h->bad_events[i]);
    text_printf(out, "events       accepted %" PRIu64 "  bad %" PRIu64 "  event socket %s\n", counter_get(&h->events),
                bad, status_eventsocket(pages));
    interfaces(pages->dispatcher, out);
}
