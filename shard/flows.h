/* SPDX-License-Identifier: Apache-2.0
 * What a shard keeps beside the arena about its flows, all of it private and rebuilt by adoption: the flow table, the
 * chain of generations of each key, FIFO lists for deadlines and for work, and the gauges.
 *
 * A flow is one generation of a key. It lives in up to three lists, one per lane: ACTIVITY (still takes packets; by
 * last activity), AGE (packets are still being saved; by first packet), WORK (waits for a name, for its file to be
 * written, or for the rename). Failure policy: want of memory or slots is SC_ENOMEM for the caller to count; broken
 * lists are a panic. */
#ifndef SHARD_FLOWS_H
#define SHARD_FLOWS_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "shard/arena.h"
#include "shard/flowtable.h"
#include "shard/reporter.h"

/* Bits of flow.flags beside FLOW_FINISHED. */
enum {
    FLOW_GONE = 2,      /* the generation is over: a further packet of the key opens another */
    FLOW_DISCARD = 4,   /* further packets of this generation are not saved; flow.saver says why */
    FLOW_EMPTY = 8,     /* its packets are published or counted as dropped: nothing is buffered */
    FLOW_DATA_LOW = 16, /* key.addr[0] has sent data */
    FLOW_DATA_HIGH = 32,
    FLOW_DISK_FULL = 64, /* with DISCARD and an error of a file: it was for want of room */
};

enum flow_lane { LANE_ACTIVITY, LANE_AGE, LANE_WORK, LANE_COUNT };
enum flow_list_id {
    LIST_NONE,
    LIST_ACTIVITY, /* not GONE, oldest activity first */
    LIST_YOUNG,    /* neither GONE nor DISCARD, oldest first packet first */
    LIST_HALFOPEN, /* unnamed and not EMPTY, handshake not finished; oldest first: the first to go for want of memory */
    LIST_WAITING,  /* unnamed and not EMPTY, oldest first packet first (those that were half-open: by handshake) */
    LIST_READY,    /* closed and named: its file is to be written */
    LIST_WRITTEN,  /* whole in staging: to be synced and renamed */
    LIST_COUNT
};

struct flow_list {
    uint32_t head, tail; /* ARENA_NONE when empty */
    uint32_t count;
};

struct flow_private {
    struct {
        uint32_t prev, next;
    } link[LANE_COUNT];
    uint32_t older, newer; /* generations of the same key, or ARENA_NONE */
    uint32_t tick;         /* GC tick (low bits, + 1) in which it was counted for maxflows; 0 = never */
    uint8_t list[LANE_COUNT];
    uint8_t in_flight; /* the file thread works for it */
    uint8_t tries;     /* failed file attempts after the end */
    uint8_t renamed;   /* publish.c: its file may have got its final name already */
    uint8_t asking;    /* kernel_names.c: enum */
    uint8_t reset;     /* kernel_names.c: bit of each side whose RST was told */
    uint16_t poor;     /* saver_room.c: what sealing early in vain found to seal */
    uint64_t cookie;   /* kernel_names.c: of a flow that waits for the prefix of its name; 0 = none */
};
/* With 8 bytes of hash and at most 32 of the table, while it moves from 3/4 full to a larger one that is 3/8 full. */
_Static_assert(sizeof(struct flow_private) + 8 + ARENA_TABLE_COST <= ARENA_FLOW_COST - sizeof(struct flow),
               "what the budget counts");

struct flows {
    struct arena *arena;
    struct flowtable *table;
    struct flow_private *priv; /* by slot; pages are touched only for slots in use */
    struct flow_list list[LIST_COUNT];
    struct shard_counters *c;
    struct reporter *reporter; /* NULL = nobody is told; set by the owner after flows_init */
    uint32_t births;
};

/* Takes the flows that the arena holds into lists, table and gauges; hashes keys with `secret`. SC_OK or SC_ENOMEM;
 * free with flows_free in both cases. arena and counters stay the caller's. */
int flows_init(struct flows *fs, struct arena *arena, struct shard_counters *c,
               const struct siphash_key *secret) SC_MUST_CHECK;
void flows_free(struct flows *fs);

/* The newest generation of the key, or ARENA_NONE. */
uint32_t flows_find(const struct flows *fs, uint64_t hash, const struct flowkey *key);

/* Bring what a batch of lookups will need into the cache, each over the whole batch before the next: the table, the
 * slot (returned by its likely number, or ARENA_NONE), the place where its next bytes go. */
void flows_prefetch_table(const struct flows *fs, uint64_t hash);
uint32_t flows_prefetch_slot(const struct flows *fs, uint64_t hash);
void flows_prefetch_tail(const struct flows *fs, uint32_t idx);

/* Commits change (whose flow and image are set) for a slot taken by arena_flow_take, makes it the newest generation of
 * its key, and puts it into ACTIVITY, YOUNG and HALFOPEN or WAITING. SC_OK, or SC_ENOMEM with nothing committed (slot
 * and blocks are still the caller's). */
int flows_add(struct flows *fs, uint64_t hash, struct arena_change *change) SC_MUST_CHECK;

/* Commits a new image of a slot in use and moves the gauges with it. */
void flows_commit(struct flows *fs, const struct arena_change *change);

/* Where an unnamed flow with packets belongs: HALFOPEN or WAITING. */
enum flow_list_id flows_waiting_list(const struct flow *f);

/* Drops what the flow holds: the image in `change` is committed with its counters as EMPTY, its blocks are freed; a
 * flow that is GONE is freed whole. Returns true if the slot still lives. */
bool flows_empty(struct flows *fs, struct arena_change *change);

/* Tells the hub that the flow of this image, not yet emptied, is lost. */
void flows_tell_lost(const struct flows *fs, const struct flow *image, enum cause cause);

/* Moves idx to the tail of a list, out of whichever list of that lane holds it. */
void flows_put(struct flows *fs, enum flow_list_id list, uint32_t idx);
/* Takes idx out of the list of that lane, if it is in one. */
void flows_take(struct flows *fs, enum flow_lane lane, uint32_t idx);

/* A change that begins with the committed image of idx. */
struct arena_change flows_change(const struct flows *fs, uint32_t idx);
/* The same for a change of the hot part alone: the rest of the image is not set. */
static inline void flows_change_hot(const struct flows *fs, uint32_t idx, struct arena_change *out)
{
    out->flow = idx;
    out->hot = true;
    out->counter_count = 0;
    memcpy(&out->image, arena_flow(fs->arena, idx), FLOW_HOT_BYTES);
}
/* Adds n to the counter of that index (ARENA_COUNTER) with this change. The counter must be one that only changes
 * write. A second addition to the same counter joins the first. */
void flows_count(const struct flows *fs, struct arena_change *change, uint32_t counter_index, uint64_t n);

#endif
