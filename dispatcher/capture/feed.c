/* SPDX-License-Identifier: Apache-2.0
 * Feeds the rings.
 * Failure policy: what does not fit is dropped and counted (live) or waited for (-read); a ring whose consumer wrote an
 * impossible index is reported once and looks full until it is good again, the other rings go on. Counters move when
 * their packet has its fate, `delivered` last: a kill in between leaves a `delivered` that is too small by what was in
 * flight, and feed_settle of the next dispatcher sets it right. */
#include "dispatcher/capture/feed.h"

#include <stdlib.h>
#include <string.h>

#include "dispatcher/capture/dedup.h"
#include "dispatcher/capture/route.h"
#include "shared/anonymize.h"
#include "shared/frame.h"
#include "shared/ring.h"

#define PUBLISH_EVERY 64u /* records; a consumer that is awake can work while the burst goes on */
#define WAKE_SHARE 4u     /* with 1/4 of its ring full a sleeper is not left asleep until the end of a burst */

struct feed_ring {
    struct ring_producer ring;
    const struct shard_page *page;
    size_t map_bytes;
    int doorbell;
    unsigned unpublished; /* records */
    uint64_t counted;     /* packets that are in the counters */
    uint64_t backlog;     /* this ring's part of the gauge */
    bool urgent;          /* one of them is not a TICK: worth waking a sleeper, who else finds it after its nap */
    bool wake_owed;       /* the consumer slept when something urgent was published */
    bool kill_told;
    uint32_t kill_generation; /* of the shard, when it was told */
    bool addresses_owed;
    bool ended;
};

struct feed {
    struct feed_settings s;
    struct instant clock;
    int64_t tick; /* floor(clock / tick_ns) as last announced */
    struct instant until;
    int64_t wall_minus_mono;
    struct instant burst_now;
    size_t address_count;
    struct ring_address address[ANONYMIZE_EXEMPT_MAX];
    struct feed_ring ring[SHARDS_MAX];
};

struct feed *feed_new(const struct feed_settings *settings)
{
    struct feed *f = calloc(1, sizeof *f);
    if (f)
        f->s = *settings;
    return f;
}

void feed_free(struct feed *f)
{
    free(f);
}

int feed_add_ring(struct feed *f, unsigned shard, void *map, size_t map_bytes, const struct shard_page *page,
                  int doorbell)
{
    if (shard >= f->s.shards || shard >= SHARDS_MAX)
        return SC_EINVAL;
    struct feed_ring *r = &f->ring[shard];
    int rc = ring_producer_attach(&r->ring, map, map_bytes, shard_page_peer(page, f->s.thread));
    if (rc != SC_OK)
        return rc;
    r->page = page;
    r->map_bytes = map_bytes;
    r->doorbell = doorbell;
    int64_t last = atomic_load_explicit(&r->ring.shared->clock_ns, memory_order_relaxed); /* our predecessor is gone */
    if (last > f->clock.ns)
        f->clock.ns = last;
    return SC_OK;
}

int feed_attach_again(struct feed *f)
{
    int rc = SC_OK;
    for (unsigned i = 0; i < f->s.shards && rc == SC_OK; i++) {
        struct feed_ring *r = &f->ring[i];
        rc = feed_add_ring(f, i, r->ring.shared, r->map_bytes, r->page, r->doorbell);
    }
    return rc;
}

void feed_settle(struct feed *const *feeds, unsigned count)
{
    struct dispatcher_page *page = feeds[0]->s.page;
    uint64_t fates = 0;
    for (unsigned i = 0; i < feeds[0]->s.shards; i++) {
        uint64_t packets = 0;
        for (unsigned k = 0; k < count; k++) {
            struct feed_ring *r = &feeds[k]->ring[i];
            r->counted = r->ring.packets;
            packets += r->counted;
        }
        counter_set(&page->enqueued[i], packets);
        counter_set(&page->ring_backlog[i], 0);
        fates += packets;
    }
    for (unsigned c = 0; c < CAUSE_COUNT; c++)
        fates += counter_get(&page->drops[c]);
    counter_set(&page->delivered, fates);
}

/* Waking costs more than a burst takes: live, a sleeper is woken once for all of it. */
static bool wake_now(const struct feed *f, struct feed_ring *r, bool more_comes)
{
    return !more_comes || !f->s.live || ring_fill(&r->ring) >= r->ring.size / WAKE_SHARE;
}

/* more_comes: the burst goes on, and publish_pending follows. */
static void publish(struct feed *f, unsigned shard, bool more_comes)
{
    struct feed_ring *r = &f->ring[shard];
    struct dispatcher_page *page = f->s.page;
    bool sleeps = ring_publish(&r->ring, f->until, f->clock);
    uint64_t fresh = r->ring.packets - r->counted;
    r->wake_owed = r->wake_owed || (sleeps && r->urgent);
    r->unpublished = 0;
    r->urgent = false;
    if (fresh > 0) {
        counter_add_shared(&page->enqueued[shard], fresh);
        counter_add_shared(&page->delivered, fresh);
        r->counted = r->ring.packets;
    }
    if (r->wake_owed && wake_now(f, r, more_comes)) {
        r->wake_owed = false;
        if (r->doorbell >= 0)
            doorbell_ring(r->doorbell);
    }
}

static void publish_pending(struct feed *f)
{
    for (unsigned i = 0; i < f->s.shards; i++)
        if (f->ring[i].unpublished > 0 || f->ring[i].wake_owed)
            publish(f, i, false);
}

static void tell_kill(struct feed *f, unsigned shard)
{
    struct feed_ring *r = &f->ring[shard];
    uint32_t generation = atomic_load_explicit(&r->page->generation, memory_order_relaxed);
    if (r->kill_told && r->kill_generation == generation)
        return;
    r->kill_generation = generation;
    r->kill_told = f->s.kill(f->s.ctx, shard);
}

/* A record in the ring of a shard, or NULL when there is no room now. */
static struct ring_record *try_reserve(struct feed *f, unsigned shard, uint32_t payload_len)
{
    struct ring_record *rec = ring_reserve(&f->ring[shard].ring, payload_len);
    if (!rec && f->ring[shard].ring.peer_bad)
        tell_kill(f, shard);
    return rec;
}

/* The same, but -read waits for room. NULL: drop. */
static struct ring_record *reserve(struct feed *f, unsigned shard, uint32_t payload_len)
{
    struct ring_record *rec = try_reserve(f, shard, payload_len);
    if (rec || f->s.live || !ring_can_hold(&f->ring[shard].ring, payload_len))
        return rec;
    publish_pending(f);
    while (!rec && f->s.wait(f->s.ctx))
        rec = try_reserve(f, shard, payload_len);
    return rec;
}

static void commit(struct feed *f, unsigned shard, bool urgent)
{
    struct feed_ring *r = &f->ring[shard];
    ring_commit(&r->ring);
    r->urgent = r->urgent || urgent;
    if (++r->unpublished >= PUBLISH_EVERY)
        publish(f, shard, true);
}

/* A live ring that is full gets no TICK now; the next one, or any packet, brings the same news. */
static void tick_all(struct feed *f)
{
    for (unsigned i = 0; i < f->s.shards; i++) {
        struct ring_record *rec = reserve(f, i, 0);
        if (!rec)
            continue;
        rec->kind = RING_TICK;
        rec->clock_ns = f->clock.ns;
        commit(f, i, false);
    }
}

static void advance(struct feed *f, struct instant now)
{
    if (now.ns <= f->clock.ns)
        return;
    f->clock = now;
    int64_t tick = now.ns / f->s.tick_ns;
    if (tick > f->tick) {
        f->tick = tick;
        tick_all(f);
    }
}

void feed_burst(struct feed *f, struct mono mono, struct wall wall)
{
    f->wall_minus_mono = wall.ns - mono.ns;
    f->burst_now = (struct instant){mono.ns};
}

/* -read lives by the packets' own times, live capture by the machine's clock; neither goes back (advance). */
static struct instant instant_of(const struct feed *f, struct wall ts)
{
    if (!f->s.live)
        return (struct instant){ts.ns};
    struct instant t = {ts.ns - f->wall_minus_mono};
    return t.ns > f->burst_now.ns ? f->burst_now : t;
}

void feed_drop(struct feed *f, enum cause cause)
{
    counter_add_shared(&f->s.page->drops[cause], 1);
    counter_add_shared(&f->s.page->delivered, 1);
}

static void fill(struct ring_record *rec, const struct feed_packet *p, uint32_t caplen, const struct frame *frame,
                 uint64_t hash, struct instant clock)
{
    rec->kind = RING_PACKET;
    rec->linktype = (uint16_t)p->linktype;
    rec->if_index = p->if_index;
    rec->caplen = caplen;
    rec->wire_len = p->wire_len;
    rec->l3_off = frame->l3_off;
    rec->l4_off = frame->l4_off;
    rec->hdr_len = frame->hdr_len;
    rec->tcp_flags = frame->tcp_flags;
    rec->from_low = frame->from_low;
    rec->ts_ns = p->ts.ns;
    rec->clock_ns = clock.ns;
    rec->flow_hash = hash;
    rec->tcp_seq = frame->tcp_seq;
    rec->payload_len = frame->payload_len;
    frame_copy_header(frame, p->bytes, (uint8_t *)(rec + 1));
}

void feed_packet(struct feed *f, const struct feed_packet *p)
{
    struct frame frame;
    if (p->caplen > p->wire_len) { /* a lie somewhere in this record: its time is not believed either */
        feed_drop(f, CAUSE_BAD_RECORD);
        return;
    }
    advance(f, instant_of(f, p->ts)); /* dropped packets move the clock, too: it must not depend on the shards */
    uint32_t caplen = p->caplen < f->s.snaplen ? p->caplen : f->s.snaplen;
    enum cause cause = frame_parse(p->bytes, caplen, p->wire_len, p->linktype, &frame);
    if (cause != CAUSE_NONE) {
        feed_drop(f, cause);
        return;
    }
    struct route route = route_flow(&frame.key, &f->s.secret, f->s.shards);
    if (!route_sampled(route.hash, f->s.sample)) {
        feed_drop(f, CAUSE_SAMPLED);
        return;
    }
    if (f->s.dedup && dedup_seen(f->s.dedup, &frame, p->bytes, route.hash, p->if_index, f->clock)) {
        feed_drop(f, CAUSE_DUPLICATE);
        return;
    }
    struct ring_record *rec = reserve(f, route.shard, frame.hdr_len);
    if (!rec) {
        counter_add_shared(&f->s.page->ring_full[route.shard], 1);
        feed_drop(f, CAUSE_RING_FULL);
        return;
    }
    fill(rec, p, caplen, &frame, route.hash, f->clock);
    commit(f, route.shard, true);
}

void feed_flush(struct feed *f, struct instant until)
{
    f->until = until;
    publish_pending(f);
}

/* Addresses change what is masked, so they are brought as soon as there is room, in order with the packets. */
static void bring_addresses(struct feed *f, unsigned shard)
{
    uint32_t bytes = (uint32_t)(f->address_count * sizeof f->address[0]);
    struct ring_record *rec = try_reserve(f, shard, bytes);
    if (!rec)
        return;
    rec->kind = RING_ADDRESSES;
    rec->hdr_len = (uint16_t)bytes;
    rec->clock_ns = f->clock.ns;
    memcpy(rec + 1, f->address, bytes);
    commit(f, shard, true);
    f->ring[shard].addresses_owed = false;
}

void feed_addresses(struct feed *f, const struct ipaddr *addresses, size_t count)
{
    f->address_count = count < ANONYMIZE_EXEMPT_MAX ? count : ANONYMIZE_EXEMPT_MAX;
    memset(f->address, 0, sizeof f->address);
    for (size_t i = 0; i < f->address_count; i++) {
        f->address[i].len = addresses[i].len;
        memcpy(f->address[i].bytes, addresses[i].bytes, sizeof f->address[i].bytes);
    }
    for (unsigned i = 0; i < f->s.shards; i++) {
        f->ring[i].addresses_owed = true;
        bring_addresses(f, i);
    }
    publish_pending(f);
}

void feed_housekeep(struct feed *f, struct instant now, struct instant until)
{
    uint64_t flows = 0;
    f->until = until;
    advance(f, now);
    for (unsigned i = 0; i < f->s.shards; i++)
        flows += counter_get(&f->ring[i].page->c.flows_counted);
    for (unsigned i = 0; i < f->s.shards; i++) {
        struct feed_ring *r = &f->ring[i];
        if (r->addresses_owed)
            bring_addresses(f, i);
        /* relaxed: a cap that is late by one round is still a cap; pairs with the shard's relaxed load */
        atomic_store_explicit(&r->ring.shared->flows_global, flows, memory_order_relaxed);
        uint64_t backlog = ring_fill(&r->ring);
        counter_add_shared(&f->s.page->ring_backlog[i], backlog - r->backlog); /* modulo 2^64 */
        r->backlog = backlog;
        if (r->ring.peer_bad)
            tell_kill(f, i);
        publish(f, i, false);
    }
}

struct instant feed_clock(const struct feed *f)
{
    return f->clock;
}

unsigned feed_end(struct feed *f)
{
    unsigned missing = 0;
    for (unsigned i = 0; i < f->s.shards; i++) {
        struct feed_ring *r = &f->ring[i];
        if (r->ended)
            continue;
        struct ring_record *rec = try_reserve(f, i, 0);
        if (!rec) {
            if (r->unpublished > 0)
                publish(f, i, false);
            missing++;
            continue;
        }
        rec->kind = RING_END;
        rec->clock_ns = f->clock.ns;
        ring_commit(&r->ring);
        r->urgent = true;
        publish(f, i, false);
        r->ended = true;
    }
    return missing;
}

uint64_t feed_consumed(const struct feed *f)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < f->s.shards; i++)
        sum += atomic_load_explicit(&f->ring[i].ring.peer->cons, memory_order_relaxed);
    return sum;
}
