/* SPDX-License-Identifier: Apache-2.0
 * What the arena looks like in memory: shared by arena.c and arena_adopt.c, and by tests that damage it. Nothing else
 * includes this. */
#ifndef SHARD_ARENA_MAP_H
#define SHARD_ARENA_MAP_H

#include "shard/arena.h"

#define ARENA_MAGIC 0x53434152u

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
    uint32_t flow_top;  /* slots below were used once; moves before a slot is used */
    uint32_t block_top; /* likewise for blocks */
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
    uint32_t free_block; /* list through nexts */
    uint32_t free_blocks;
    uint32_t *free_flows; /* stack */
    uint32_t free_flow_count;
    uint8_t *trimmed; /* a bit for each page of blocks that was given back */
    uint32_t trimmed_pages, trim_at;
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
void arena_block_free(struct arena *a, uint32_t block);

/* Makes a handle fit the state that a predecessor left. SC_OK or SC_ENOMEM. */
int arena_adopt(struct arena *a) SC_MUST_CHECK;

#endif
