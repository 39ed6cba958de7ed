/* SPDX-License-Identifier: Apache-2.0
 * The reference's metrics. Failure policy: pages of other processes are numbers, whatever stands in them; lack of
 * memory is the text's sticky flag. */
#include "dispatcher/hub/metrics.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dispatcher/hub/metrics_own.h"
#include "dispatcher/hub/metrics_text.h"

#define OF_SHARD(field) offsetof(struct shard_counters, field)
#define AT(field, i) (OF_SHARD(field) + (size_t)(i) * sizeof(counter))

static const struct {
    const char *name, *type, *help;
    size_t offset;
} sums[] = {
    {"pcap_saver_starts_total", METRIC_COUNTER, "Savers that were started.", OF_SHARD(saver_starts)},
    {"pcap_saver_stops_total", METRIC_COUNTER, "Savers that have ended.", OF_SHARD(saver_stops)},
    {"pcap_saver_skipped_total", METRIC_COUNTER, "Packets and UUIDs refused for want of memory.",
     OF_SHARD(saver_skipped)},
    {"pcap_demuxer_uuids_total", METRIC_COUNTER, "UUID events that reached a shard.", OF_SHARD(uuids)},
    {"pcap_demuxer_savers_garbage_collected_total", METRIC_COUNTER, "Savers ended because their flow was idle.",
     OF_SHARD(savers_collected)},
    {"pcap_demuxer_savers_active", METRIC_GAUGE, "Savers of the current generation after a garbage collection.",
     OF_SHARD(savers_active)},
    {"pcap_demuxer_ignored_total", METRIC_COUNTER, "Packets and UUIDs ignored because of -maxflows.",
     OF_SHARD(ignored)},
};

static void by_state(const struct pages *p, struct text *out)
{
    char label[64];
    metric_family(out, "pcap_missed_packets_total", METRIC_COUNTER, "Packets that came when the saver took none.");
    for (int i = 0; i < SAVER_STATE_COUNT; i++) {
        (void)snprintf(label, sizeof label, "saverstate=\"%s\"", saver_state_name((enum saver_state)i));
        metric_sample(out, "pcap_missed_packets_total", label, metric_sum(p, AT(missed_packets, i)));
    }
    metric_family(out, "pcap_missed_uuids_total", METRIC_COUNTER, "UUIDs that came when the saver took none.");
    for (int i = 0; i < SAVER_STATE_COUNT; i++) {
        (void)snprintf(label, sizeof label, "saverstate=\"%s\"", saver_state_name((enum saver_state)i));
        metric_sample(out, "pcap_missed_uuids_total", label, metric_sum(p, AT(missed_uuids, i)));
    }
    metric_family(out, "pcap_saver_states", METRIC_GAUGE, "Savers in each state.");
    for (int i = 0; i < SAVER_STATE_COUNT; i++) {
        (void)snprintf(label, sizeof label, "state=\"%s\"", saver_state_name((enum saver_state)i));
        metric_sample(out, "pcap_saver_states", label, metric_sum(p, AT(saver_states, i)));
    }
    metric_family(out, "pcap_saver_errors_total", METRIC_COUNTER, "Savers that ended with an error.");
    for (int i = 0; i < SAVER_ERROR_COUNT; i++) {
        (void)snprintf(label, sizeof label, "reason=\"%s\"",
                       saver_error_reason((enum saver_state)(SAVER_ERROR_FIRST + i)));
        metric_sample(out, "pcap_saver_errors_total", label, metric_sum(p, AT(saver_errors, i)));
    }
}

/* Frames that gave no FlowKey, which is what the reference's demuxer calls a bad packet: also what is not TCP. */
static uint64_t bad_packets(const struct pages *p)
{
    static const enum cause causes[] = {
        CAUSE_SHORT_FRAME,    CAUSE_BAD_IP4,    CAUSE_BAD_IP6, CAUSE_EXT_CHAIN, CAUSE_TCP_SHORT,
        CAUSE_TCP_BAD_OFFSET, CAUSE_VLAN_DEPTH, CAUSE_NOT_TCP, CAUSE_TUNNEL,    CAUSE_FRAG_NONINITIAL,
    };
    uint64_t sum = 0;
    for (size_t i = 0; i < sizeof causes / sizeof causes[0]; i++)
        sum += counter_get(&p->dispatcher->drops[causes[i]]) + metric_sum(p, AT(drops, causes[i]));
    return sum;
}

/* Upper bounds 1e-6 * 2^i, written as Go's client writes them. */
static void gc_latency(const struct pages *p, struct text *out)
{
    static const char name[] = "pcap_demuxer_gc_latency_seconds";
    char label[64];
    uint64_t below = 0;
    double sum = (double)metric_sum(p, OF_SHARD(gc_latency_sum_ns)) / 1e9;
    metric_family(out, name, METRIC_HISTOGRAM, "Time that one garbage collection took.");
    for (unsigned i = 0; i < GC_LATENCY_BUCKETS; i++) {
        below += metric_sum(p, AT(gc_latency, i));
        (void)snprintf(label, sizeof label, "le=\"%g\"", 1e-6 * (double)(1u << i));
        metric_sample(out, "pcap_demuxer_gc_latency_seconds_bucket", label, below);
    }
    below += metric_sum(p, AT(gc_latency, GC_LATENCY_BUCKETS));
    metric_sample(out, "pcap_demuxer_gc_latency_seconds_bucket", "le=\"+Inf\"", below);
    metric_sample_real(out, "pcap_demuxer_gc_latency_seconds_sum", NULL, sum);
    /* Not gc_latency_count: a scrape in the middle of an update must still show a histogram that adds up. */
    metric_sample(out, "pcap_demuxer_gc_latency_seconds_count", NULL, below);
}

static void bad_events(const struct pages *p, struct text *out)
{
    char label[64];
    metric_family(out, "pcap_tcpinfohandler_bad_events_total", METRIC_COUNTER, "UUID events that were refused.");
    for (int i = 0; i < FLOWEVENT_BAD_COUNT; i++) {
        (void)snprintf(label, sizeof label, "reason=\"%s\"", flowevent_bad_name((enum flowevent_bad)i));
        metric_sample(out, "pcap_tcpinfohandler_bad_events_total", label, counter_get(&p->hub->bad_events[i]));
    }
}

static void git_commit(const char *commit, struct text *out)
{
    char label[64], escaped[40 + 1];
    bool hex = commit[0] && strspn(commit, "0123456789abcdefABCDEF") == strlen(commit) && strlen(commit) <= 16;
    metric_escape(escaped, commit, strnlen(commit, 20));
    (void)snprintf(label, sizeof label, "commit=\"%s\"", escaped);
    metric_family(out, "git_short_commit", METRIC_GAUGE, "The commit of this build, read as a hexadecimal number.");
    metric_sample(out, "git_short_commit", label, hex ? strtoull(commit, NULL, 16) : 0);
}

static void process(const struct procstat *f, struct text *out)
{
    metric_family(out, "process_cpu_seconds_total", METRIC_COUNTER, "CPU time of the family of processes.");
    metric_sample_real(out, "process_cpu_seconds_total", NULL, f->cpu_seconds);
    metric_single(out, "process_resident_memory_bytes", METRIC_GAUGE, "Resident memory, summed over the family.",
                  f->resident_bytes);
    metric_single(out, "process_virtual_memory_bytes", METRIC_GAUGE, "Virtual memory, summed over the family.",
                  f->virtual_bytes);
    metric_single(out, "process_open_fds", METRIC_GAUGE, "Open file descriptors of the processes that let us see them.",
                  f->open_fds);
    metric_single(out, "process_max_fds", METRIC_GAUGE, "Soft limits of open file descriptors, summed.", f->max_fds);
    metric_family(out, "process_start_time_seconds", METRIC_GAUGE, "Start of the first process, unix time.");
    metric_sample_real(out, "process_start_time_seconds", NULL, f->start_seconds);
}

void metrics_render(const struct pages *pages, const struct procstat *family, const char *commit, struct text *out)
{
    by_state(pages, out);
    for (size_t i = 0; i < sizeof sums / sizeof sums[0]; i++)
        metric_single(out, sums[i].name, sums[i].type, sums[i].help, metric_sum(pages, sums[i].offset));
    metric_single(out, "pcap_demuxer_bad_packets_total", METRIC_COUNTER, "Frames without a FlowKey.",
                  bad_packets(pages));
    gc_latency(pages, out);
    bad_events(pages, out);
    metric_single(out, "pcap_muxer_interfaces_with_captures", METRIC_GAUGE, "Interfaces that are being captured.",
                  counter_get(&pages->dispatcher->interfaces_capturing));
    git_commit(commit, out);
    process(family, out);
    metrics_own(pages, out);
}
