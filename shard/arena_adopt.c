/* SPDX-License-Identifier: Apache-2.0
 * Adoption: what a successor does with the arena of a process that may have been killed at any instruction, or whose
 * memory may be damaged. Redoes a valid record, compares for each flow the blocks that carry its owner word with the
 * blocks that its slot needs, and walks only the chains of the few flows where the two differ.
 *
 * Failure policy: nothing found here is fatal but want of memory. A flow that does not check is dropped and its packets
 * are counted under CAUSE_ARENA_LOST; every step may be repeated, for adoption itself may be killed. */
#include <stdlib.h>
#include <string.h>

#include "shard/arena_map.h"
#include "shard/crashpoint.h"
#include "shared/log.h"

#define COUNTER_WORDS (sizeof(struct shard_counters) / sizeof(counter))

/* What the passes know about each flow. */
struct survey {
    uint32_t *have; /* blocks whose owner word names the flow */
    uint8_t *walked;
    uint8_t *reached; /* bitmap of blocks, only for walked flows; NULL until the first */
};

static bool redo_checks(const struct arena_redo *r, uint32_t flow_limit)
{
    if (r->flow != ARENA_NONE && r->flow >= flow_limit)
        return false;
    if (r->counter_count > ARENA_COUNTERS_PER_COMMIT || r->next.dispatcher >= ARENA_DISPATCHERS)
        return false;
    for (unsigned i = 0; i < r->counter_count; i++)
        if (r->counters[i].index >= COUNTER_WORDS)
            return false;
    return true;
}

static bool chain_checks(const struct arena *a, uint32_t idx, uint32_t head, uint32_t tail, uint64_t from, uint64_t to)
{
    if (head == ARENA_NONE)
        return from == to;
    if (from > to || from % ARENA_BLOCK != 0 || arena_blocks_for(to - from) > a->head->block_top || from == to)
        return false;
    return arena_block(a, idx, head) && arena_block(a, idx, tail);
}

/* Words of one slot against each other; chains are looked at by their ends only. */
static bool slot_checks(const struct arena *a, uint32_t idx, const struct flow *f)
{
    if (f->stage > FLOW_WRITTEN || f->saver >= SAVER_STATE_COUNT)
        return false;
    if (f->key.addr_len != 4 && f->key.addr_len != 16)
        return false;
    if (f->raw_base > f->sealed || f->sealed > f->total)
        return false;
    bool raw = chain_checks(a, idx, f->raw_head, f->raw_tail, f->raw_base, f->total);
    bool packed = chain_checks(a, idx, f->packed_head, f->packed_tail, f->packed_base, f->packed_len);
    return raw && packed && (f->name == ARENA_NONE || arena_block(a, idx, f->name));
}

static uint64_t blocks_needed(const struct flow *f)
{
    return arena_raw_blocks(f) + arena_packed_blocks(f) + (f->name == ARENA_NONE ? 0 : 1);
}

static void drop_flow(struct arena *a, uint32_t idx)
{
    const struct flow *f = &a->flows[idx];
    uint32_t lost = ARENA_COUNTER(drops) + CAUSE_ARENA_LOST;
    struct arena_change c = {.flow = idx, .counter_count = 1};
    c.counters[0] = (struct arena_counter){lost, counter_get(&a->counters[lost]) + f->packets};
    c.image.generation = f->generation;
    arena_commit(a, &c);
}

static bool reach(struct arena *a, struct survey *s, uint32_t idx, uint32_t head, uint64_t count)
{
    for (; count > 0; count--) {
        if (!arena_block(a, idx, head) || s->reached[head / 8] & (1u << head % 8))
            return false; /* leaves the flow, or runs in a circle */
        s->reached[head / 8] |= (uint8_t)(1u << head % 8);
        head = a->nexts[head];
    }
    return true;
}

/* Marks the blocks that the flow really reaches; drops it if its chains do not check. */
static int walk_flow(struct arena *a, struct survey *s, uint32_t idx)
{
    if (!s->reached)
        s->reached = calloc(a->head->block_top / 8 + 1, 1);
    if (!s->reached)
        return SC_ENOMEM;
    const struct flow *f = &a->flows[idx];
    s->walked[idx] = 1;
    if (!reach(a, s, idx, f->raw_head, arena_raw_blocks(f)) ||
        !reach(a, s, idx, f->packed_head, arena_packed_blocks(f)) ||
        (f->name != ARENA_NONE && !reach(a, s, idx, f->name, 1)))
        drop_flow(a, idx);
    return SC_OK;
}

static int check_flows(struct arena *a, struct survey *s)
{
    for (uint32_t b = 0; b < a->head->block_top; b++)
        if (a->owners[b] > 0 && a->owners[b] <= a->head->flow_top)
            s->have[a->owners[b] - 1]++;
    for (uint32_t i = 0; i < a->head->flow_top; i++) {
        const struct flow *f = &a->flows[i];
        if (f->stage == FLOW_FREE)
            continue;
        if (!slot_checks(a, i, f)) {
            drop_flow(a, i);
        } else if (blocks_needed(f) != s->have[i]) {
            int err = walk_flow(a, s, i);
            if (err)
                return err;
        }
    }
    return SC_OK;
}

static bool block_in_use(const struct arena *a, const struct survey *s, uint32_t block)
{
    uint32_t owner = a->owners[block];
    if (owner == 0 || owner > a->head->flow_top || a->flows[owner - 1].stage == FLOW_FREE)
        return false;
    if (!s->walked[owner - 1] || !s->reached)
        return true;
    return s->reached[block / 8] & (1u << block % 8);
}

static void rebuild_free_lists(struct arena *a, const struct survey *s)
{
    /* Downwards, so that low indices are taken first and touched pages stay few. */
    for (uint32_t b = a->head->block_top; b > 0; b--)
        if (!block_in_use(a, s, b - 1))
            arena_block_free(a, b - 1);
    for (uint32_t i = a->head->flow_top; i > 0; i--)
        if (a->flows[i - 1].stage == FLOW_FREE)
            arena_flow_return(a, i - 1);
}

static void next_from_state(struct arena *a)
{
    const struct arena_state *s = &a->head->state;
    a->next = (struct arena_next){
        .applied = s->applied[0], .clock_ns = s->clock_ns, .events_taken = s->events_taken, .ended = s->ended};
}

int arena_adopt(struct arena *a)
{
    struct arena_head *h = a->head;
    if (h->flow_top > a->g.flow_limit)
        h->flow_top = a->g.flow_limit;
    if (h->block_top > a->g.block_limit)
        h->block_top = a->g.block_limit;
    if (h->state.address_count > ANONYMIZE_EXEMPT_MAX)
        h->state.address_count = 0;
    if (h->redo.valid == 1 && redo_checks(&h->redo, a->g.flow_limit))
        arena_redo_apply(a);
    CRASHPOINT("adopt.redone");
    next_from_state(a);
    struct survey s = {.have = calloc((size_t)h->flow_top + 1, sizeof(uint32_t)),
                       .walked = calloc((size_t)h->flow_top + 1, 1)};
    int err = s.have && s.walked ? check_flows(a, &s) : SC_ENOMEM;
    CRASHPOINT("adopt.checked");
    if (!err)
        rebuild_free_lists(a, &s);
    free(s.have);
    free(s.walked);
    free(s.reached);
    return err;
}

static void limit(int64_t *at_ns, int64_t most_ns)
{
    if (*at_ns > most_ns)
        *at_ns = most_ns;
}

void arena_limit_clock(struct arena *a, struct instant latest)
{
    struct arena_state *s = &a->head->state;
    if (s->clock_ns > latest.ns)
        log_error("the arena's clock was written over, it is mended ahead=%llds",
                  (long long)((s->clock_ns - latest.ns) / NS_PER_SEC));
    limit(&s->clock_ns, latest.ns);
    limit(&a->next.clock_ns, latest.ns);
    for (uint32_t i = 0; i < a->head->flow_top; i++) {
        limit(&a->flows[i].first_clock, latest.ns);
        limit(&a->flows[i].last_clock, latest.ns);
    }
}

/* ---- before it is opened ---- */

void arena_mend(void *map, size_t map_bytes, uint64_t budget)
{
    struct arena_head *h = map;
    if (map_bytes < sizeof(*h) || h->magic == 0) /* not formatted, or not to the end */
        return;
    int right = (h->magic == ARENA_MAGIC) + (h->layout == ARENA_LAYOUT) + (h->layout_twin == ARENA_TWIN(ARENA_LAYOUT)) +
                (h->budget == budget);
    if (right != 3)
        return;
    log_error("a word in the head of the arena was written over, it is mended magic=%x layout=%u budget=%llu", h->magic,
              h->layout, (unsigned long long)h->budget);
    h->magic = ARENA_MAGIC;
    h->layout = ARENA_LAYOUT;
    h->layout_twin = ARENA_TWIN(ARENA_LAYOUT);
    h->budget = budget;
}

void arena_discard(void *map)
{
    struct arena_head *h = map;
    h->magic = 0;
}

static const struct arena_head *formatted(const void *map, size_t map_bytes)
{
    const struct arena_head *h = map;
    return map_bytes >= sizeof(*h) && h->magic == ARENA_MAGIC && h->layout == ARENA_LAYOUT ? h : NULL;
}

bool arena_peek(const void *map, size_t map_bytes, struct arena_applied *applied_r)
{
    const struct arena_head *h = formatted(map, map_bytes);
    if (!h)
        return false;
    bool redo = h->redo.valid == 1 && h->redo.next.dispatcher == 0 && redo_checks(&h->redo, UINT32_MAX);
    *applied_r = redo ? h->redo.next.applied : h->state.applied[0];
    return true;
}

bool arena_peek_sum(const void *map, size_t map_bytes, uint64_t *sum_r)
{
    const struct arena_head *h = formatted(map, map_bytes);
    if (!h)
        return false;
    bool redo = h->redo.valid == 1 && redo_checks(&h->redo, UINT32_MAX);
    *sum_r = 0;
    for (unsigned d = 0; d < ARENA_DISPATCHERS; d++)
        *sum_r += redo && h->redo.next.dispatcher == d ? h->redo.next.applied.position : h->state.applied[d].position;
    return true;
}

/* All that a valid redo record says, but for the flow. */
static void redo_but_flow(struct arena_head *h, struct shard_counters *c)
{
    const struct arena_redo *r = &h->redo;
    counter *counters = (counter *)(void *)c;
    if (r->valid != 1 || !redo_checks(r, UINT32_MAX))
        return;
    for (unsigned i = 0; i < r->counter_count; i++)
        counter_set(&counters[r->counters[i].index], r->counters[i].value);
    h->state.clock_ns = r->next.clock_ns;
    h->state.events_taken = r->next.events_taken;
    h->state.ended = r->next.ended;
    h->state.applied[r->next.dispatcher] = r->next.applied;
}

/* Cut short anywhere, what is left is an arena that can be emptied, or adopted: its place is stored first. */
void arena_empty(void *map, size_t map_bytes, struct shard_counters *c)
{
    struct arena_head *h = map;
    if (!formatted(map, map_bytes))
        return;
    struct arena_geometry g = arena_geometry(h->budget);
    if (g.bytes > map_bytes)
        return;
    redo_but_flow(h, c);
    atomic_signal_fence(memory_order_seq_cst);
    h->redo.valid = 0;
    struct flow *flows = (struct flow *)(void *)((uint8_t *)map + g.flows_off);
    for (uint32_t i = 0; i < h->flow_top && i < g.flow_limit; i++)
        flows[i] = (struct flow){0}; /* `takes` goes on: a name in staging stays unique */
    h->flow_top = h->block_top = 0;
}
