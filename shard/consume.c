/* SPDX-License-Identifier: Apache-2.0
 * One record after the other, each with one commit at its end that stores the new position. Failure policy: see
 * consume.h. */
#include "shard/consume.h"

#include <string.h>

#include "shard/crashpoint.h"
#include "shard/stage.h"
#include "shared/log.h"

/* Flow time never goes back, whatever a record says, nor does it run ahead of our own clock: one time far ahead would
 * end all deadlines for good. */
static struct instant clock_of(const struct consumer *c, int64_t clock_ns)
{
    int64_t before = arena_state(c->savers->flows->arena)->clock_ns;
    int64_t latest = clock_ns > before ? clock_ns : before;
    return (struct instant){latest < c->latest_ns ? latest : c->latest_ns};
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

static void name_opened(struct consumer *c, uint32_t idx, uint64_t hash, struct instant clock)
{
    struct savers *s = c->savers;
    bool named = intake_opened(c->intake, idx, hash, clock);
    saver_opened(s, idx, hash);
    if (!named && s->config->uuid_sources == UUID_SOURCE_HASH)
        (void)saver_name_by_hash(s, idx);
}

void consume_resume(struct consumer *c)
{
    const struct flows *fs = c->savers->flows;
    uint32_t idx = fs->list[LIST_YOUNG].tail; /* in order of birth after adoption */
    if (idx == ARENA_NONE)
        return;
    const struct flow *f = arena_flow(fs->arena, idx);
    if (f->birth + 1 == fs->births && f->packets == 1 && f->name == ARENA_NONE)
        name_opened(c, idx, flowkey_hash(&f->key, &c->savers->config->hash_key), (struct instant){f->first_clock});
}

/* The new flow, or ARENA_NONE: the packet was dropped and counted. */
static uint32_t open_flow(struct consumer *c, const struct packet *p)
{
    struct savers *s = c->savers;
    if (over_maxflows(c)) {
        savers_drop(s, &p->applied, p->clock, CAUSE_MAXFLOWS, 1);
        return ARENA_NONE;
    }
    enum cause paused = space_paused(s->publisher->space);
    if (paused != CAUSE_NONE) {
        savers_drop(s, &p->applied, p->clock, paused, 1);
        return ARENA_NONE;
    }
    if (!savers_room(s, ROOM_FOR_FLOW)) {
        savers_drop(s, &p->applied, p->clock, CAUSE_BUDGET, 1);
        return ARENA_NONE;
    }
    uint32_t idx = saver_open(s, p);
    if (idx != ARENA_NONE)
        name_opened(c, idx, p->hash, p->clock);
    return idx;
}

static void on_packet(struct consumer *c, const struct taken *t, struct instant clock)
{
    struct savers *s = c->savers;
    const struct ring_record *rec = &t->rec;
    struct packet p; /* field by field: nothing of it needs to be zero first */
    p.rec = rec;
    p.hdr = t->payload;
    p.hash = rec->flow_hash;
    p.applied = t->applied;
    p.clock = clock;
    if (!frame_from_copy(p.hdr, rec->hdr_len, rec->l3_off, rec->l4_off, &p.frame)) {
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
        idx = open_flow(c, &p);
    else
        saver_packet(s, idx, &p);
    if (c->kernel && idx != ARENA_NONE)
        kernel_names_seen(c->kernel, idx, (struct wall){rec->ts_ns}, p.clock);
}

static void commit_position(struct consumer *c, const struct taken *t, struct instant clock)
{
    struct arena *a = c->savers->flows->arena;
    struct arena_change ch = {.flow = ARENA_NONE};
    arena_set_applied(a, c->at, t->applied, clock.ns);
    arena_commit(a, &ch);
}

static void on_addresses(struct consumer *c, const struct ring_record *rec, const uint8_t *payload)
{
    struct ipaddr list[ANONYMIZE_EXEMPT_MAX] = {0};
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
    /* release: whoever reads a count reads the list that it counts; its reader comes in another life of this shard */
    atomic_store_explicit(&c->page->local.count, 0, memory_order_release);
    for (uint32_t i = 0; i < count; i++)
        c->page->local.address[i] = list[i];
    atomic_store_explicit(&c->page->local.count, count, memory_order_release);
    savers_addresses(c->savers);
}

/* Flows are spread over rings as over dispatchers: one that has ended says nothing of the others. */
bool consume_ended(struct consumer *c)
{
    if (arena_state(c->savers->flows->arena)->ended != (UINT32_C(1) << c->ring_count) - 1 || !consume_batch_done(c))
        return false;
    for (unsigned i = 0; i < c->ring_count; i++)
        if (ring_backlog(&c->rings[i]) > 0)
            return false;
    return true;
}

static void on_end(struct consumer *c, const struct taken *t, struct instant clock)
{
    arena_set_ended(c->savers->flows->arena, c->at, true);
    commit_position(c, t, clock);
}

/* A record that has cost two processes their lives: nobody looks into it again. */
static void leave_out(struct consumer *c, const struct taken *t, struct instant clock)
{
    log_warn("a record that ended this shard twice is left out position=%llu kind=%u", (unsigned long long)t->at,
             t->rec.kind);
    c->skip = 0;
    if (t->rec.kind == RING_PACKET)
        savers_drop(c->savers, &t->applied, clock, CAUSE_POISON, 1);
    else if (t->rec.kind == RING_END)
        on_end(c, t, clock);
    else
        commit_position(c, t, clock);
}

static void on_record(struct consumer *c, const struct taken *t)
{
    struct instant clock = clock_of(c, t->lost > 0 ? INT64_MIN : t->rec.clock_ns);
    stage_enter(c->page, STAGE_RECORD, t->at);
    arena_set_ended(c->savers->flows->arena, c->at, false); /* takes effect with what the record does */
    if (t->lost > 0) {
        savers_drop(c->savers, &t->applied, clock, CAUSE_BAD_RECORD, t->lost);
        return;
    }
    if (c->skip == t->at + 1) {
        leave_out(c, t, clock);
        return;
    }
    CRASHPOINT_VALUE("consume.record", t->rec.tcp_seq);
    switch (t->rec.kind) {
    case RING_PACKET:
        on_packet(c, t, clock);
        return;
    case RING_TICK:
        intake_advance(c->intake, clock);
        savers_advance(c->savers, clock);
        commit_position(c, t, clock);
        c->ticked = true;
        return;
    case RING_ADDRESSES:
        on_addresses(c, &t->rec, t->payload);
        commit_position(c, t, clock);
        return;
    case RING_END:
        intake_advance(c->intake, clock);
        on_end(c, t, clock);
        return;
    default: /* what did not check held no packet */
        commit_position(c, t, clock);
        return;
    }
}

_Static_assert(DISPATCHERS_MAX <= RING_ALIGN, "a position has room for the number of its ring");

/* Takes records out of the ring c->at. */
static void scan(struct consumer *c)
{
    struct ring_consumer *ring = &c->rings[c->at];
    int err = SC_OK;
    unsigned most = c->careful ? 1 : CONSUME_BATCH;
    stage_enter(c->page, STAGE_SCAN, ring->pos | c->at);
    while (err == SC_OK && c->batch_count < most) {
        struct taken *t = &c->batch[c->batch_count];
        t->lost = 0;
        t->at = ring->pos | c->at;
        err = ring_next(ring, &t->rec, &t->payload, &t->lost);
        flows_prefetch_table(c->savers->flows, t->rec.flow_hash);
        t->applied = (struct arena_applied){
            .position = ring->pos, .packets = ring->packets, .ring_generation = ring->shared->generation};
        if (err == SC_OK)
            t->lost = 0;
        else
            t->rec.kind = 0;
        c->batch_count += err == SC_OK || err == SC_EFORMAT;
    }
}

/* The next batch, from the rings in turn; brings what it will touch into the cache while others are waited for. */
static void take_batch(struct consumer *c)
{
    c->batch_next = c->batch_count = 0;
    c->latest_ns = c->clock ? c->clock->mono(c->clock->ctx).ns + CONSUME_SLACK_NS : INT64_MAX;
    for (unsigned i = 0; i < c->ring_count && c->batch_count == 0; i++) {
        c->at = (c->at + 1) % c->ring_count;
        scan(c);
    }
    c->savers->dispatcher = c->at;
    CRASHPOINT("consume.taken");
    /* Harmless for records of another kind, whose hash is 0. */
    const struct flows *fs = c->savers->flows;
    for (unsigned i = 0; i < c->batch_count; i++)
        c->batch[i].guess = flows_prefetch_slot(fs, c->batch[i].rec.flow_hash);
    for (unsigned i = 0; i < c->batch_count; i++)
        flows_prefetch_tail(fs, c->batch[i].guess);
}

bool consume_batch_done(const struct consumer *c)
{
    return c->batch_next == c->batch_count;
}

unsigned consume(struct consumer *c, unsigned most, uint64_t sealed)
{
    unsigned n = 0;
    c->savers->sealed = 0;
    while (n < most && c->savers->sealed < sealed) {
        if (c->batch_next == c->batch_count) {
            if (c->closing)
                break;
            if (c->ring_count > 1 && n > 0)
                ring_release(&c->rings[c->at]);
            take_batch(c);
            if (c->batch_count == 0)
                break;
        }
        on_record(c, &c->batch[c->batch_next++]);
        CRASHPOINT("consume.applied");
        n++;
    }
    /* The payloads of a batch stay in the ring until all of it is done. */
    if (n > 0 && c->batch_next == c->batch_count)
        ring_release(&c->rings[c->at]);
    CRASHPOINT("consume.released");
    c->careful = c->careful && n > 0;
    return n;
}
