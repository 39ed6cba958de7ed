/* SPDX-License-Identifier: Apache-2.0
 * Expiry by FIFO lists. Failure policy: see gc.h. */
#include "shard/gc.h"

#include "shared/log.h"

void gc_init(struct gc *g, struct savers *s, const struct clock *clock, struct instant now)
{
    *g = (struct gc){.savers = s, .clock = clock, .tick = saver_tick(s, now)};
}

/* The next flow whose deadline has passed, or ARENA_NONE. */
static uint32_t next_due(const struct gc *g, struct instant now)
{
    struct savers *s = g->savers;
    const struct flows *fs = s->flows;
    uint32_t idx = fs->list[LIST_ACTIVITY].head;
    if (idx != ARENA_NONE) {
        struct instant last = {arena_flow(fs->arena, idx)->last_clock};
        if (saver_tick(s, now) >= saver_tick(s, last) + 2)
            return idx;
    }
    idx = fs->list[LIST_YOUNG].head;
    if (idx != ARENA_NONE && now.ns - arena_flow(fs->arena, idx)->first_clock > s->config->captureduration_ns)
        return idx;
    for (enum flow_list_id list = LIST_HALFOPEN; list <= LIST_WAITING && !s->hold; list++) {
        idx = fs->list[list].head;
        if (idx != ARENA_NONE && now.ns - arena_flow(fs->arena, idx)->first_clock > s->config->uuidwaitduration_ns)
            return idx;
    }
    return ARENA_NONE;
}

static void observe(struct gc *g)
{
    struct shard_counters *c = g->savers->c;
    unsigned i = 0;
    while (i < GC_LATENCY_BUCKETS && g->running_ns > INT64_C(1000) << i)
        i++;
    counter_add(&c->gc_latency[i], 1);
    counter_add(&c->gc_latency_sum_ns, (uint64_t)g->running_ns);
    counter_add(&c->gc_latency_count, 1);
    counter_set(&c->savers_active, g->savers->flows->list[LIST_ACTIVITY].count);
    g->running_ns = 0;
}

bool gc_run(struct gc *g, struct instant now, unsigned most)
{
    int64_t tick = saver_tick(g->savers, now);
    uint32_t idx = next_due(g, now);
    if (idx == ARENA_NONE && tick <= g->tick)
        return false;
    bool found = idx != ARENA_NONE;
    int64_t began = g->clock->mono(g->clock->ctx).ns;
    for (unsigned i = 0; i < most && idx != ARENA_NONE; i++) {
        (void)saver_settle(g->savers, idx, now);
        idx = next_due(g, now);
    }
    g->running_ns += g->clock->mono(g->clock->ctx).ns - began;
    if (idx == ARENA_NONE && tick > g->tick) {
        g->tick = tick;
        observe(g);
    }
    return found;
}

bool gc_finish(struct gc *g, unsigned most)
{
    static const enum flow_list_id order[] = {LIST_ACTIVITY, LIST_HALFOPEN, LIST_WAITING};
    const struct flow_list *list = g->savers->flows->list;
    unsigned n = 0;
    for (; n < most; n++) {
        uint32_t idx = ARENA_NONE;
        for (unsigned i = 0; i < 3 && idx == ARENA_NONE; i++)
            idx = list[order[i]].head;
        if (idx == ARENA_NONE || (arena_blocks_left(g->savers->flows->arena) <= ARENA_LAST &&
                                  !publish_idle(g->savers->publisher))) /* names find room once files are published */
            break;
        saver_finish(g->savers, idx);
    }
    return n > 0;
}
