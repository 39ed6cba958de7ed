/* SPDX-License-Identifier: Apache-2.0
 * All state of a shard that must outlive its process: flow slots and fixed-size blocks in one memfd, addressed by
 * 32-bit indices. Free lists are private and rebuilt by adoption.
 *
 * Every change of a slot goes through one redo record: the caller works on a copy of the slot (struct flow), writes new
 * bytes only into blocks that no committed slot reaches, and calls arena_commit, which stores the whole new slot image,
 * absolute counter values and the new ring position as one. Killed at any instruction, a successor finds either the old
 * state or a valid record, which it applies again. Blocks that no slot reaches are found by their owner words.
 *
 * Failure policy: running out of blocks or slots is SC_ENOMEM for the caller to count; inconsistency met while adopting
 * drops what does not check and counts it; inconsistency met later is a panic. */
#ifndef SHARD_ARENA_H
#define SHARD_ARENA_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shared/anonymize.h"
#include "shared/counters.h"
#include "shared/err.h"
#include "shared/flowkey.h"
#include "shared/uuid.h"

#ifndef ARENA_LAYOUT /* a test builds programs that differ */
#define ARENA_LAYOUT 6
#endif
#define ARENA_NONE UINT32_MAX
#define ARENA_BLOCK 256u
#define ARENA_DISPATCHERS 8

enum flow_stage {
    FLOW_FREE = 0, /* the slot is unused */
    FLOW_OPEN,     /* takes packets */
    FLOW_CLOSED,   /* its packets are complete; it waits for a name or for the file thread */
    FLOW_STAGED,   /* handed to the file thread */
    FLOW_WRITTEN,  /* whole and closed in staging under its final staged name; only the rename is missing */
};

/* One flow (one generation of a key). The slot in the arena is only ever written by arena_commit.
 * The first FLOW_HOT_BYTES are all that a further packet of the flow changes, or reads beside the key. */
struct flow {
    uint64_t total;     /* raw bytes committed: classic pcap header and records */
    uint64_t packets;   /* records in them */
    uint64_t raw_base;  /* stream offset of raw_head's first byte, a multiple of ARENA_BLOCK */
    uint64_t sealed;    /* raw bytes that are in `packed` or in the file already; raw_base <= sealed <= total */
    int64_t last_clock; /* struct instant of the last activity */
    uint32_t raw_head, raw_tail; /* blocks of [raw_base, total); ARENA_NONE when there is none */
    uint32_t name;               /* block with a struct flow_name, or ARENA_NONE while unnamed */
    uint32_t generation;         /* another for each flow */
    uint16_t hdr_len;            /* header length of the flow: bytes kept of each record */
    uint16_t linktype;
    uint8_t stage; /* enum flow_stage */
    uint8_t saver; /* enum saver_state: the label under which metrics count it */
    uint8_t wire;  /* FLOW_WIRE_ bits */
    uint8_t flags; /* FLOW_FINISHED, the rest is the policy's */

    struct flowkey key;
    int64_t first_clock;  /* struct instant of the first packet */
    int64_t first_ns;     /* struct wall of the first packet */
    uint32_t syn_seq;     /* sequence number of the SYN that opened it, if FLOW_WIRE_SYN */
    uint32_t birth;       /* for the policy: orders the generations of a key, modulo 2^32 */
    uint64_t packed_len;  /* bytes that sealing has produced so far */
    uint64_t packed_base; /* of these, written to the file and freed (stream mode); a multiple of ARENA_BLOCK */
    uint32_t packed_head, packed_tail; /* blocks of [packed_base, packed_len) */
    uint32_t crc;                      /* crc32 of [0, sealed) */
    uint32_t if_index;                 /* interface of the first packet */
};
#define FLOW_HOT_BYTES 64u
_Static_assert(offsetof(struct flow, key) == FLOW_HOT_BYTES, "one cache line's worth");
/* What a slot costs of the budget: itself, and what the process keeps beside it (lists, hash, table). Of that, what
 * stays when the slot goes: the table of flows, whose size is that of the most there ever were. */
#define ARENA_FLOW_COST (sizeof(struct flow) + 112)
#define ARENA_TABLE_COST 32u
_Static_assert(sizeof(struct flow) == 160, "ARENA_LAYOUT moves with any change");

enum {
    FLOW_WIRE_SYN = 1, /* a SYN opened it */
    FLOW_WIRE_SYNACK = 2,
    FLOW_WIRE_HANDSHAKE = 4, /* finished, or first seen in mid-stream */
    FLOW_WIRE_FIN_LOW = 8,   /* FIN sent by key.addr[0] */
    FLOW_WIRE_FIN_HIGH = 16,
    FLOW_WIRE_RST = 32,     /* either side */
    FLOW_WIRE_RST_LOW = 64, /* RST sent by key.addr[0] */
    FLOW_WIRE_RST_HIGH = 128,
};
enum { FLOW_FINISHED = 1 }; /* the deflate stream has ended: packed_len, crc and total are final */

/* What a name block holds; it is whole before the flow's image refers to it. */
struct flow_name {
    struct uuid uuid;
    uint8_t zero0[3];
    uint32_t yyyymmdd; /* directory of the file */
    uint32_t hashed;   /* 1 = the name is the hash source's */
    uint8_t zero1[ARENA_BLOCK - sizeof(struct uuid) - 11];
};
_Static_assert(sizeof(struct flow_name) == ARENA_BLOCK, "one block");

/* Where a shard stands in the ring of one dispatcher. */
struct arena_applied {
    uint64_t position; /* bytes */
    uint64_t packets;  /* RING_PACKET records passed, including lost ones */
    uint32_t ring_generation;
    uint32_t zero;
};

/* What else must survive, all absolute. */
struct arena_state {
    struct arena_applied applied[ARENA_DISPATCHERS];
    int64_t clock_ns;      /* struct instant of the last record */
    uint64_t events_taken; /* for the policy: events of -uuid.events that were applied */
    uint32_t ended;        /* a bit for each dispatcher whose RING_END was seen */
    uint32_t address_count;
    struct ipaddr addresses[ANONYMIZE_EXEMPT_MAX]; /* the last RING_ADDRESSES; not part of the redo record */
};

/* A counter to set with a commit: index into struct shard_counters seen as an array of `counter`. */
struct arena_counter {
    uint32_t index;
    uint64_t value;
};
#define ARENA_COUNTERS_PER_COMMIT 8
#define ARENA_COUNTER(field) ((uint32_t)(offsetof(struct shard_counters, field) / sizeof(counter)))

/* One atomic change. flow ARENA_NONE = only counters and state. */
struct arena_change {
    uint32_t flow;
    bool hot; /* the slot changes in its first FLOW_HOT_BYTES only: the rest of the image is not looked at */
    unsigned counter_count;
    struct flow image;
    struct arena_counter counters[ARENA_COUNTERS_PER_COMMIT];
};

struct arena; /* private handle */

/* Bytes of memfd that a budget needs: sparse, about twice the budget, of which at most the budget gets used. */
size_t arena_map_bytes(uint64_t budget);

/* Opens the arena in `map` (from shm_map, writable, page-aligned, at least arena_map_bytes(budget)): formats it when
 * the head is all zeros or damaged in more than one word (not of any layout), else adopts it: applies a valid redo
 * record, frees what no slot reaches, drops flows that do not check (their packets are counted under CAUSE_ARENA_LOST).
 * `c` are the shard's counters. Returns NULL and *err_r = SC_EVERSION (another layout), SC_EINVAL (budget below
 * ARENA_MIN_BUDGET, or map too small) or SC_ENOMEM. *adopted_r tells which it was. */
#define ARENA_MIN_BUDGET (1u << 20)
struct arena *arena_open(void *map, size_t map_bytes, uint64_t budget, struct shard_counters *c, bool *adopted_r,
                         int *err_r);
/* To be called first: a head of which one word was written over is made whole again, so that what the arena holds is
 * not lost with it. */
void arena_mend(void *map, size_t map_bytes, uint64_t budget);
/* Gives up an arena of another layout, so that arena_open begins a new one. */
void arena_discard(void *map);
/* Where an arena that was not opened yet stands in the ring of dispatcher 0, a redo record included. False: it is not
 * formatted, or not of this layout. Reads, and looks at nothing but the head. */
bool arena_peek(const void *map, size_t map_bytes, struct arena_applied *applied_r);
/* Likewise the positions in all rings, added up: it moves with every record. */
bool arena_peek_sum(const void *map, size_t map_bytes, uint64_t *sum_r);
/* Gives up what a formatted arena holds, but not its place in the ring, the clock, the addresses, and what the redo
 * record says of the counters. */
void arena_empty(void *map, size_t map_bytes, struct shard_counters *c);

void arena_close(struct arena *a); /* frees the private part; NULL is fine */

/* Positions that the next arena_commit will store. The caller sets them before the commit of a record. */
void arena_set_applied(struct arena *a, unsigned dispatcher, struct arena_applied applied, int64_t clock_ns);
void arena_set_events_taken(struct arena *a, uint64_t n);
/* Has the ring of that dispatcher ended: a bit of `ended`. */
void arena_set_ended(struct arena *a, unsigned dispatcher, bool ended);

/* Replaces the local addresses at once (idempotent, hence outside the redo record). count <= ANONYMIZE_EXEMPT_MAX. */
void arena_set_addresses(struct arena *a, const struct ipaddr *list, uint32_t count);

uint32_t arena_flow_limit(const struct arena *a);
uint64_t arena_budget_limit(const struct arena *a);
uint64_t arena_budget_used(const struct arena *a); /* bytes of slots and blocks in use */

/* After adoption, where flow time is a clock that we can read: no time in the arena is later. One that was (memory was
 * written over) would keep every deadline from coming, or all of them from being looked at. */
void arena_limit_clock(struct arena *a, struct instant latest);

/* Bytes of free blocks and slots whose pages are still ours. */
uint64_t arena_idle_bytes(const struct arena *a);
/* Gives pages without a used block back to the system, at most `most`, and the pages of slots behind the last used one.
 * What is used again later costs a page fault and nothing else. Where memory is short the arena does so by itself: what
 * was blocks becomes slots, and the other way round. */
void arena_trim(struct arena *a, uint32_t most);
/* Called back whenever the slots from `first` on have gone: what somebody keeps beside them may go, too. */
void arena_on_slots_gone(struct arena *a, void (*cb)(void *ctx, uint32_t first), void *ctx);
/* For that: entries [first, count) of a private array read as zeros from now on, or, in pages that they share with
 * others, as they were. */
void arena_forget(void *array, size_t entry, uint32_t first, uint32_t count);

/* Blocks that can still be had, counting only what the budget allows. Of them, ARENA_RESERVE are for finishing what is
 * there: raw bytes and slots are refused once they would take the count below it. Sealing takes from it what it gives
 * back at once, or what a flow's end takes until its file is published. A name is the beginning of a flow's end: it is
 * refused only below ARENA_LAST, which sealing alone may take. */
uint32_t arena_blocks_left(const struct arena *a);
#define ARENA_RESERVE 512u
#define ARENA_LAST 64u

/* What every packet reads of the private handle, first in it, so that the two accessors below are inline. */
struct arena_view {
    const struct flow *flows;
    const struct arena_state *state;
    uint32_t flow_limit;
};
_Noreturn void arena_no_flow(uint32_t idx); /* panics */

/* The committed slot, read-only. idx < arena_flow_limit. */
static inline const struct flow *arena_flow(const struct arena *a, uint32_t idx)
{
    const struct arena_view *v = (const struct arena_view *)(const void *)a;
    if (idx >= v->flow_limit)
        arena_no_flow(idx);
    return &v->flows[idx];
}
static inline const struct arena_state *arena_state(const struct arena *a)
{
    return ((const struct arena_view *)(const void *)a)->state;
}
const struct flow_name *arena_name(const struct arena *a, uint32_t block);

/* Hints that the slot, then (once the slot is near) the place where its next raw bytes go, will be used soon. */
void arena_prefetch_slot(const struct arena *a, uint32_t idx);
void arena_prefetch_tail(const struct arena *a, uint32_t idx);

/* Takes the lowest free slot: *idx_r, and *image_r all zero but generation and the ARENA_NONE fields, stage FLOW_FREE.
 * Nothing is committed. SC_ENOMEM: there is none, or it would cost the reserve. Undo with arena_flow_return if it is
 * never committed. */
int arena_flow_take(struct arena *a, uint32_t *idx_r, struct flow *image_r) SC_MUST_CHECK;
void arena_flow_return(struct arena *a, uint32_t idx);

/* Stores change, state and counters as one. After it, *arena_flow(idx) is the image. */
void arena_commit(struct arena *a, const struct arena_change *change);

/* Appends n raw bytes past image->total, taking blocks as needed; moves the image's total, head and tail. Nothing is
 * committed. SC_ENOMEM (the reserve is not for raw bytes) leaves image and blocks as they were. The image must go to
 * arena_commit next or be given up with arena_append_undo. */
int arena_append(struct arena *a, uint32_t idx, struct flow *image, const void *bytes, uint32_t n) SC_MUST_CHECK;
/* The same for sealed bytes, to the last block: moves packed_len, packed_head and packed_tail. */
int arena_append_packed(struct arena *a, uint32_t idx, struct flow *image, const void *bytes, size_t n) SC_MUST_CHECK;
/* Gives back the blocks that `image` has beyond the committed slot, raw and packed. */
void arena_append_undo(struct arena *a, uint32_t idx, const struct flow *image);

/* Writes name into a new block and sets image->name. SC_ENOMEM: ARENA_LAST blocks or fewer are left. */
int arena_set_name(struct arena *a, uint32_t idx, struct flow *image, const struct flow_name *name) SC_MUST_CHECK;

/* Frees slot and blocks of a committed flow: commits a FLOW_FREE image with the counters of `change` (whose flow and
 * image are ignored; NULL = none), then gives the blocks back. */
void arena_flow_free(struct arena *a, uint32_t idx, const struct arena_change *change);

/* Calls back for every committed flow that is not FLOW_FREE, in slot order. */
void arena_each(const struct arena *a, void (*cb)(void *ctx, uint32_t idx, const struct flow *f), void *ctx);

/* ---- blocks, for chunk.c ---- */

/* NULL if block is not a block of flow idx (a chain that does not check). */
const uint8_t *arena_block(const struct arena *a, uint32_t idx, uint32_t block);
/* The block behind it in its chain; meaningful only inside the chain's length. */
uint32_t arena_block_next(const struct arena *a, uint32_t block);
/* Gives back head, next(head) .., at most count; stops and counts blocks_lost where the chain does not check. */
void arena_blocks_give(struct arena *a, uint32_t idx, uint32_t head, uint64_t count);

/* Blocks that hold len bytes. */
static inline uint64_t arena_blocks_for(uint64_t len)
{
    return (len + ARENA_BLOCK - 1) / ARENA_BLOCK;
}

#endif
