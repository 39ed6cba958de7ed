/* SPDX-License-Identifier: Apache-2.0
 * One flow's life on the way to a file: its packets as pcap records, its name, its limits, its end. State names are the
 * metric labels of the reference.
 *
 * A flow (one generation of a key) begins with a packet; it is named by a UUID event or by the hash source; its packets
 * are complete when captureduration has passed (later ones are dropped as capture_limit) or when it is over: two GC
 * ticks without activity, a new connection on the same key, or the end of the capture. Named and complete, it goes to
 * publish.h. Unnamed for uuidwaitduration, or at the end, its packets count as no_uuid.
 * All deadlines are decided from the clock of ring records, first for the flow whose packet is next (saver_settle), so
 * the contents of files do not depend on when a shard does its housekeeping, or on how many shards there are.
 *
 * Failure policy: a packet that finds no room is counted (budget) and the flow goes on; every packet is counted exactly
 * once, in the same commit that takes it in or drops it. */
#ifndef SHARD_SAVER_H
#define SHARD_SAVER_H

#include <stdbool.h>
#include <stdint.h>

#include "shard/chunk.h"
#include "shard/flows.h"
#include "shard/pending.h"
#include "shard/publish.h"
#include "shared/config.h"
#include "shared/frame.h"
#include "shared/ring.h"

/* One checked packet of the ring. */
struct packet {
    const struct ring_record *rec;
    const uint8_t *hdr; /* rec->hdr_len bytes */
    struct frame frame; /* as read from hdr */
    struct instant clock;
    uint64_t hash;
    struct arena_applied applied; /* what the commit that ends this packet stores */
};

struct savers {
    /* set by the owner before savers_init */
    struct flows *flows;
    struct sealer *sealer;
    struct publisher *publisher;
    const struct config *config;
    struct shard_counters *c;
    uint64_t sealed;     /* raw bytes sealed since the owner last set it to 0: what a turn may cost */
    unsigned dispatcher; /* whose ring the record in work came from */
    bool hold;           /* events are missing (not yet replayed): nobody's wait for a name ends */

    /* private */
    struct anonymizer anonymizer; /* with the local addresses */
    struct wall wall;             /* of the last packet */
    uint8_t *scratch;             /* one record */
    uint32_t current;             /* the flow whose packet is in work: not to be evicted */
    uint32_t pressure_at;         /* where early sealing goes on */
    struct pending *quiet;        /* names of flows that GC has ended and the wire has not: they may go on */
    uint32_t needed, needed_new;  /* blocks that must be left before a packet is taken, and before a flow is */
    uint32_t counted;             /* flows counted for maxflows in count_tick */
    int64_t count_tick;
    int64_t tick_from, tick_to, tick; /* the last answer of saver_tick: [tick_from, tick_to) */
};

/* SC_OK or SC_ENOMEM. */
int savers_init(struct savers *s) SC_MUST_CHECK;
void savers_free(struct savers *s);

/* The local addresses have changed (they stand in the arena). */
void savers_addresses(struct savers *s);

/* GC tick number of an instant. Nearly all calls are for the same tick, and divisions cost. */
int64_t saver_tick_anew(struct savers *s, struct instant t);
static inline int64_t saver_tick(struct savers *s, struct instant t)
{
    return t.ns >= s->tick_from && t.ns < s->tick_to ? s->tick : saver_tick_anew(s, t);
}

/* Room for one packet? Gives up half-open flows (halfopen_evicted), seals early, gives up what the disk refuses, and
 * for a new flow or a named one also unnamed flows (budget), where that helps; new flows are refused a little earlier
 * than packets of known ones. */
enum room_for {
    ROOM_FOR_FLOW,   /* the first packet of a flow */
    ROOM_FOR_PACKET, /* of a flow without a name */
    ROOM_FOR_NAMED,  /* a packet of a flow that has one */
};
bool savers_room(struct savers *s, enum room_for what);

/* Opens a generation with its first packet. The flow's slot, or ARENA_NONE: no room, counted. */
uint32_t saver_open(struct savers *s, const struct packet *p);

/* Takes a further packet of idx, which is not GONE: saves it, or counts why not. */
void saver_packet(struct savers *s, uint32_t idx, const struct packet *p);

/* Counts a packet that belongs to no flow. */
void savers_drop(struct savers *s, const struct arena_applied *applied, struct instant clock, enum cause cause,
                 uint64_t packets);

/* Lets the deadlines of idx that have passed at `now` take effect. False if the slot was freed thereby. */
bool saver_settle(struct savers *s, uint32_t idx, struct instant now);

/* The generation is over. False if the slot was freed thereby. */
bool saver_end(struct savers *s, uint32_t idx);

/* True if a packet with these header fields belongs to a new connection, because the one before has ended on the wire.
 */
bool saver_reused(const struct flow *f, const struct frame *frame);
/* FIN both ways, or RST. */
bool saver_ended_on_wire(const struct flow *f);

/* Names an unnamed flow that still has its packets; date_ok: yyyymmdd is taken as it is, else only within a day of the
 * shard's date. False if there was no room for the name. */
bool saver_name(struct savers *s, uint32_t idx, const struct uuid *uuid, uint32_t yyyymmdd, bool date_ok,
                struct instant now);

/* Names an unnamed flow that has its packets by the hash source. False if there was no room. */
bool saver_name_by_hash(struct savers *s, uint32_t idx);

/* idx was opened. Where a flow of its key went quiet until GC ended it, idx goes on with that one if it does not begin
 * with a SYN, nor has the wire shown the end before: once it has waited for a name in vain, it gets that one's. Such
 * names are kept for two hours; those by hash are not, for they belong to a first packet; and those of a process that
 * died are not known (the kernel can be asked). */
void saver_opened(struct savers *s, uint32_t idx, uint64_t hash);

/* For the record: flow idx got its name at `now`. */
void savers_note_name(struct savers *s, uint32_t idx, enum name_source source, struct instant now);

/* Counts a UUID for which there was no memory. */
void savers_refused_uuid(struct savers *s);

/* An event counts as activity. */
void saver_touch(struct savers *s, uint32_t idx, struct instant now);

/* The clock has moved: a new tick counts its flows (for maxflows) anew. */
void savers_advance(struct savers *s, struct instant now);

/* The end of the capture: ends the generation, names it by hash if that is a source, else counts it as unnamed
 * (uuidchanclosed). */
void saver_finish(struct savers *s, uint32_t idx);

#endif
