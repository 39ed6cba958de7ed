/* SPDX-License-Identifier: Apache-2.0
 * Lists, generations and gauges over the arena's slots. Failure policy: see flows.h. */
#include "shard/flows.h"

#include <stdlib.h>
#include <string.h>

#include "shared/log.h"

static const uint8_t lane_of[LIST_COUNT] = {
    [LIST_HALFOPEN] = LANE_WORK, [LIST_ACTIVITY] = LANE_ACTIVITY, [LIST_YOUNG] = LANE_AGE,
    [LIST_WAITING] = LANE_WORK,  [LIST_READY] = LANE_WORK,        [LIST_WRITTEN] = LANE_WORK,
};

/* ---- lists ---- */

void flows_take(struct flows *fs, enum flow_lane lane, uint32_t idx)
{
    struct flow_private *p = &fs->priv[idx];
    if (p->list[lane] == LIST_NONE)
        return;
    struct flow_list *l = &fs->list[p->list[lane]];
    uint32_t prev = p->link[lane].prev, next = p->link[lane].next;
    if (prev != ARENA_NONE)
        fs->priv[prev].link[lane].next = next;
    else
        l->head = next;
    if (next != ARENA_NONE)
        fs->priv[next].link[lane].prev = prev;
    else
        l->tail = prev;
    l->count--;
    p->list[lane] = LIST_NONE;
}

void flows_put(struct flows *fs, enum flow_list_id list, uint32_t idx)
{
    enum flow_lane lane = lane_of[list];
    struct flow_list *l = &fs->list[list];
    struct flow_private *p = &fs->priv[idx];
    if (p->list[lane] == list && l->tail == idx)
        return;
    flows_take(fs, lane, idx);
    p->link[lane].prev = l->tail;
    p->link[lane].next = ARENA_NONE;
    if (l->tail != ARENA_NONE)
        fs->priv[l->tail].link[lane].next = idx;
    else
        l->head = idx;
    l->tail = idx;
    l->count++;
    p->list[lane] = (uint8_t)list;
}

/* ---- gauges ---- */

static void gauge_move(counter *c, bool before, bool after)
{
    if (before != after)
        counter_set(c, counter_get(c) + (after ? 1 : UINT64_MAX));
}

static bool is_live(const struct flow *f)
{
    return f->stage != FLOW_FREE && !(f->flags & FLOW_GONE);
}

static bool is_unnamed(const struct flow *f)
{
    return f->stage != FLOW_FREE && f->name == ARENA_NONE && !(f->flags & FLOW_EMPTY);
}

/* What gauges are made of, before a change. */
struct gauged {
    uint8_t stage, saver, flags;
    bool live, unnamed;
};

static struct gauged gauged_of(const struct flow *f)
{
    return (struct gauged){f->stage, f->saver, f->flags, is_live(f), is_unnamed(f)};
}

static void gauges_move(const struct flows *fs, const struct gauged *before, const struct flow *after)
{
    struct shard_counters *c = fs->c;
    gauge_move(&c->flows_live, before->live, is_live(after));
    gauge_move(&c->flows_unnamed, before->unnamed, is_unnamed(after));
    if (before->saver == after->saver && before->stage != FLOW_FREE && after->stage != FLOW_FREE)
        return;
    gauge_move(&c->saver_states[before->saver], before->stage != FLOW_FREE, false);
    gauge_move(&c->saver_states[after->saver], false, after->stage != FLOW_FREE);
}

static void gauges_reset(struct shard_counters *c)
{
    counter_set(&c->flows_live, 0);
    counter_set(&c->flows_unnamed, 0);
    counter_set(&c->flows_counted, 0);
    for (unsigned i = 0; i < SAVER_STATE_COUNT; i++)
        counter_set(&c->saver_states[i], 0);
}

/* ---- changes ---- */

struct arena_change flows_change(const struct flows *fs, uint32_t idx)
{
    struct arena_change ch;
    ch.flow = idx;
    ch.hot = false;
    ch.counter_count = 0;
    ch.image = *arena_flow(fs->arena, idx);
    return ch;
}

void flows_count(const struct flows *fs, struct arena_change *change, uint32_t counter_index, uint64_t n)
{
    const counter *all = (const counter *)(const void *)fs->c;
    for (unsigned i = 0; i < change->counter_count; i++) {
        if (change->counters[i].index == counter_index) {
            change->counters[i].value += n;
            return;
        }
    }
    if (change->counter_count >= ARENA_COUNTERS_PER_COMMIT)
        log_panic("flows: too many counters in one change");
    change->counters[change->counter_count++] =
        (struct arena_counter){.index = counter_index, .value = counter_get(&all[counter_index]) + n};
}

void flows_commit(struct flows *fs, const struct arena_change *change)
{
    const struct flow *f = arena_flow(fs->arena, change->flow);
    const struct flow *im = &change->image;
    if (im->stage == f->stage && im->saver == f->saver && im->flags == f->flags && im->name == f->name) {
        arena_commit(fs->arena, change); /* nearly every packet: no gauge moves */
        return;
    }
    struct gauged before = gauged_of(f);
    arena_commit(fs->arena, change);
    gauges_move(fs, &before, f);
}

/* ---- generations ---- */

uint32_t flows_find(const struct flows *fs, uint64_t hash, const struct flowkey *key)
{
    return flowtable_find(fs->table, hash, key);
}

void flows_prefetch_table(const struct flows *fs, uint64_t hash)
{
    flowtable_prefetch(fs->table, hash);
}

uint32_t flows_prefetch_slot(const struct flows *fs, uint64_t hash)
{
    uint32_t idx = flowtable_guess(fs->table, hash);
    if (idx != ARENA_NONE) {
        arena_prefetch_slot(fs->arena, idx);
        __builtin_prefetch(&fs->priv[idx], 1);
    }
    return idx;
}

void flows_prefetch_tail(const struct flows *fs, uint32_t idx)
{
    if (idx != ARENA_NONE)
        arena_prefetch_tail(fs->arena, idx);
}

static int link_newest(struct flows *fs, uint64_t hash, uint32_t idx, uint32_t older)
{
    struct flow_private *p = &fs->priv[idx];
    if (older == ARENA_NONE) {
        int err = flowtable_insert(fs->table, hash, idx);
        if (err)
            return err;
    } else {
        flowtable_replace(fs->table, older, idx);
        fs->priv[older].newer = idx;
    }
    memset(p, 0, sizeof(*p));
    p->older = older;
    p->newer = ARENA_NONE;
    return SC_OK;
}

static void unlink_generation(struct flows *fs, uint32_t idx)
{
    struct flow_private *p = &fs->priv[idx];
    if (p->older != ARENA_NONE)
        fs->priv[p->older].newer = p->newer;
    if (p->newer != ARENA_NONE)
        fs->priv[p->newer].older = p->older;
    else if (p->older != ARENA_NONE)
        flowtable_replace(fs->table, idx, p->older);
    else
        flowtable_remove(fs->table, idx);
}

int flows_add(struct flows *fs, uint64_t hash, struct arena_change *change)
{
    uint32_t idx = change->flow;
    uint32_t older = flows_find(fs, hash, &change->image.key);
    int err = link_newest(fs, hash, idx, older);
    if (err)
        return err;
    change->image.birth = fs->births++;
    flows_commit(fs, change);
    flows_put(fs, LIST_ACTIVITY, idx);
    flows_put(fs, LIST_YOUNG, idx);
    flows_put(fs, flows_waiting_list(&change->image), idx);
    return SC_OK;
}

enum flow_list_id flows_waiting_list(const struct flow *f)
{
    return f->wire & FLOW_WIRE_HANDSHAKE ? LIST_WAITING : LIST_HALFOPEN;
}

static void free_slot(struct flows *fs, struct arena_change *change)
{
    uint32_t idx = change->flow;
    struct gauged before = gauged_of(arena_flow(fs->arena, idx));
    unlink_generation(fs, idx);
    flows_count(fs, change, ARENA_COUNTER(saver_stops), 1);
    arena_flow_free(fs->arena, idx, change);
    gauges_move(fs, &before, arena_flow(fs->arena, idx));
}

void flows_tell_lost(const struct flows *fs, const struct flow *image, enum cause cause)
{
    const struct uuid *uuid = image->name == ARENA_NONE ? NULL : &arena_name(fs->arena, image->name)->uuid;
    reporter_lost(fs->reporter, &image->key, uuid, cause, image->packets);
}

bool flows_empty(struct flows *fs, struct arena_change *change)
{
    uint32_t idx = change->flow;
    struct flow *im = &change->image;
    struct flow before = *arena_flow(fs->arena, idx);
    flows_take(fs, LANE_WORK, idx);
    if (im->flags & FLOW_GONE) {
        flows_take(fs, LANE_ACTIVITY, idx);
        flows_take(fs, LANE_AGE, idx);
        free_slot(fs, change);
        return false;
    }
    im->raw_head = im->raw_tail = im->packed_head = im->packed_tail = ARENA_NONE;
    im->total = im->packets = im->raw_base = im->sealed = im->packed_len = im->packed_base = 0;
    im->stage = FLOW_CLOSED;
    im->flags |= FLOW_EMPTY | FLOW_DISCARD;
    flows_take(fs, LANE_AGE, idx);
    flows_commit(fs, change);
    arena_blocks_give(fs->arena, idx, before.raw_head, arena_blocks_for(before.total - before.raw_base));
    arena_blocks_give(fs->arena, idx, before.packed_head, arena_blocks_for(before.packed_len - before.packed_base));
    return true;
}

/* ---- adoption ---- */

struct adoption {
    struct flows *fs;
    uint32_t *slots;
    size_t count, room;
    bool failed;
};

static void collect(void *ctx, uint32_t idx, const struct flow *f)
{
    struct adoption *ad = ctx;
    (void)f;
    if (ad->count == ad->room) {
        size_t room = ad->room ? ad->room * 2 : 1024;
        uint32_t *more = reallocarray(ad->slots, room, sizeof(*more));
        if (!more) {
            ad->failed = true;
            return;
        }
        ad->slots = more;
        ad->room = room;
    }
    ad->slots[ad->count++] = idx;
}

static int by_birth(const void *a, const void *b, void *ctx)
{
    const struct flows *fs = ctx;
    const struct flow *x = arena_flow(fs->arena, *(const uint32_t *)a);
    const struct flow *y = arena_flow(fs->arena, *(const uint32_t *)b);
    /* All births lie within 2^31 of the next one, also where the count has wrapped. */
    uint32_t ax = fs->births - x->birth, ay = fs->births - y->birth;
    return (ax < ay) - (ax > ay);
}

static int by_activity(const void *a, const void *b, void *ctx)
{
    const struct flows *fs = ctx;
    const struct flow *x = arena_flow(fs->arena, *(const uint32_t *)a);
    const struct flow *y = arena_flow(fs->arena, *(const uint32_t *)b);
    if (x->last_clock != y->last_clock)
        return x->last_clock < y->last_clock ? -1 : 1;
    return by_birth(a, b, ctx);
}

static int adopt_flow(struct flows *fs, uint32_t idx, const struct siphash_key *secret)
{
    const struct flow *f = arena_flow(fs->arena, idx);
    const struct gauged none = {0};
    uint64_t hash = flowkey_hash(&f->key, secret);
    int err = link_newest(fs, hash, idx, flows_find(fs, hash, &f->key));
    if (err)
        return err;
    gauges_move(fs, &none, f);
    if (!(f->flags & (FLOW_GONE | FLOW_DISCARD)))
        flows_put(fs, LIST_YOUNG, idx);
    if (f->flags & FLOW_EMPTY)
        return SC_OK;
    if (f->name == ARENA_NONE)
        flows_put(fs, flows_waiting_list(f), idx);
    else if (f->stage == FLOW_WRITTEN) {
        fs->priv[idx].renamed = 1; /* the predecessor may have died just then */
        flows_put(fs, LIST_WRITTEN, idx);
    } else if (f->stage != FLOW_OPEN)
        flows_put(fs, LIST_READY, idx);
    return SC_OK;
}

static int adopt_all(struct flows *fs, const struct siphash_key *secret)
{
    struct adoption ad = {.fs = fs};
    int err = SC_OK;
    arena_each(fs->arena, collect, &ad);
    if (ad.failed)
        err = SC_ENOMEM;
    fs->births = (uint32_t)counter_get(&fs->c->flows_started);
    if (!err && ad.count > 0) {
        qsort_r(ad.slots, ad.count, sizeof(*ad.slots), by_birth, fs);
        for (size_t i = 0; i < ad.count && !err; i++)
            err = adopt_flow(fs, ad.slots[i], secret);
        qsort_r(ad.slots, ad.count, sizeof(*ad.slots), by_activity, fs);
        for (size_t i = 0; i < ad.count && !err; i++)
            if (!(arena_flow(fs->arena, ad.slots[i])->flags & FLOW_GONE))
                flows_put(fs, LIST_ACTIVITY, ad.slots[i]);
    }
    free(ad.slots);
    return err;
}

static void slots_gone(void *ctx, uint32_t first)
{
    struct flows *fs = ctx;
    arena_forget(fs->priv, sizeof(*fs->priv), first, arena_flow_limit(fs->arena));
    flowtable_slots_gone(fs->table, first);
}

int flows_init(struct flows *fs, struct arena *arena, struct shard_counters *c, const struct siphash_key *secret)
{
    memset(fs, 0, sizeof(*fs));
    fs->arena = arena;
    fs->c = c;
    for (unsigned i = 0; i < LIST_COUNT; i++)
        fs->list[i].head = fs->list[i].tail = ARENA_NONE;
    gauges_reset(c);
    fs->table = flowtable_new(arena);
    fs->priv = calloc(arena_flow_limit(arena), sizeof(*fs->priv));
    if (!fs->table || !fs->priv)
        return SC_ENOMEM;
    arena_on_slots_gone(arena, slots_gone, fs);
    return adopt_all(fs, secret);
}

void flows_free(struct flows *fs)
{
    if (fs->arena)
        arena_on_slots_gone(fs->arena, NULL, NULL);
    flowtable_free(fs->table);
    free(fs->priv);
    fs->table = NULL;
    fs->priv = NULL;
}
