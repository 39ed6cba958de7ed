/* SPDX-License-Identifier: Apache-2.0
 * Admission: memory and maxflows. Failure policy: see saver.h. */
#include "shard/saver_parts.h"

#define PRESSURE_LOOKS 64u                             /* flows looked at for one packet that finds no room */
#define PRESSURE_SEALS 4u                              /* of them sealed in vain */
#define PRESSURE_GAIN (2 * ENCODER_DICT + ARENA_BLOCK) /* raw bytes below which sealing frees next to nothing */
#define POOR_UNIT 64u

#define ROOM_TRIES 8u
#define ROOM_TRIES_NAMED 256u /* so many unnamed flows at most go for one packet */

/* Sealing in vain is not tried again before there is twice as much to seal. */
bool saver_seal(struct savers *s, uint32_t idx)
{
    const struct flow *f = arena_flow(s->flows->arena, idx);
    uint16_t *poor = &s->flows->priv[idx].poor;
    uint64_t raw = f->total - f->sealed;
    if (raw / POOR_UNIT < 2u * *poor)
        return false;
    uint32_t before = arena_blocks_left(s->flows->arena);
    s->sealed += raw;
    int err = chunk_seal(s->sealer, idx, false);
    raw = (f->total - f->sealed) / POOR_UNIT;
    *poor = err != SC_ENOMEM ? 0 : raw < UINT16_MAX ? (uint16_t)raw : UINT16_MAX;
    if (err == SC_EFORMAT)
        saver_lost(s, idx);
    else if (s->config->stream)
        publish_stream(s->publisher, idx);
    return arena_blocks_left(s->flows->arena) > before;
}

/* Seals one flow before its time: walks on from where it stopped, oldest activity first. True if that gave blocks back.
 */
static bool seal_early(struct savers *s)
{
    struct flows *fs = s->flows;
    uint32_t idx = s->pressure_at;
    if (s->config->gzip == GZIP_NONE && !s->config->stream) /* packed is as large as raw */
        return false;
    for (unsigned i = 0, in_vain = 0; i < PRESSURE_LOOKS && in_vain < PRESSURE_SEALS; i++) {
        if (idx == ARENA_NONE || fs->priv[idx].list[LANE_ACTIVITY] != LIST_ACTIVITY)
            idx = fs->list[LIST_ACTIVITY].head;
        if (idx == ARENA_NONE)
            return false;
        const struct flow *f = arena_flow(fs->arena, idx);
        uint32_t at = idx;
        uint64_t sealed = s->sealed;
        idx = fs->priv[idx].link[LANE_ACTIVITY].next;
        s->pressure_at = idx;
        if (f->stage != FLOW_OPEN || f->total - f->sealed < PRESSURE_GAIN)
            continue;
        if (saver_seal(s, at))
            return true;
        in_vain += s->sealed != sealed;
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
    if (idx != ARENA_NONE && idx == s->current)
        idx = s->flows->priv[idx].link[LANE_WORK].next;
    if (idx == ARENA_NONE)
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
bool savers_room(struct savers *s, enum room_for what)
{
    uint32_t need = what == ROOM_FOR_FLOW ? s->needed_new : s->needed;
    unsigned tries = what == ROOM_FOR_NAMED ? ROOM_TRIES_NAMED : ROOM_TRIES, seals = ROOM_TRIES;
    for (; tries > 0; tries--) {
        if (arena_blocks_left(s->flows->arena) > need)
            return true;
        if (saver_evict(s, LIST_HALFOPEN, CAUSE_HALFOPEN_EVICTED))
            continue;
        if (seals > 0 && (seal_early(s) || publish_make_room(s->publisher))) {
            seals--;
            continue;
        }
        seals = 0;
        if (what == ROOM_FOR_PACKET || !saver_evict(s, LIST_WAITING, CAUSE_BUDGET))
            break;
    }
    return arena_blocks_left(s->flows->arena) > need;
}

/* Of other unnamed flows none goes while the reserve has room for the name: theirs may be on its way, too. */
void saver_room_for_name(struct savers *s, uint32_t idx, bool evict)
{
    const struct arena *a = s->flows->arena;
    uint32_t before = s->current;
    s->current = idx;
    if (evict)
        (void)savers_room(s, ROOM_FOR_PACKET);
    for (unsigned i = 0; i < ROOM_TRIES && arena_blocks_left(a) <= s->needed && seal_early(s); i++)
        ;
    while (evict && arena_blocks_left(a) <= ARENA_LAST && saver_evict(s, LIST_WAITING, CAUSE_BUDGET))
        ;
    s->current = before;
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
