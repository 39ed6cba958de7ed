/* SPDX-License-Identifier: Apache-2.0
 * shardcap_*. Failure policy: as metrics.c. All packet counters are read before anything is written, against the way of
 * the packets (saved before consumed before enqueued before delivered), so that one scrape never shows more coming out
 * than went in. */
#include "dispatcher/hub/metrics_own.h"

#include <stdio.h>
#include <string.h>

#include "dispatcher/hub/metrics_text.h"
#include "shared/nameless.h"

#define OF_SHARD(field) offsetof(struct shard_counters, field)

static const char *shard_label(char out[64], unsigned shard)
{
    (void)snprintf(out, 64, "shard=\"%u\"", shard);
    return out;
}

static void per_shard(const struct pages *p, struct text *out, const char *name, const char *type, const char *help,
                      size_t offset)
{
    char label[64];
    metric_family(out, name, type, help);
    for (unsigned i = 0; i < p->config->shards; i++)
        metric_sample(out, name, shard_label(label, i), metric_of_shard(p, i, offset));
}

struct snapshot {
    struct shard_totals shard[SHARDS_MAX];
    struct totals sum;
};

static void packets(const struct pages *p, const struct snapshot *s, struct text *out)
{
    static const struct {
        const char *name, *type, *help;
        size_t offset;
    } families[] = {
        {"shardcap_packets_enqueued_total", METRIC_COUNTER, "Packets put into the shard's ring.",
         offsetof(struct snapshot, shard[0].enqueued)},
        {"shardcap_packets_consumed_total", METRIC_COUNTER, "Packets taken from the shard's ring.",
         offsetof(struct snapshot, shard[0].consumed)},
        {"shardcap_packets_saved_total", METRIC_COUNTER, "Packets in published files.",
         offsetof(struct snapshot, shard[0].saved)},
        {"shardcap_packets_buffered", METRIC_GAUGE, "Packets of flows that are not yet published.",
         offsetof(struct snapshot, shard[0].buffered)},
    };
    char label[64];
    metric_single(out, "shardcap_packets_delivered_total", METRIC_COUNTER, "Packets that libpcap handed over.",
                  s->sum.delivered);
    for (size_t f = 0; f < sizeof families / sizeof families[0]; f++) {
        metric_family(out, families[f].name, families[f].type, families[f].help);
        for (unsigned i = 0; i < p->config->shards; i++) {
            uint64_t value;
            memcpy(&value, (const char *)s + families[f].offset + i * sizeof s->shard[0], sizeof value);
            metric_sample(out, families[f].name, shard_label(label, i), value);
        }
    }
}

static void drops_and_rings(const struct pages *p, const struct totals *t, struct text *out)
{
    char label[96];
    metric_family(out, "shardcap_dropped_packets_total", METRIC_COUNTER,
                  "Packets that are in no file, by cause; class lost means trouble, limit was asked for.");
    for (int i = 0; i < CAUSE_COUNT; i++) {
        enum cause c = (enum cause)i;
        (void)snprintf(label, sizeof label, "cause=\"%s\",class=\"%s\"", cause_name(c),
                       cause_is_trouble(c) ? "lost" : "limit");
        metric_sample(out, "shardcap_dropped_packets_total", label, t->drops[i]);
    }
    metric_family(out, "shardcap_ring_full_packets_total", METRIC_COUNTER,
                  "The part of cause ring_full that was meant for this shard.");
    for (unsigned i = 0; i < p->config->shards; i++)
        metric_sample(out, "shardcap_ring_full_packets_total", shard_label(label, i),
                      counter_get(&p->dispatcher->ring_full[i]));
    metric_family(out, "shardcap_dispatcher_packets_total", METRIC_COUNTER,
                  "Packets that each thread of -dispatchers took from interfaces.");
    for (unsigned i = 0; i < config_dispatchers(p->config); i++) {
        (void)snprintf(label, sizeof label, "dispatcher=\"%u\"", i);
        metric_sample(out, "shardcap_dispatcher_packets_total", label, counter_get(&p->dispatcher->captured[i]));
    }
    metric_family(out, "shardcap_ring_bytes", METRIC_GAUGE, "Fill and size of the shard's ring.");
    for (unsigned i = 0; i < p->config->shards; i++) {
        (void)snprintf(label, sizeof label, "shard=\"%u\",kind=\"used\"", i);
        metric_sample(out, "shardcap_ring_bytes", label, counter_get(&p->dispatcher->ring_backlog[i]));
        (void)snprintf(label, sizeof label, "shard=\"%u\",kind=\"size\"", i);
        metric_sample(out, "shardcap_ring_bytes", label, config_ring_bytes(p->config));
    }
}

/* An interface that goes and comes back may hold several slots; a name must appear once. */
struct interface_sum {
    char label[2 * INTERFACE_NAME + 16];
    uint64_t up, delivered, received, dropped, if_dropped, gap;
};

static unsigned sum_interfaces(const struct dispatcher_page *d, struct interface_sum out[INTERFACES_MAX])
{
    unsigned count = 0;
    for (unsigned i = 0; i < INTERFACES_MAX; i++) {
        const struct interface_counters *one = &d->interfaces[i];
        /* Pairs with the dispatcher's release store, after which the name stands. */
        if (!atomic_load_explicit(&one->used, memory_order_acquire))
            continue;
        char name[2 * INTERFACE_NAME + 1];
        metric_escape(name, one->name, strnlen(one->name, INTERFACE_NAME));
        struct interface_sum new = {0};
        (void)snprintf(new.label, sizeof new.label, "interface=\"%s\"", name);
        unsigned at = 0;
        while (at < count && strcmp(out[at].label, new.label) != 0)
            at++;
        if (at == count)
            out[count++] = new;
        out[at].up |= atomic_load_explicit(&one->capturing, memory_order_relaxed) != 0;
        out[at].delivered += counter_get(&one->delivered);
        out[at].dropped += counter_get(&one->kernel_dropped);
        out[at].received += counter_get(&one->kernel_received);
        out[at].if_dropped += counter_get(&one->if_dropped);
        out[at].gap += counter_get(&one->gap_rx);
    }
    return count;
}

static void interfaces(const struct pages *p, struct text *out)
{
    static const struct {
        const char *name, *type, *help;
        size_t offset;
    } families[] = {
        {"shardcap_interface_up", METRIC_GAUGE, "1 while the interface is being captured.",
         offsetof(struct interface_sum, up)},
        {"shardcap_interface_delivered_packets_total", METRIC_COUNTER, "Packets that libpcap handed over.",
         offsetof(struct interface_sum, delivered)},
        {"shardcap_kernel_received_packets_total", METRIC_COUNTER,
         "Packets that passed the kernel filter, dropped ones included.", offsetof(struct interface_sum, received)},
        {"shardcap_kernel_dropped_packets_total", METRIC_COUNTER,
         "Packets that the kernel dropped because its ring was full.", offsetof(struct interface_sum, dropped)},
        {"shardcap_interface_dropped_packets_total", METRIC_COUNTER, "Packets dropped by the interface or its driver.",
         offsetof(struct interface_sum, if_dropped)},
        {"shardcap_capture_gap_received_packets_total", METRIC_COUNTER,
         "Estimate from above: packets that the interface received while a dispatcher was being replaced.",
         offsetof(struct interface_sum, gap)},
    };
    struct interface_sum sum[INTERFACES_MAX];
    unsigned count = sum_interfaces(p->dispatcher, sum);
    for (size_t f = 0; f < sizeof families / sizeof families[0]; f++) {
        metric_family(out, families[f].name, families[f].type, families[f].help);
        for (unsigned i = 0; i < count; i++) {
            uint64_t value;
            memcpy(&value, (const char *)&sum[i] + families[f].offset, sizeof value);
            metric_sample(out, families[f].name, sum[i].label, value);
        }
    }
}

static void flows_and_files(const struct pages *p, const struct totals *t, struct text *out)
{
    char label[96];
    metric_family(out, "shardcap_flows", METRIC_GAUGE,
                  "Flows in the table; those of them in probation, whose handshake is not done; those without a UUID.");
    for (unsigned i = 0; i < p->config->shards; i++) {
        (void)snprintf(label, sizeof label, "shard=\"%u\",state=\"live\"", i);
        metric_sample(out, "shardcap_flows", label, metric_of_shard(p, i, OF_SHARD(flows_live)));
        (void)snprintf(label, sizeof label, "shard=\"%u\",state=\"halfopen\"", i);
        metric_sample(out, "shardcap_flows", label, metric_of_shard(p, i, OF_SHARD(flows_halfopen)));
        (void)snprintf(label, sizeof label, "shard=\"%u\",state=\"unnamed\"", i);
        metric_sample(out, "shardcap_flows", label, metric_of_shard(p, i, OF_SHARD(flows_unnamed)));
    }
    metric_single(out, "shardcap_flows_started_total", METRIC_COUNTER, "Flows seen.", t->flows_started);
    per_shard(p, out, "shardcap_flows_halfopen_evicted_total", METRIC_COUNTER,
              "Half-open flows that newer ones pushed out of probation.", OF_SHARD(flows_halfopen_evicted));
    metric_single(out, "shardcap_flows_saved_total", METRIC_COUNTER, "Flows with at least one published file.",
                  t->flows_saved);
    metric_single(out, "shardcap_files_total", METRIC_COUNTER, "Files published.", t->files);
    metric_single(out, "shardcap_file_bytes_total", METRIC_COUNTER, "Bytes of the published files.", t->file_bytes);
    metric_single(out, "shardcap_files_suffixed_total", METRIC_COUNTER,
                  "Files named .1, .2 and so on because the UUID had one.", metric_sum(p, OF_SHARD(suffixed)));
    metric_single(out, "shardcap_event_dates_replaced_total", METRIC_COUNTER,
                  "Event dates too far off to name a directory.", metric_sum(p, OF_SHARD(date_replaced)));
    metric_single(out, "shardcap_file_errors_total", METRIC_COUNTER, "File calls that failed.",
                  metric_sum(p, OF_SHARD(file_errors)));
    metric_single(out, "shardcap_salvaged_files_total", METRIC_COUNTER,
                  "Files of a predecessor that were found unpublished at the start, and published.", t->salvaged_files);
    metric_single(out, "shardcap_salvaged_packets_total", METRIC_COUNTER,
                  "Packets in them; they are in none of the other counts.", t->salvaged_packets);
    metric_single(out, "shardcap_aside_files_total", METRIC_COUNTER,
                  "Files of a predecessor that nothing could be made of: set aside in staging.",
                  metric_sum(p, OF_SHARD(aside_files)));
    per_shard(p, out, "shardcap_disk_paused", METRIC_GAUGE, "1 while -mindiskfree or -maxdisk keeps new flows out.",
              OF_SHARD(disk_paused));
    metric_family(out, "shardcap_disk_bytes", METRIC_GAUGE,
                  "The file system of -datadir; used: by published files, with -maxdisk or -keep.");
    metric_sample(out, "shardcap_disk_bytes", "kind=\"free\"", t->disk_free);
    metric_sample(out, "shardcap_disk_bytes", "kind=\"total\"", t->disk_total);
    metric_sample(out, "shardcap_disk_bytes", "kind=\"used\"", t->disk_used);
    metric_single(out, "shardcap_removed_files_total", METRIC_COUNTER,
                  "Published files that -keep or -maxdisk has removed.", t->removed_files);
    metric_single(out, "shardcap_removed_bytes_total", METRIC_COUNTER, "Bytes of them.",
                  metric_sum(p, OF_SHARD(removed_bytes)));
    metric_family(out, "shardcap_budget_bytes", METRIC_GAUGE, "Memory budget of the shard.");
    for (unsigned i = 0; i < p->config->shards; i++) {
        (void)snprintf(label, sizeof label, "shard=\"%u\",kind=\"limit\"", i);
        metric_sample(out, "shardcap_budget_bytes", label, metric_of_shard(p, i, OF_SHARD(budget_limit)));
        (void)snprintf(label, sizeof label, "shard=\"%u\",kind=\"used\"", i);
        metric_sample(out, "shardcap_budget_bytes", label, metric_of_shard(p, i, OF_SHARD(budget_used)));
    }
}

/* One counter of each process. */
struct per_process {
    const counter *dispatcher, *hub, *shard[SHARDS_MAX];
};

/* The dispatcher and the hub have an empty shard label, which is the same as none. */
static void per_process(const struct pages *p, struct text *out, const char *name, const char *type, const char *help,
                        const struct per_process *c)
{
    char label[96];
    metric_family(out, name, type, help);
    metric_sample(out, name, "process=\"dispatcher\",shard=\"\"", counter_get(c->dispatcher));
    metric_sample(out, name, "process=\"hub\",shard=\"\"", counter_get(c->hub));
    for (unsigned i = 0; i < p->config->shards; i++) {
        (void)snprintf(label, sizeof label, "process=\"shard\",shard=\"%u\"", i);
        metric_sample(out, name, label, counter_get(c->shard[i]));
    }
}

static void processes(const struct pages *p, struct text *out)
{
    const struct supervisor_page *s = p->supervisor;
    struct per_process up = {.dispatcher = &s->up_dispatcher, .hub = &s->up_hub};
    struct per_process restarts = {.dispatcher = &s->restarts_dispatcher, .hub = &s->restarts_hub};
    struct per_process beats = {.dispatcher = &p->dispatcher->heartbeat, .hub = &p->hub->heartbeat};
    for (unsigned i = 0; i < p->config->shards; i++) {
        up.shard[i] = &s->up_shard[i];
        restarts.shard[i] = &s->restarts_shard[i];
        beats.shard[i] = &p->shard[i]->heartbeat;
    }
    per_process(p, out, "shardcap_up", METRIC_GAUGE, "1 while the process is up.", &up);
    per_process(p, out, "shardcap_restarts_total", METRIC_COUNTER, "Times that the process was started again.",
                &restarts);
    per_process(p, out, "shardcap_heartbeats_total", METRIC_COUNTER, "Turns of the process's loop.", &beats);
    metric_single(out, "shardcap_ready", METRIC_GAUGE, "1 when every process is up.", counter_get(&s->ready));
    metric_single(out, "shardcap_draining", METRIC_GAUGE, "1 while shardcap is being stopped.",
                  counter_get(&s->draining));
    metric_family(out, "shardcap_capture_gap_seconds", METRIC_GAUGE,
                  "Estimate of the time without capture because the dispatcher had to be started again.");
    metric_sample_real(out, "shardcap_capture_gap_seconds", NULL,
                       (double)counter_get(&p->dispatcher->capture_gap_ms) / 1e3);
}

static void bus(const struct pages *p, struct text *out)
{
    const struct hub_page *h = p->hub;
    metric_single(out, "shardcap_destroyed_sockets_total", METRIC_COUNTER, "Sockets whose end the kernel told.",
                  counter_get(&h->destroyed));
    metric_single(out, "shardcap_destroyfeed_overruns_total", METRIC_COUNTER,
                  "Times that the feed of destroyed sockets lost some.", counter_get(&h->destroy_overruns));
    metric_single(out, "shardcap_uuid_ambiguous_total", METRIC_COUNTER,
                  "Sockets aborted by their own side that may have been one of several flows.",
                  counter_get(&h->uuid_ambiguous));
    metric_single(out, "shardcap_eventsocket_up", METRIC_GAUGE, "1 while the event socket is connected.",
                  counter_get(&h->eventsocket_up));
    metric_single(out, "shardcap_eventsocket_connects_total", METRIC_COUNTER, "Connections made to the event socket.",
                  counter_get(&h->eventsocket_connects));
    metric_single(out, "shardcap_events_total", METRIC_COUNTER, "UUID events accepted, from all sources.",
                  counter_get(&h->events));
    metric_single(out, "shardcap_bus_pages_total", METRIC_COUNTER, "Pages of events sent to the shards.",
                  counter_get(&h->pages));
    metric_single(out, "shardcap_bus_replays_total", METRIC_COUNTER, "Replays that shards asked for.",
                  counter_get(&h->replays));
    metric_single(out, "shardcap_serve_clients", METRIC_GAUGE, "Clients of -events.serve.",
                  counter_get(&h->serve_clients));
    metric_single(out, "shardcap_serve_events_total", METRIC_COUNTER, "Events told to clients of -events.serve.",
                  counter_get(&h->serve_lines));
    metric_single(out, "shardcap_serve_cut_total", METRIC_COUNTER, "Clients of -events.serve that did not keep up.",
                  counter_get(&h->serve_cut));
    metric_single(out, "shardcap_watchers", METRIC_GAUGE, "Connections to events.sock.", counter_get(&h->watchers));
    metric_single(out, "shardcap_watch_messages_total", METRIC_COUNTER, "Messages sent on events.sock.",
                  counter_get(&h->watch_sent));
    metric_single(out, "shardcap_watch_left_out_total", METRIC_COUNTER,
                  "Messages for events.sock for which there was no room, or too many.",
                  counter_get(&h->watch_left_out) + metric_sum(p, OF_SHARD(reports_left_out)));
    per_shard(p, out, "shardcap_bus_gaps_total", METRIC_COUNTER, "Gaps in the event bus that a replay healed.",
              OF_SHARD(bus_gaps));
    per_shard(p, out, "shardcap_bus_replayed_events_total", METRIC_COUNTER, "Events taken from replays.",
              OF_SHARD(bus_replayed));
    per_shard(p, out, "shardcap_bus_lost_events_total", METRIC_COUNTER,
              "Events that the journal no longer held when the shard asked for them.", OF_SHARD(bus_lost));
    per_shard(p, out, "shardcap_adoptions_total", METRIC_COUNTER, "Arenas taken over from a predecessor.",
              OF_SHARD(adoptions));
    per_shard(p, out, "shardcap_blocks_lost_total", METRIC_COUNTER, "Blocks that did not check at adoption.",
              OF_SHARD(blocks_lost));
}

/* One histogram over all shards; labels: NULL or those before le. */
static void histogram(const struct pages *p, struct text *out, const char *name, const char *labels, size_t offset)
{
    char label[96], family[96];
    const char *comma = labels ? "," : "";
    uint64_t below = 0;
    (void)snprintf(family, sizeof family, "%s_bucket", name);
    for (unsigned i = 0; i <= SLI_BUCKETS; i++) {
        below += metric_sum(p, offset + offsetof(struct sli, bucket) + i * sizeof(counter));
        if (i < SLI_BUCKETS)
            (void)snprintf(label, sizeof label, "%s%sle=\"%g\"", labels ? labels : "", comma, 1e-3 * (double)(1u << i));
        else
            (void)snprintf(label, sizeof label, "%s%sle=\"+Inf\"", labels ? labels : "", comma);
        metric_sample(out, family, label, below);
    }
    (void)snprintf(family, sizeof family, "%s_sum", name);
    metric_sample_real(out, family, labels, (double)metric_sum(p, offset + offsetof(struct sli, sum_ns)) / 1e9);
    (void)snprintf(family, sizeof family, "%s_count", name);
    metric_sample(out, family, labels, below);
}

static void waits(const struct pages *p, const struct totals *t, struct text *out)
{
    static const char *const labels[] = {
#define SOURCE_LABEL(name, label) "source=\"" label "\"",
        NAME_SOURCE_LIST(SOURCE_LABEL)
#undef SOURCE_LABEL
    };
    metric_family(out, "shardcap_uuid_delay_seconds", METRIC_HISTOGRAM, "From a flow's first packet to its UUID.");
    for (unsigned i = 0; i < NAME_SOURCE_COUNT; i++)
        histogram(p, out, "shardcap_uuid_delay_seconds", labels[i], OF_SHARD(uuid_delay) + i * sizeof(struct sli));
    metric_family(out, "shardcap_file_delay_seconds", METRIC_HISTOGRAM, "From a flow's last packet to its file.");
    histogram(p, out, "shardcap_file_delay_seconds", NULL, OF_SHARD(file_delay));
    metric_single(out, "shardcap_flows_nameless_total", METRIC_COUNTER,
                  "Flows with a finished handshake that were given up without a UUID.", t->flows_nameless);
    const char *reason = nameless_reason(p->config, t);
    metric_single(out, "shardcap_most_flows_nameless", METRIC_GAUGE,
                  reason ? reason : "1 if most flows get no UUID; then this text says why.", reason != NULL);
}

void metrics_own(const struct pages *pages, struct text *out)
{
    struct snapshot s;
    totals_read_each(&s.sum, s.shard, pages->dispatcher, pages->shard, pages->config->shards);
    packets(pages, &s, out);
    drops_and_rings(pages, &s.sum, out);
    interfaces(pages, out);
    flows_and_files(pages, &s.sum, out);
    processes(pages, out);
    bus(pages, out);
    waits(pages, &s.sum, out);
}
