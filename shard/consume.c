/* SPDX-License-Identifier: Apache-2.0
 * One record after the other, each with one commit at its end that stores the new position. Failure policy: see
 * consume.h. */
#include "shard/consume.h"

#include <string.h>

#include "shared/log.h"

static struct arena_applied applied_now(const struct consumer *c)
{
    return (struct arena_applied){
        .position = c->ring->pos, .packets = c->ring->packets, .ring_generation = c->ring->shared->generation};
}

/* Flow time never goes back, whatever a record says. */
static struct instant clock_of(const struct consumer *c, int64_t clock_ns)
{
    int64_t before = arena_state(c->savers->flows->arena)->clock_ns;
    return (struct instant){clock_ns > before ? clock_ns : before};
}

static bool over_maxflows(const struct consumer *c)
{
    uint64_t most = c->savers->config->maxflows;
    if (most == 0)
        return false;
    /* relaxed: a gauge of the dispatcher's, a few records old at best */
    uint64_t all = atomic_load_explicit(&c->shared->flows_global, memory_order_relaxed);
    return all >= most || counter_get(&c->savers->c->flows_counted) >= most;
}

static void open_flow(struct consumer *c, const struct packet *p)
{
    struct savers *s = c->savers;
    if (over_maxflows(c)) {
        savers_drop(s, &p->applied, p->clock, CAUSE_MAXFLOWS, 1);
        return;
    }
    if (!savers_room(s, true)) {
        savers_drop(s, &p->applied, p->clock, CAUSE_BUDGET, 1);
        return;
    }
    uint32_t idx = saver_open(s, p);
    if (idx == ARENA_NONE || intake_opened(c->intake, idx, p))
        return;
    if (s->config->uuid_sources == UUID_SOURCE_HASH)
        (void)saver_name_by_hash(s, idx);
}

static void on_packet(struct consumer *c, const struct ring_record *rec, const uint8_t *payload)
{
    struct savers *s = c->savers;
    struct packet p = {.rec = rec, .hdr = payload, .hash = rec->flow_hash, .applied = applied_now(c)};
    p.clock = clock_of(c, rec->clock_ns);
    if (!frame_from_copy(payload, rec->hdr_len, rec->l3_off, rec->l4_off, &p.frame)) {
        savers_drop(s, &p.applied, p.clock, CAUSE_BAD_RECORD, 1);
        return;
    }
    intake_advance(c->intake, p.clock);
    uint32_t idx = flows_find(s->flows, p.hash, &p.frame.key);
    if (idx != ARENA_NONE && !saver_settle(s, idx, p.clock))
        idx = flows_find(s->flows, p.hash, &p.frame.key);
    if (idx != ARENA_NONE) {
        const struct flow *f = arena_flow(s->flows->arena, idx);
        if (!(f->flags & FLOW_GONE) && saver_reused(f, &p.frame))
            idx = saver_end(s, idx) ? idx : ARENA_NONE;
    }
    if (idx == ARENA_NONE || arena_flow(s->flows->arena, idx)->flags & FLOW_GONE)
        open_flow(c, &p);
    else
        saver_packet(s, idx, &p);
}

static void commit_position(struct consumer *c, struct instant clock)
{
    struct arena *a = c->savers->flows->arena;
    struct arena_change ch = {.flow = ARENA_NONE};
    arena_set_applied(a, 0, applied_now(c), clock.ns);
    arena_commit(a, &ch);
}

static void on_addresses(struct consumer *c, const struct ring_record *rec, const uint8_t *payload)
{
    struct ipaddr list[ANONYMIZE_EXEMPT_MAX];
    uint32_t count = 0;
    for (size_t at = 0; at + sizeof(struct ring_address) <= rec->hdr_len && count < ANONYMIZE_EXEMPT_MAX;
         at += sizeof(struct ring_address)) {
        struct ring_address a;
        memcpy(&a, payload + at, sizeof(a));
        if (a.len != 4 && a.len != 16)
            continue;
        list[count] = (struct ipaddr){.len = a.len};
        memcpy(list[count++].bytes, a.bytes, a.len);
    }
    arena_set_addresses(c->savers->flows->arena, list, count);
    savers_addresses(c->savers);
}

static void on_record(struct consumer *c, const struct ring_record *rec, const uint8_t *payload)
{
    struct instant clock;
    switch (rec->kind) {
    case RING_PACKET:
        on_packet(c, rec, payload);
        return;
    case RING_TICK:
        clock = clock_of(c, rec->clock_ns);
        intake_advance(c->intake, clock);
        savers_advance(c->savers, clock);
        commit_position(c, clock);
        c->ticked = true;
        return;
    case RING_ADDRESSES:
        on_addresses(c, rec, payload);
        commit_position(c, clock_of(c, rec->clock_ns));
        return;
    case RING_END:
        clock = clock_of(c, rec->clock_ns);
        intake_advance(c->intake, clock);
        arena_set_ended(c->savers->flows->arena);
        commit_position(c, clock);
        c->ended = true;
        return;
    default:
        return;
    }
}

unsigned consume(struct consumer *c, unsigned most, uint64_t sealed)
{
    struct ring_record rec;
    const uint8_t *payload;
    unsigned n = 0;
    c->savers->sealed = 0;
    for (; n < most && !c->ended && c->savers->sealed < sealed; n++) {
        uint64_t lost = 0;
        int err = ring_next(c->ring, &rec, &payload, &lost);
        if (err == SC_OK) {
            on_record(c, &rec, payload);
        } else if (err == SC_EFORMAT) {
            struct arena_applied applied = applied_now(c);
            savers_drop(c->savers, &applied, clock_of(c, INT64_MIN), CAUSE_BAD_RECORD, lost);
        } else {
            break;
        }
    }
    return n;
}
