/* SPDX-License-Identifier: Apache-2.0
 * The arena: geometry, the redo record, chains of blocks. Which blocks and slots are free, and what the budget allows,
 * stands in arena_room.c, adoption in arena_adopt.c.
 *
 * Ordering: the only reader beside us is a successor that starts after our death, and a killed process has executed
 * exactly the instructions up to some point in program order. So it is the compiler that must be held to the order of
 * stores, and signal fences do that at no cost.
 *
 * Failure policy: see arena.h. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "shard/arena_map.h"
#include "shard/crashpoint.h"
#include "shared/log.h"

static void in_order(void)
{
    atomic_signal_fence(memory_order_seq_cst);
}

struct arena_geometry arena_geometry(uint64_t budget)
{
    struct arena_geometry g;
    uint64_t flows = budget / (ARENA_FLOW_COST + ARENA_BLOCK_COST) + 1;
    uint64_t blocks = budget / ARENA_BLOCK_COST + 1;
    g.flow_limit = flows < ARENA_NONE - 2 ? (uint32_t)flows : ARENA_NONE - 2;
    g.block_limit = blocks < ARENA_NONE - 2 ? (uint32_t)blocks : ARENA_NONE - 2;
    g.flows_off = (sizeof(struct arena_head) + 4095) & ~(size_t)4095;
    g.owners_off = g.flows_off + (size_t)g.flow_limit * sizeof(struct flow);
    g.nexts_off = g.owners_off + (size_t)g.block_limit * sizeof(uint32_t);
    g.blocks_off = (g.nexts_off + (size_t)g.block_limit * sizeof(uint32_t) + 4095) & ~(size_t)4095;
    g.bytes = g.blocks_off + (size_t)g.block_limit * ARENA_BLOCK;
    return g;
}

size_t arena_map_bytes(uint64_t budget)
{
    return arena_geometry(budget).bytes;
}

static void arena_format(struct arena *a)
{
    memset(a->head, 0, sizeof(*a->head)); /* zeros already, unless a predecessor died in here or has damaged it */
    if (madvise(a->flows, a->g.bytes - a->g.flows_off, MADV_REMOVE) != 0) /* what it had behind the head */
        memset(a->flows, 0, a->g.flow_limit * sizeof(struct flow));
    a->head->layout = ARENA_LAYOUT;
    a->head->layout_twin = ARENA_TWIN(ARENA_LAYOUT);
    a->head->budget = a->budget;
    in_order();
    a->head->magic = ARENA_MAGIC; /* last: a half-formatted arena is formatted again */
}

struct arena *arena_open(void *map, size_t map_bytes, uint64_t budget, struct shard_counters *c, bool *adopted_r,
                         int *err_r)
{
    struct arena_geometry g = arena_geometry(budget);
    *err_r = SC_EINVAL;
    if (budget < ARENA_MIN_BUDGET || map_bytes < g.bytes)
        return NULL;
    struct arena_head *head = map;
    *adopted_r = head->magic == ARENA_MAGIC && head->layout == ARENA_LAYOUT && head->budget == budget;
    *err_r = SC_EVERSION;
    if (head->magic == ARENA_MAGIC && head->layout != ARENA_LAYOUT && head->layout_twin == ARENA_TWIN(head->layout))
        return NULL; /* another build's: not ours to read */
    if (!*adopted_r && head->magic != 0)
        log_warn("the head of the arena is damaged: what it holds is lost");
    *err_r = SC_ENOMEM;
    struct arena *a = calloc(1, sizeof(*a));
    if (!a)
        return NULL;
    a->g = g;
    if (arena_room_init(a) != SC_OK) {
        arena_close(a);
        return NULL;
    }
    a->budget = budget;
    a->counters = (counter *)(void *)c;
    a->head = head;
    a->flows = (struct flow *)(void *)((uint8_t *)map + g.flows_off);
    a->owners = (uint32_t *)(void *)((uint8_t *)map + g.owners_off);
    a->view = (struct arena_view){.flows = a->flows, .state = &head->state, .flow_limit = g.flow_limit};
    a->nexts = (uint32_t *)(void *)((uint8_t *)map + g.nexts_off);
    a->blocks = (uint8_t *)map + g.blocks_off;
    if (!*adopted_r)
        arena_format(a);
    arena_room_begin(a);
    if (*adopted_r && arena_adopt(a) != SC_OK) {
        arena_close(a);
        return NULL;
    }
    *err_r = SC_OK;
    return a;
}

void arena_close(struct arena *a)
{
    if (!a)
        return;
    arena_room_free(a);
    free(a);
}

void arena_set_applied(struct arena *a, unsigned dispatcher, struct arena_applied applied, int64_t clock_ns)
{
    if (dispatcher >= ARENA_DISPATCHERS)
        log_panic("arena: dispatcher=%u", dispatcher);
    a->next.dispatcher = dispatcher;
    a->next.applied = applied;
    a->next.clock_ns = clock_ns;
}

void arena_set_events_taken(struct arena *a, uint64_t n)
{
    a->next.events_taken = n;
}

void arena_set_ended(struct arena *a, unsigned dispatcher, bool ended)
{
    uint32_t bit = UINT32_C(1) << dispatcher;
    a->next.ended = ended ? a->next.ended | bit : a->next.ended & ~bit;
}

void arena_set_addresses(struct arena *a, const struct ipaddr *list, uint32_t count)
{
    struct arena_state *s = &a->head->state;
    if (count > ANONYMIZE_EXEMPT_MAX)
        log_panic("arena: addresses=%u", count);
    s->address_count = 0; /* killed in between, nothing is exempt: the safe side */
    in_order();
    memcpy(s->addresses, list, count * sizeof(*list));
    in_order();
    s->address_count = count;
}

uint32_t arena_flow_limit(const struct arena *a)
{
    return a->g.flow_limit;
}

uint64_t arena_budget_limit(const struct arena *a)
{
    return a->budget;
}

void arena_no_flow(uint32_t idx)
{
    log_panic("arena: flow=%u", idx);
}

void arena_prefetch_slot(const struct arena *a, uint32_t idx)
{
    const char *p = (const char *)&a->flows[idx < a->g.flow_limit ? idx : 0];
    __builtin_prefetch(p, 1);
    __builtin_prefetch(p + FLOW_HOT_BYTES, 0); /* the key */
}

void arena_prefetch_tail(const struct arena *a, uint32_t idx)
{
    const struct flow *f = arena_flow(a, idx);
    if (f->raw_tail >= a->g.block_limit)
        return;
    const uint8_t *p = a->blocks + (size_t)f->raw_tail * ARENA_BLOCK + (f->total - f->raw_base) % ARENA_BLOCK;
    __builtin_prefetch(p, 1);
    __builtin_prefetch(p + 64, 1); /* a record is about 110 bytes */
}

const struct flow_name *arena_name(const struct arena *a, uint32_t block)
{
    if (block >= a->head->block_top)
        log_panic("arena: name block=%u", block);
    return (const struct flow_name *)(const void *)(a->blocks + (size_t)block * ARENA_BLOCK);
}

void arena_redo_apply(struct arena *a)
{
    const struct arena_redo *r = &a->head->redo;
    if (r->flow != ARENA_NONE && r->hot == 1)
        memcpy(&a->flows[r->flow], &r->image, FLOW_HOT_BYTES);
    else if (r->flow != ARENA_NONE)
        a->flows[r->flow] = r->image;
    for (unsigned i = 0; i < r->counter_count; i++)
        counter_set(&a->counters[r->counters[i].index], r->counters[i].value);
    struct arena_state *s = &a->head->state;
    s->applied[r->next.dispatcher] = r->next.applied;
    s->clock_ns = r->next.clock_ns;
    s->events_taken = r->next.events_taken;
    s->ended = r->next.ended;
}

void arena_commit(struct arena *a, const struct arena_change *change)
{
    struct arena_redo *r = &a->head->redo;
    if (change->counter_count > ARENA_COUNTERS_PER_COMMIT)
        log_panic("arena: counters=%u", change->counter_count);
    r->valid = 0;
    in_order();
    r->flow = change->flow;
    r->hot = change->hot;
    if (change->flow != ARENA_NONE && change->hot)
        memcpy(&r->image, &change->image, FLOW_HOT_BYTES);
    else if (change->flow != ARENA_NONE)
        r->image = change->image;
    r->counter_count = (uint16_t)change->counter_count;
    for (unsigned i = 0; i < change->counter_count; i++)
        r->counters[i] = change->counters[i];
    r->next = a->next;
    in_order();
    CRASHPOINT("commit.written");
    r->valid = 1;
    in_order();
    CRASHPOINT("commit.valid");
    arena_redo_apply(a);
    in_order();
    CRASHPOINT("commit.applied");
}

/* ---- blocks ---- */

const uint8_t *arena_block(const struct arena *a, uint32_t idx, uint32_t block)
{
    if (block >= a->head->block_top || a->owners[block] != idx + 1)
        return NULL;
    return a->blocks + (size_t)block * ARENA_BLOCK;
}

uint32_t arena_block_next(const struct arena *a, uint32_t block)
{
    return block < a->head->block_top ? a->nexts[block] : ARENA_NONE;
}

void arena_blocks_give(struct arena *a, uint32_t idx, uint32_t head, uint64_t count)
{
    for (; count > 0; count--) {
        if (!arena_block(a, idx, head)) {
            counter_add(&a->counters[ARENA_COUNTER(blocks_lost)], count);
            return;
        }
        uint32_t next = a->nexts[head];
        arena_block_free(a, head);
        head = next;
    }
}

/* A chain while it grows: `len` counts from the start of the head block. */
struct chain {
    uint32_t head, tail;
    uint64_t len;
};

/* keep: blocks that must be left. */
static int chain_append(struct arena *a, uint32_t idx, struct chain *c, const uint8_t *bytes, size_t n, uint32_t keep)
{
    uint64_t need = arena_blocks_for(c->len + n) - arena_blocks_for(c->len);
    if (need > 0 && need + keep > arena_blocks_left(a))
        return SC_ENOMEM; /* before anything is taken: nothing to undo */
    while (n > 0) {
        uint32_t used = (uint32_t)(c->len % ARENA_BLOCK);
        if (used == 0) {
            uint32_t block = arena_block_take(a, idx);
            if (block == ARENA_NONE)
                log_panic("arena: blocks were counted and are not there");
            if (c->head == ARENA_NONE)
                c->head = block;
            else
                a->nexts[c->tail] = block;
            c->tail = block;
        }
        size_t part = ARENA_BLOCK - used < n ? ARENA_BLOCK - used : n;
        memcpy(a->blocks + (size_t)c->tail * ARENA_BLOCK + used, bytes, part);
        c->len += part;
        bytes += part;
        n -= part;
    }
    return SC_OK;
}

int arena_append(struct arena *a, uint32_t idx, struct flow *image, const void *bytes, uint32_t n)
{
    struct chain c = {image->raw_head, image->raw_tail, image->total - image->raw_base};
    int err = chain_append(a, idx, &c, bytes, n, ARENA_RESERVE);
    if (err)
        return err;
    image->raw_head = c.head;
    image->raw_tail = c.tail;
    image->total = image->raw_base + c.len;
    return SC_OK;
}

int arena_append_packed(struct arena *a, uint32_t idx, struct flow *image, const void *bytes, size_t n)
{
    struct chain c = {image->packed_head, image->packed_tail, image->packed_len - image->packed_base};
    int err = chain_append(a, idx, &c, bytes, n, 0);
    if (err)
        return err;
    image->packed_head = c.head;
    image->packed_tail = c.tail;
    image->packed_len = image->packed_base + c.len;
    return SC_OK;
}

/* Gives back what a grown chain (head, blocks) has beyond the committed one (tail0, blocks0). */
static void chain_cut(struct arena *a, uint32_t idx, uint32_t head, uint64_t blocks, uint32_t tail0, uint64_t blocks0)
{
    if (blocks > blocks0)
        arena_blocks_give(a, idx, blocks0 ? a->nexts[tail0] : head, blocks - blocks0);
}

void arena_append_undo(struct arena *a, uint32_t idx, const struct flow *image)
{
    struct flow none = {.raw_tail = ARENA_NONE, .packed_tail = ARENA_NONE};
    const struct flow *f = a->flows[idx].stage == FLOW_FREE ? &none : &a->flows[idx];
    chain_cut(a, idx, image->raw_head, arena_raw_blocks(image), f->raw_tail, arena_raw_blocks(f));
    chain_cut(a, idx, image->packed_head, arena_packed_blocks(image), f->packed_tail, arena_packed_blocks(f));
    if (image->name != ARENA_NONE && (f == &none || image->name != f->name))
        arena_blocks_give(a, idx, image->name, 1);
}

int arena_set_name(struct arena *a, uint32_t idx, struct flow *image, const struct flow_name *name)
{
    uint32_t block = arena_blocks_left(a) > ARENA_LAST ? arena_block_take(a, idx) : ARENA_NONE;
    if (block == ARENA_NONE)
        return SC_ENOMEM;
    memcpy(a->blocks + (size_t)block * ARENA_BLOCK, name, sizeof(*name));
    image->name = block;
    return SC_OK;
}

void arena_flow_free(struct arena *a, uint32_t idx, const struct arena_change *change)
{
    struct flow old = *arena_flow(a, idx);
    struct arena_change c = {.flow = idx, .image = {.generation = old.generation, .stage = FLOW_FREE}};
    if (change) {
        c.counter_count = change->counter_count;
        memcpy(c.counters, change->counters, sizeof(c.counters));
    }
    arena_commit(a, &c);
    if (old.stage == FLOW_FREE)
        log_panic("arena: flow=%u freed twice", idx);
    arena_blocks_give(a, idx, old.raw_head, arena_raw_blocks(&old));
    arena_blocks_give(a, idx, old.packed_head, arena_packed_blocks(&old));
    if (old.name != ARENA_NONE)
        arena_blocks_give(a, idx, old.name, 1);
    arena_flow_return(a, idx);
}

void arena_each(const struct arena *a, void (*cb)(void *ctx, uint32_t idx, const struct flow *f), void *ctx)
{
    for (uint32_t i = 0; i < a->head->flow_top; i++)
        if (a->flows[i].stage != FLOW_FREE)
            cb(ctx, i, &a->flows[i]);
}
