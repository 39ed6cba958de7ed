/* SPDX-License-Identifier: Apache-2.0
 * Admission: memory and maxflows. Failure policy: see saver.h. */
#include "shard/saver_parts.h"

#define PRESSURE_LOOKS 64u                             /* flows looked at for one packet that finds no room */
#define PRESSURE_GAIN (2 * ENCODER_DICT + ARENA_BLOCK) /* raw bytes below which sealing frees next to nothing */

#define ROOM_TRIES 8u

/* Seals one flow before its time: walks on from where it stopped, oldest activity first. */
static bool seal_early(struct savers *s)
{
    struct flows *fs = s->flows;
    uint32_t idx = s->pressure_at;
    for (unsigned i = 0; i < PRESSURE_LOOKS; i++) {
        if (idx == ARENA_NONE || fs->priv[idx].list[LANE_ACTIVITY] != LIST_ACTIVITY)
            idx = fs->list[LIST_ACTIVITY].head;
        if (idx == ARENA_NONE)
            return false;
        const struct flow *f = arena_flow(fs->arena, idx);
        uint32_t at = idx;
        idx = fs->priv[idx].link[LANE_ACTIVITY].next;
        s->pressure_at = idx;
        if (f->stage != FLOW_OPEN || f->total - f->sealed < PRESSURE_GAIN)
            continue;
        s->sealed += f->total - f->sealed;
        int err = chunk_seal(s->sealer, at, false);
        if (err == SC_EFORMAT)
            saver_lost(s, at);
        return err != SC_ENOMEM;
    }
    return false;
}

/* What must be left before a packet is taken: the reserve for sealing, and the largest record twice (raw and packed).
 */
void savers_room_init(struct savers *s)
{
    s->needed = ARENA_RESERVE + 2 * (uint32_t)arena_blocks_for(s->config->maxheadersize + ARENA_BLOCK);
    s->needed_new = s->needed + (uint32_t)(arena_budget_limit(s->flows->arena) / ARENA_BLOCK) / 64;
}

uint32_t saver_probation_cap(const struct savers *s)
{
    return (uint32_t)(arena_budget_limit(s->flows->arena) / 4 / (ARENA_FLOW_COST + ARENA_BLOCK));
}

bool saver_evict(struct savers *s, enum flow_list_id list, enum cause cause)
{
    uint32_t idx = s->flows->list[list].head;
    if (idx == ARENA_NONE || idx == s->current)
        return false;
    struct arena_change ch = flows_change(s->flows, idx);
    uint64_t packets = ch.image.packets;
    flows_count(s->flows, &ch, ARENA_COUNTER(drops) + cause, packets);
    flows_count(s->flows, &ch, ARENA_COUNTER(missed_packets) + SAVER_SKIPPED, packets);
    flows_count(s->flows, &ch, ARENA_COUNTER(saver_skipped), packets);
    flows_tell_lost(s->flows, &ch.image, cause);
    if (list == LIST_HALFOPEN)
        counter_add(&s->c->flows_halfopen_evicted, 1);
    ch.image.flags |= FLOW_GONE; /* the whole slot: a flood is not to fill the table either */
    (void)flows_empty(s->flows, &ch);
    return true;
}

/* Half-open flows go first. What sealing can save is saved before an unnamed flow with a finished handshake goes: its
 * name may be on its way. A named flow goes only if the disk refuses it. */
bool savers_room(struct savers *s, bool new_flow)
{
    uint32_t need = new_flow ? s->needed_new : s->needed;
    for (unsigned tries = 0; tries < ROOM_TRIES; tries++) {
        if (arena_blocks_left(s->flows->arena) > need)
            return true;
        if (saver_evict(s, LIST_HALFOPEN, CAUSE_HALFOPEN_EVICTED))
            continue;
        if (seal_early(s) || publish_make_room(s->publisher))
            continue;
        if (!new_flow || !saver_evict(s, LIST_WAITING, CAUSE_BUDGET))
            break;
    }
    return arena_blocks_left(s->flows->arena) > need;
}

void savers_advance(struct savers *s, struct instant now)
{
    int64_t tick = saver_tick(s, now);
    if (tick <= s->count_tick)
        return;
    s->count_tick = tick;
    s->counted = 0;
    counter_set(&s->c->flows_counted, 0);
}

void savers_refused_uuid(struct savers *s)
{
    struct arena_change ch = {.flow = ARENA_NONE};
    flows_count(s->flows, &ch, ARENA_COUNTER(saver_skipped), 1);
    arena_commit(s->flows->arena, &ch);
}

void saver_touch(struct savers *s, uint32_t idx, struct instant now)
{
    struct arena_change ch = flows_change(s->flows, idx);
    if (ch.image.flags & FLOW_GONE || now.ns <= ch.image.last_clock)
        return;
    ch.image.last_clock = now.ns;
    flows_commit(s->flows, &ch);
    flows_put(s->flows, LIST_ACTIVITY, idx);
}

void saver_count_flow(struct savers *s, uint32_t idx, struct instant now)
{
    const struct flow *f = arena_flow(s->flows->arena, idx);
    struct flow_private *priv = &s->flows->priv[idx];
    int64_t tick = saver_tick(s, now);
    uint32_t mark = (uint32_t)(uint64_t)tick + 1;
    if (tick > s->count_tick)
        savers_advance(s, now);
    if (mark == 0)
        mark = 1;
    if (tick < s->count_tick || priv->tick == mark || (f->name == ARENA_NONE && !(f->wire & FLOW_WIRE_HANDSHAKE)))
        return;
    priv->tick = mark;
    s->counted++;
    counter_set(&s->c->flows_counted, s->counted);
}
