/* SPDX-License-Identifier: Apache-2.0
 * What the arena looks like in memory: shared by arena.c, arena_room.c and arena_adopt.c, and by tests that damage it.
 * Nothing else includes this. */
#ifndef SHARD_ARENA_MAP_H
#define SHARD_ARENA_MAP_H

#include "shard/arena.h"
#include "shard/lowset.h"

#define ARENA_MAGIC 0x53434152u
#define ARENA_TWIN(layout) (~(uint32_t)(layout))

struct arena_geometry {
    uint32_t flow_limit, block_limit;
    size_t flows_off, owners_off, nexts_off, blocks_off, bytes;
};
struct arena_geometry arena_geometry(uint64_t budget);

/* Positions as the next commit stores them. */
struct arena_next {
    struct arena_applied applied;
    uint32_t dispatcher;
    uint32_t ended;
    int64_t clock_ns;
    uint64_t events_taken;
};

struct arena_redo {
    volatile uint64_t valid; /* 1: everything below is whole */
    uint32_t flow;
    uint16_t counter_count;
    uint16_t hot; /* 1: of the image only the first FLOW_HOT_BYTES count */
    struct flow image;
    struct arena_counter counters[ARENA_COUNTERS_PER_COMMIT];
    struct arena_next next;
};

struct arena_head {
    uint32_t magic, layout;
    uint64_t budget;
    uint32_t flow_top;    /* slots from here on are free; moves up before a slot is used, down once it is free */
    uint32_t block_top;   /* blocks below were used once; moves before a block is used */
    uint32_t takes;       /* slots ever taken, modulo 2^32: the generation of the next */
    uint32_t layout_twin; /* ARENA_TWIN of the layout: tells another build's arena from a damaged one */
    struct arena_state state;
    struct arena_redo redo;
};

struct arena {
    struct arena_view view; /* first: see arena.h */
    struct arena_geometry g;
    uint64_t budget;
    counter *counters; /* struct shard_counters as an array */
    struct arena_head *head;
    struct flow *flows;
    uint32_t *owners; /* flow + 1, or 0 */
    uint32_t *nexts;
    uint8_t *blocks;

    /* Free blocks, by pages of them. A page is in `some` while it has one and its memory is ours, in `idle`, too, while
     * it has no other, in `gone` once its memory was given back. */
    uint16_t *mask; /* per page: a bit for each free block below block_top */
    struct lowset some, idle, gone;
    uint32_t page;        /* where the last block became free: the next is taken there, for it is in the cache */
    uint32_t free_blocks; /* of all three kinds */

    struct lowset free_slots;                   /* below flow_top */
    uint32_t slots_held;                        /* slots below have memory; at least flow_top */
    uint32_t slots_kept;                        /* what slots_held would be once what lies behind flow_top has gone */
    uint32_t slots_peak;                        /* the most there were: the flow table does not shrink */
    bool stuck;                                 /* the system takes no memory back */
    void (*gone_slots)(void *, uint32_t first); /* see arena_on_slots_gone */
    void *gone_slots_ctx;

    struct arena_next next;
};

static inline uint64_t arena_raw_blocks(const struct flow *f)
{
    return f->raw_head == ARENA_NONE ? 0 : arena_blocks_for(f->total - f->raw_base);
}

static inline uint64_t arena_packed_blocks(const struct flow *f)
{
    return f->packed_head == ARENA_NONE ? 0 : arena_blocks_for(f->packed_len - f->packed_base);
}

void arena_redo_apply(struct arena *a);

/* ---- arena_room.c ---- */

#define ARENA_PAGE 4096u
#define ARENA_BLOCKS_PER_PAGE (ARENA_PAGE / ARENA_BLOCK)
#define ARENA_BLOCK_COST (ARENA_BLOCK + 2 * sizeof(uint32_t))

int arena_room_init(struct arena *a) SC_MUST_CHECK; /* SC_OK or SC_ENOMEM: arena_room_free in both cases */
void arena_room_free(struct arena *a);
/* Once flow_top is known: whatever has memory behind it gives it back. */
void arena_room_begin(struct arena *a);
/* A block with owner word set, of those that arena_blocks_left has counted; ARENA_NONE if none is left. */
uint32_t arena_block_take(struct arena *a, uint32_t idx);
void arena_block_free(struct arena *a, uint32_t block);

/* Makes a handle fit the state that a predecessor left. SC_OK or SC_ENOMEM. */
int arena_adopt(struct arena *a) SC_MUST_CHECK;

#endif
