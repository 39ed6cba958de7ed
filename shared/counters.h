/* SPDX-License-Identifier: Apache-2.0
 * Counters in memory that the supervisor owns, so that they survive every restart. 64 bit, one writer each, relaxed
 * atomics; a reader sees whole words. Names of the metrics: dispatcher/hub/metrics.c. */
#ifndef SHARED_COUNTERS_H
#define SHARED_COUNTERS_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "shared/anonymize.h"
#include "shared/cause.h"
#include "shared/flowevent.h"
#include "shared/resetboard.h"
#include "shared/ring.h"
#include "shared/sli.h"

#define COUNTERS_LAYOUT 7
#define SHARDS_MAX 64
#define DISPATCHERS_MAX 8 /* threads that capture, each with a ring of its own to every shard */
#define INTERFACES_MAX 64
#define INTERFACE_NAME 16

typedef _Atomic uint64_t counter;

static inline void counter_set(counter *c, uint64_t v)
{
    atomic_store_explicit(c, v, memory_order_relaxed);
}
static inline uint64_t counter_get(const counter *c)
{
    return atomic_load_explicit(c, memory_order_relaxed);
}
/* Single writer, so no locked instruction. */
static inline void counter_add(counter *c, uint64_t n)
{
    counter_set(c, counter_get(c) + n);
}

/* For the dispatcher, whose threads share their counters. Once a batch, or for a packet that is dropped. */
static inline void counter_add_shared(counter *c, uint64_t n)
{
    atomic_fetch_add_explicit(c, n, memory_order_relaxed);
}

/* States of a saver: labels of the reference's metrics. X(NAME, "label") */
#define SAVER_STATE_LIST(X)                                                                                            \
    X(NOTSTARTED, "notstarted")                                                                                        \
    X(READINGCANDIDATEPACKETS, "readingcandidatepackets")                                                              \
    X(UUIDWAIT, "uuidwait")                                                                                            \
    X(UUIDFOUND, "uuidfound")                                                                                          \
    X(DIRCREATION, "dircreation")                                                                                      \
    X(WRITEPARTIAL, "writepartial")                                                                                    \
    X(STREAMING, "streaming")                                                                                          \
    X(WRITEFINAL, "writefinal")                                                                                        \
    X(DISCARDINGPACKETS, "discardingpackets")                                                                          \
    X(DRAINING, "draining")                                                                                            \
    X(SKIPPED, "skipped")                                                                                              \
    X(STOPPED, "stopped")                                                                                              \
    X(NOPACKETS_ERROR, "nopacketserror")                                                                               \
    X(UUIDTIMEDOUT_ERROR, "uuidtimedouterror")                                                                         \
    X(UUIDCHANCLOSED_ERROR, "uuidchanclosederror")                                                                     \
    X(MKDIR_ERROR, "mkdirerror")                                                                                       \
    X(FILEOPEN_ERROR, "fileopenerror")                                                                                 \
    X(WRITEPARTIAL_ERROR, "writepartialerror")                                                                         \
    X(STREAMING_ERROR, "streamingerror")                                                                               \
    X(WRITEFINAL_ERROR, "writefinalerror")

enum saver_state {
#define SAVER_STATE_ENUM(name, label) SAVER_##name,
    SAVER_STATE_LIST(SAVER_STATE_ENUM)
#undef SAVER_STATE_ENUM
        SAVER_STATE_COUNT
};
const char *saver_state_name(enum saver_state s);

#define SAVER_ERROR_FIRST SAVER_NOPACKETS_ERROR
#define SAVER_ERROR_COUNT (SAVER_STATE_COUNT - SAVER_ERROR_FIRST)
/* Label `reason` of an error state: the state's name without the final "error". Static storage. */
const char *saver_error_reason(enum saver_state s);

#define GC_LATENCY_BUCKETS 20 /* upper bounds 1e-6 * 2^i seconds; one more word holds the rest */

/* Written by the shard only. `consumed`, `published`, `drops` are exact across kills (redo record). */
struct shard_counters {
    counter consumed;           /* packets taken from the ring */
    counter published;          /* packets in published files */
    counter drops[CAUSE_COUNT]; /* consumed = published + buffered + sum(drops); buffered is derived */
    counter flows_started;
    counter flows_saved;   /* flows with at least one published file */
    counter files;         /* files published */
    counter file_bytes;    /* bytes of them on disk */
    counter suffixed;      /* files that needed .1, .2 .. */
    counter date_replaced; /* event dates that were too far off (robustness A7) */
    counter saver_starts;
    counter saver_stops;
    counter saver_errors[SAVER_ERROR_COUNT];
    counter saver_states[SAVER_STATE_COUNT]; /* gauge */
    counter missed_packets[SAVER_STATE_COUNT];
    counter missed_uuids[SAVER_STATE_COUNT];
    counter saver_skipped;                    /* packets and UUIDs refused for want of memory */
    counter ignored;                          /* packets and UUIDs refused by maxflows */
    counter uuids;                            /* UUID events taken */
    struct sli uuid_delay[NAME_SOURCE_COUNT]; /* first packet to UUID */
    struct sli file_delay;                    /* last packet to published file; live only */
    counter nameless; /* flows that were given up without a name after their handshake was finished */
    counter savers_collected;
    counter savers_active;          /* gauge: current generation after a GC */
    counter flows_live;             /* gauge: flows in the table */
    counter flows_unnamed;          /* gauge */
    counter flows_halfopen;         /* gauge: in probation: no handshake yet, no name */
    counter flows_halfopen_evicted; /* pushed out of it by newer ones */
    counter flows_counted;          /* gauge: for maxflows: named or handshake finished, seen in the current tick */
    counter budget_limit;           /* gauge, bytes */
    counter budget_used;            /* gauge, bytes */
    counter gc_latency[GC_LATENCY_BUCKETS + 1];
    counter gc_latency_sum_ns;
    counter gc_latency_count;
    counter bus_gaps;     /* gaps in the event bus that were healed by a replay */
    counter bus_replayed; /* events taken from replays */
    counter adoptions;
    counter file_errors;      /* failed file calls */
    counter blocks_lost;      /* blocks that did not check at adoption */
    counter bus_lost;         /* events that the journal no longer held when they were asked for */
    counter reports_left_out; /* of single flows, for those who watch (report.h) */
    /* a predecessor family's files, found in staging at the start */
    counter salvaged_files, salvaged_packets; /* published; in none of the counts above */
    counter aside_files;                      /* that no file could be made of: set aside */
    counter disk_free, disk_total;            /* gauges, bytes of the file system */
    counter disk_used;                        /* gauge, bytes below datadir; only with -maxdisk or -keep */
    counter disk_paused;                      /* gauge: 1 while -mindiskfree or -maxdisk keeps new flows out */
    counter removed_files, removed_bytes;     /* published files that -keep or -maxdisk has removed */
};

/* The deaths of a shard that may be its own fault (shard/fault.h). Written between two lives only. */
struct shard_faults {
    /* by the supervisor */
    counter count;   /* deaths by a signal of its own making, by a panic, or by the supervisor because it was stuck */
    counter last_ns; /* monotonic, of the last one, less the time that the supervisor has waited for stuck ones */
    /* by the shard */
    counter judged;                 /* of `count`, what was looked at */
    counter forgiven;               /* of `count`, when something was last applied */
    counter known;                  /* 1: began_at is set */
    counter began_at;               /* ring position of the last adoption */
    counter suspect, suspect_fault; /* the record at which it died, and which death that was */
    counter skip, skip_all;         /* position + 1 of a record to leave out; skip_all: with all that follows */
    counter when[4];                /* last_ns of death number n at n % 4 */
    counter own;                    /* generation of the last one that said it died of its own making (lastword.h) */
    counter refused;                /* processes in a row that could not read the layout of the arena */
};

/* The local addresses as the shard last heard them, for one that begins with an empty arena. count is 0 while the list
 * is being written: nothing is exempt then, the safe side. */
struct local_addresses {
    _Atomic uint32_t count;
    uint32_t zero;
    struct ipaddr address[ANONYMIZE_EXEMPT_MAX];
};

#define SHARD_PAGE_MAGIC 0x53435047u
/* One memfd per shard: the consumer's index, liveness and counters. Single writer: the shard. The counters' order is
 * COUNTERS_LAYOUT: bump it with any change. */
struct shard_page {
    uint32_t magic;
    uint32_t layout;
    uint8_t pad[128 - 8];
    struct ring_peer ring;
    _Atomic uint32_t generation; /* of the shard that writes now */
    _Atomic uint32_t stage;      /* enum shard_stage */
    _Atomic uint64_t heartbeat;  /* moves with every loop */
    _Atomic uint64_t progress;   /* moves with every record or file step */
    _Atomic uint64_t stage_at;   /* ring position (SCAN, RECORD), slot of the flow (SEAL), else 0 */
    struct shard_faults faults;
    struct shard_counters c;
    struct reset_board resets;
    struct local_addresses local;
    struct ring_peer more_rings[DISPATCHERS_MAX - 1]; /* of -dispatchers, beside `ring`; writer: the shard */
};

/* The consumer's side of the ring that dispatcher thread d fills. */
static inline const struct ring_peer *shard_page_peer(const struct shard_page *p, unsigned d)
{
    return d == 0 ? &p->ring : &p->more_rings[d - 1];
}

/* Bytes consumed from all rings: moves with every record. Relaxed: for those who watch. */
static inline uint64_t shard_page_consumed(const struct shard_page *p)
{
    uint64_t sum = 0;
    for (unsigned d = 0; d < DISPATCHERS_MAX; d++)
        sum += atomic_load_explicit(&shard_page_peer(p, d)->cons, memory_order_relaxed);
    return sum;
}

enum shard_stage {
    STAGE_IDLE,
    STAGE_ADOPT,  /* until the arena is its own */
    STAGE_SCAN,   /* reads records out of the ring, from stage_at on */
    STAGE_RECORD, /* applies the record at stage_at */
    STAGE_SEAL,   /* compresses flow stage_at */
    STAGE_UUID,   /* applies an event */
    STAGE_FILE,   /* has nothing to do until the file thread is done */
};

struct interface_counters {
    char name[INTERFACE_NAME]; /* written once, before `used` is set */
    _Atomic uint32_t used;
    _Atomic uint32_t capturing; /* gauge 0/1 */
    _Atomic uint32_t index;
    _Atomic uint32_t group;  /* number of the capture's group + 1, for a successor to join; 0 = none */
    counter delivered;       /* packets libpcap handed over */
    counter kernel_received; /* ps_recv, widened; includes drops */
    counter kernel_dropped;  /* ps_drop, widened */
    counter if_dropped;      /* ps_ifdrop, widened */
    counter gap_rx;          /* packets that the interface received while no dispatcher captured; an estimate */
    counter rx_seen;         /* what it had received when last looked at; 0 = nobody knows */
    counter rx_index;        /* of the interface that rx_seen is of */
};

#define DISPATCHER_PAGE_MAGIC 0x53434450u
/* One memfd. Single writer: the dispatcher. Enqueued packets stand in the rings (struct ring_slot). */
struct dispatcher_page {
    uint32_t magic;
    uint32_t layout;
    _Atomic uint32_t generation;
    _Atomic uint32_t
        handing; /* 1: packets go to a successor now, who has set this; cleared when it is the dispatcher */
    _Atomic uint64_t heartbeat;
    counter delivered; /* packets libpcap handed over, all sources */
    counter drops[CAUSE_COUNT];
    counter ring_full[SHARDS_MAX];     /* the part of drops[CAUSE_RING_FULL] per shard */
    counter enqueued[SHARDS_MAX];      /* copy of the rings' counts for readers that do not map the rings */
    counter ring_backlog[SHARDS_MAX];  /* gauge, bytes */
    counter captured[DISPATCHERS_MAX]; /* packets that each thread took from libpcap */
    counter capture_gap_ms;
    counter interfaces_capturing; /* gauge */
    struct interface_counters interfaces[INTERFACES_MAX];
};

#define HISTORY_SAMPLES 361 /* an hour and its first moment */
#define HISTORY_STEP_NS (INT64_C(10) * 1000 * 1000 * 1000)
/* Sums over the family at one moment, for the status page. What is no gauge only grows. */
struct history_sample {
    int64_t mono_ns;
    uint64_t delivered, saved, lost, limits, kernel_dropped, files;
    uint64_t flows_live, flows_halfopen, flows_unnamed; /* gauges */
    uint64_t ring_permille, budget_permille;            /* gauges, of the fullest shard */
    uint64_t uuids, uuid_ns, closed, closed_ns;         /* flows named and their waits; files and how late they came */
};
/* A ring of them. Written and read by the hub alone; it is in shared memory to outlive it. */
struct history {
    uint64_t count; /* ever taken; sample n stands at n % HISTORY_SAMPLES */
    struct history_sample samples[HISTORY_SAMPLES];
};

#define HUB_PAGE_MAGIC 0x53434855u
/* One memfd. Single writer: the hub. */
struct hub_page {
    uint32_t magic;
    uint32_t layout;
    _Atomic uint32_t generation;
    uint32_t zero;
    _Atomic uint64_t heartbeat;
    counter bad_events[FLOWEVENT_BAD_COUNT];
    counter events; /* accepted, all sources */
    counter eventsocket_connects;
    counter eventsocket_up;   /* gauge */
    counter destroyed;        /* sockets whose end the kernel told */
    counter destroy_overruns; /* times that the feed lost some */
    counter uuid_ambiguous;   /* aborted sockets that may have been several flows */
    counter pages;            /* bus pages sent */
    counter replays;
    counter serve_clients;  /* gauge: of -events.serve */
    counter serve_lines;    /* told to them */
    counter serve_cut;      /* clients that did not keep up */
    counter watchers;       /* gauge: connections to events.sock */
    counter watch_sent;     /* messages sent there */
    counter watch_left_out; /* messages for which there was no room */
    counter cpu_ms;         /* CPU time of the family as it was last shown */
    struct history history;
};

#define SUPERVISOR_PAGE_MAGIC 0x53435350u
/* One memfd. Single writer: the supervisor. */
struct supervisor_page {
    uint32_t magic;
    uint32_t layout;
    counter ready; /* gauge: 1 when every process is up */
    counter draining;
    counter restarts_dispatcher, restarts_hub, restarts_shard[SHARDS_MAX];
    counter up_dispatcher, up_hub, up_shard[SHARDS_MAX];    /* gauges */
    counter pid_dispatcher, pid_hub, pid_shard[SHARDS_MAX]; /* gauges, 0 = none (or not to be seen from here) */
    counter restarting; /* gauge: processes that are still to be replaced because somebody asked */
};

/* Sums over a family, taken at one moment; at rest it balances exactly (delivered = saved + buffered + drops). */
struct totals {
    uint64_t delivered, enqueued, consumed, saved, in_ring, buffered;
    uint64_t drops[CAUSE_COUNT];
    uint64_t lost, limits; /* sums of drops by class; kernel drops are not in it */
    uint64_t kernel_received, kernel_dropped;
    uint64_t flows_started, flows_saved, files, file_bytes;
    uint64_t flows_live, flows_halfopen, flows_unnamed; /* live: all of them */
    uint64_t salvaged_files, salvaged_packets, removed_files;
    uint64_t disk_free, disk_total, disk_used; /* not sums: what the first shard says */
    uint64_t disk_paused;                      /* shards that take no new flow for want of disk */
    uint64_t flows_named, flows_nameless; /* of those with a finished handshake: got a UUID, were given up without */
    uint64_t budget_used, budget_limit;
};

/* One shard's part of it. */
struct shard_totals {
    uint64_t saved, consumed, buffered, enqueued;
};

/* Reads against the way of the packets (published and drops, consumed, enqueued, the dispatcher's drops, delivered), so
 * that a packet in flight shows as buffered or in_ring and nothing is counted twice; differences are never negative.
 * d and single shards may be NULL (not there: zeros). */
void totals_read(struct totals *out, const struct dispatcher_page *d, const struct shard_page *const *shards,
                 unsigned shard_count);
/* The same; each[shard_count] gets what the sums were made of (NULL = not wanted). */
void totals_read_each(struct totals *out, struct shard_totals *each, const struct dispatcher_page *d,
                      const struct shard_page *const *shards, unsigned shard_count);

#endif
