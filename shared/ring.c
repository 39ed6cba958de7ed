/* SPDX-License-Identifier: Apache-2.0
 * The single-producer single-consumer ring between dispatcher and shard.
 * Failure policy: neither side trusts the other. The producer accepts a foreign index only if it lies between the last
 * one accepted and the published end, and never computes an address from it. The consumer takes private copies, checks
 * them, and on anything odd goes to the published end with an exact count of the packets it had to skip. Nothing here
 * allocates, blocks, locks or logs; a full ring is a NULL. */
#include "shared/ring.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#define RING_MAGIC 0x52474353u /* "SCGR" */
#define RING_PREFETCH 512u     /* bytes ahead: about five packets */

_Static_assert(sizeof(struct ring_shared) <= RING_PAGE, "the header has one page");
_Static_assert(offsetof(struct ring_shared, slot) == 128, "the contract between two processes");
_Static_assert(sizeof(struct ring_shared) == 256, "the contract between two processes");
_Static_assert(sizeof(struct ring_peer) == 256, "the contract between two processes");
_Static_assert(offsetof(struct ring_peer, sleeping) == 128, "the contract between two processes");

/* The first bytes of a record: all that a PAD is sure to have, because less than a whole head may be left before the
 * wrap. */
struct ring_mark {
    uint32_t len;
    uint16_t kind;
    uint16_t zero;
    uint64_t zero2;
};
_Static_assert(sizeof(struct ring_mark) == RING_ALIGN, "a PAD may have no more than this");

/* Is index a beyond b? Indices are free-running and may pass 2^64. */
static bool beyond(uint64_t a, uint64_t b)
{
    return (int64_t)(a - b) > 0;
}

/* Store-load barrier of the sleep handshake. The thread sanitizer knows no fences; a seq_cst read-modify-write of one
 * word by both threads orders at least as much. */
static void fence_store_load(void)
{
#if defined(__SANITIZE_THREAD__)
#define RING_NO_FENCE 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define RING_NO_FENCE 1
#endif
#endif
#ifdef RING_NO_FENCE
    static _Atomic unsigned word;
    atomic_fetch_add_explicit(&word, 1, memory_order_seq_cst);
#else
    atomic_thread_fence(memory_order_seq_cst);
#endif
}

static uint64_t round_up(uint64_t n)
{
    return (n + RING_ALIGN - 1) & ~(uint64_t)(RING_ALIGN - 1);
}

static bool size_valid(uint64_t size)
{
    return size >= RING_MIN_SIZE && size <= (uint64_t)1 << 40 && (size & (size - 1)) == 0;
}

size_t ring_map_bytes(uint64_t size)
{
    return (size_t)(RING_PAGE + size);
}

int ring_format(void *map, uint64_t size, uint32_t generation, uint64_t start)
{
    struct ring_shared *s = map;
    if (!size_valid(size) || start % RING_ALIGN != 0)
        return SC_EINVAL;
    s->magic = RING_MAGIC;
    s->layout = RING_LAYOUT;
    s->size = size;
    s->generation = generation;
    for (int i = 0; i < 2; i++) {
        atomic_init(&s->slot[i].packets, 0);
        atomic_init(&s->slot[i].prod, start);
    }
    return SC_OK;
}

static int check_header(const struct ring_shared *s, size_t map_bytes)
{
    if (map_bytes < RING_PAGE)
        return SC_EFORMAT;
    if (s->magic != RING_MAGIC || s->layout != RING_LAYOUT)
        return SC_EVERSION;
    uint64_t size = s->size;
    if (!size_valid(size) || ring_map_bytes(size) > map_bytes)
        return SC_EFORMAT;
    return SC_OK;
}

/* Index of the slot with the larger prod; 0 when they are equal. */
static unsigned current_slot(const struct ring_shared *s)
{
    /* acquire: pairs with the release store of prod in ring_publish */
    uint64_t p0 = atomic_load_explicit(&s->slot[0].prod, memory_order_acquire);
    uint64_t p1 = atomic_load_explicit(&s->slot[1].prod, memory_order_acquire);
    return beyond(p1, p0) ? 1 : 0;
}

/* What is published: a consistent pair. A pair is overwritten only after a larger one stands in the other slot, so a
 * pair that is still the current one after it was read is whole. Bounded: a producer that keeps changing it is at work,
 * and the last pair read is then as good (it only miscounts `lost`). */
static void read_slot(const struct ring_shared *s, uint64_t *prod, uint64_t *packets)
{
    for (int tries = 0; tries < 64; tries++) {
        unsigned i = current_slot(s);
        *prod = atomic_load_explicit(&s->slot[i].prod, memory_order_acquire); /* pairs with ring_publish */
        /* acquire: pairs with the release store of packets in ring_publish; whoever sees a newer count sees the other
         * slot's larger prod in the next line */
        *packets = atomic_load_explicit(&s->slot[i].packets, memory_order_acquire);
        if (current_slot(s) == i && atomic_load_explicit(&s->slot[i].prod, memory_order_acquire) == *prod)
            return;
    }
}

/* ---- producer ---- */

int ring_producer_attach(struct ring_producer *p, void *map, size_t map_bytes, const struct ring_peer *peer)
{
    struct ring_shared *s = map;
    int rc = check_header(s, map_bytes);
    if (rc != SC_OK)
        return rc;
    uint64_t prod, packets;
    read_slot(s, &prod, &packets);
    if (prod % RING_ALIGN != 0)
        return SC_EFORMAT;
    *p = (struct ring_producer){
        .shared = s,
        .peer = peer,
        .data = (uint8_t *)map + RING_PAGE,
        .size = s->size,
        .prod = prod,
        .published = prod,
        .packets = packets,
        .cons_seen = prod - s->size, /* full, until the foreign index says better */
    };
    (void)ring_fill(p);
    return SC_OK;
}

/* One look at the foreign index; accepted only inside [cons_seen, published]. A refused one leaves the old in place, so
 * that at worst the ring looks full. */
static void look_at_peer(struct ring_producer *p)
{
    /* acquire: pairs with ring_release; the consumer is done with the bytes below */
    uint64_t cons = atomic_load_explicit(&p->peer->cons, memory_order_acquire);
    if (p->published - cons <= p->published - p->cons_seen && cons % RING_ALIGN == 0) {
        p->cons_seen = cons;
        p->peer_bad = false;
    } else {
        p->peer_bad = true;
    }
}

uint64_t ring_fill(struct ring_producer *p)
{
    look_at_peer(p);
    return p->prod - p->cons_seen;
}

bool ring_can_hold(const struct ring_producer *p, uint32_t payload_len)
{
    /* A record may need a PAD nearly as long as itself before it; half the ring is what fits wherever it falls. */
    return sizeof(struct ring_record) + round_up(payload_len) <= p->size / 2;
}

struct ring_record *ring_reserve(struct ring_producer *p, uint32_t payload_len)
{
    uint64_t need = sizeof(struct ring_record) + round_up(payload_len);
    if (!ring_can_hold(p, payload_len))
        return NULL;
    uint64_t off = p->prod & (p->size - 1);
    uint64_t pad = off + need > p->size ? p->size - off : 0;
    if (p->peer_bad || p->prod - p->cons_seen + pad + need > p->size) {
        look_at_peer(p);
        if (p->peer_bad || p->prod - p->cons_seen + pad + need > p->size)
            return NULL;
    }
    if (pad > 0) {
        struct ring_mark mark = {.len = (uint32_t)pad, .kind = RING_PAD};
        memcpy(p->data + off, &mark, sizeof mark);
        off = 0;
    }
    struct ring_record *rec = (struct ring_record *)(void *)(p->data + off);
    memset(rec, 0, sizeof *rec);
    rec->len = (uint32_t)need;
    if (need > sizeof *rec) /* the bytes that round the payload up: nothing old is to show there */
        memset(p->data + off + need - RING_ALIGN, 0, RING_ALIGN);
    p->reserved = pad + need;
    return rec;
}

void ring_commit(struct ring_producer *p)
{
    const struct ring_record *rec;
    uint64_t end = p->prod + p->reserved;
    uint64_t off = p->prod & (p->size - 1);
    if (p->reserved == 0)
        return;
    /* With a PAD before it the record stands at the start of the data area. */
    rec = (const struct ring_record *)(const void *)(off + p->reserved > p->size ? p->data : p->data + off);
    if (rec->kind == RING_PACKET)
        p->packets++;
    p->prod = end;
    p->reserved = 0;
}

bool ring_publish(struct ring_producer *p, struct instant captured_until, struct instant clock)
{
    struct ring_shared *s = p->shared;
    bool fresh = p->prod != p->published;
    if (fresh) {
        struct ring_slot *slot = &s->slot[1 - current_slot(s)];
        /* release: pairs with the acquire load of packets in read_slot, which must not see it without the other slot */
        atomic_store_explicit(&slot->packets, p->packets, memory_order_release);
        /* release: pairs with the acquire loads of prod in current_slot; records before index */
        atomic_store_explicit(&slot->prod, p->prod, memory_order_release);
        p->published = p->prod;
    }
    /* release: pairs with the consumer's acquire load; whoever sees this time finds everything up to it published */
    atomic_store_explicit(&s->clock_ns, clock.ns, memory_order_release);
    atomic_store_explicit(&s->captured_until_ns, captured_until.ns, memory_order_release);
    if (!fresh)
        return false;
    fence_store_load(); /* pairs with the fence in ring_consumer_will_sleep: one of the two sees the other's store */
    return atomic_load_explicit(&p->peer->sleeping, memory_order_relaxed) != 0; /* pairs with will_sleep's store */
}

/* ---- consumer ---- */

static int consumer_init(struct ring_consumer *c, const void *map, size_t map_bytes, struct ring_peer *peer)
{
    const struct ring_shared *s = map;
    int rc = check_header(s, map_bytes);
    if (rc != SC_OK)
        return rc;
    *c = (struct ring_consumer){
        .shared = s,
        .peer = peer,
        .data = (const uint8_t *)map + RING_PAGE,
        .size = s->size,
    };
    return SC_OK;
}

static void consumer_start(struct ring_consumer *c, uint64_t pos, uint64_t packets, uint64_t prod)
{
    c->pos = pos;
    c->packets = packets;
    c->prod_seen = prod;
    ring_release(c);
    ring_consumer_woke(c);
}

int ring_consumer_attach(struct ring_consumer *c, const void *map, size_t map_bytes, struct ring_peer *peer,
                         uint64_t pos, uint64_t packets)
{
    int rc = consumer_init(c, map, map_bytes, peer);
    if (rc != SC_OK)
        return rc;
    uint64_t prod, count;
    read_slot(c->shared, &prod, &count);
    prod &= ~(uint64_t)(RING_ALIGN - 1);
    if (pos % RING_ALIGN != 0 || prod - pos > c->size)
        return SC_EFORMAT;
    consumer_start(c, pos, packets, prod);
    return SC_OK;
}

int ring_consumer_attach_end(struct ring_consumer *c, const void *map, size_t map_bytes, struct ring_peer *peer,
                             uint64_t packets, uint64_t *lost)
{
    int rc = consumer_init(c, map, map_bytes, peer);
    if (rc != SC_OK)
        return rc;
    uint64_t prod, count;
    read_slot(c->shared, &prod, &count);
    *lost = beyond(count, packets) ? count - packets : 0;
    prod &= ~(uint64_t)(RING_ALIGN - 1);
    consumer_start(c, prod, count, prod);
    return SC_OK;
}

/* Skips to the published end. The count is exact as long as the producer's is sane: at most as many packets as heads
 * fit into the ring. */
static int resync(struct ring_consumer *c, uint64_t *lost)
{
    uint64_t prod, packets;
    read_slot(c->shared, &prod, &packets);
    uint64_t most = c->size / sizeof(struct ring_record);
    uint64_t n = packets - c->packets;
    *lost = n <= most ? n : 0;
    c->pos = c->prod_seen = prod & ~(uint64_t)(RING_ALIGN - 1);
    c->packets = packets;
    return SC_EFORMAT;
}

/* Looks for more. An index that is not aligned is taken as the aligned one below it. */
static void look_at_producer(struct ring_consumer *c)
{
    unsigned i = current_slot(c->shared);
    /* acquire: pairs with the release store of prod in ring_publish */
    uint64_t prod = atomic_load_explicit(&c->shared->slot[i].prod, memory_order_acquire);
    c->prod_seen = prod & ~(uint64_t)(RING_ALIGN - 1);
}

/* Every entry has one of the two lengths and nothing in its gap. */
static bool addresses_valid(const uint8_t *payload, uint32_t len)
{
    for (uint32_t i = 0; i + sizeof(struct ring_address) <= len; i += (uint32_t)sizeof(struct ring_address)) {
        struct ring_address a;
        memcpy(&a, payload + i, sizeof a);
        if ((a.len != 4 && a.len != 16) || a.zero[0] != 0 || a.zero[1] != 0 || a.zero[2] != 0)
            return false;
    }
    return len % sizeof(struct ring_address) == 0;
}

/* Fields of a record that has a whole head and whose len is already checked. */
static bool record_valid(const struct ring_record *r, const uint8_t *payload)
{
    uint32_t room = r->len - (uint32_t)sizeof *r;
    if (r->hdr_len > room || room - r->hdr_len >= RING_ALIGN || r->zero[0] != 0 || r->zero[1] != 0 || r->zero[2] != 0 ||
        r->zero[3] != 0)
        return false;
    switch (r->kind) {
    case RING_PACKET:
        return r->hdr_len <= r->caplen && r->caplen <= r->wire_len && r->l3_off < r->l4_off &&
               (uint32_t)r->l4_off + 20 <= r->hdr_len && r->from_low <= 1;
    case RING_TICK:
    case RING_END:
        return room == 0;
    case RING_ADDRESSES:
        return addresses_valid(payload, r->hdr_len);
    default:
        return false;
    }
}

int ring_next(struct ring_consumer *c, struct ring_record *rec, const uint8_t **payload, uint64_t *lost)
{
    for (;;) {
        if (c->pos == c->prod_seen) {
            look_at_producer(c);
            if (c->pos == c->prod_seen)
                return SC_EAGAIN;
        }
        uint64_t avail = c->prod_seen - c->pos; /* a multiple of RING_ALIGN, not 0 */
        uint64_t off = c->pos & (c->size - 1);
        if (avail > c->size)
            return resync(c, lost);
        const uint8_t *at = c->data + off;
        struct ring_mark mark; /* read once: what is checked is what is used */
        memcpy(&mark, at, sizeof mark);
        if (mark.len == 0 || mark.len % RING_ALIGN != 0 || mark.len > avail || mark.len > c->size - off)
            return resync(c, lost);
        if (mark.kind == RING_PAD) {
            if (mark.len != c->size - off)
                return resync(c, lost);
            c->pos += mark.len;
            continue;
        }
        if (mark.len < sizeof *rec)
            return resync(c, lost);
        __builtin_prefetch(c->data + ((off + RING_PREFETCH) & (c->size - 1)));
        memcpy(rec, at, sizeof *rec);
        memcpy(rec, &mark, sizeof mark);
        if (!record_valid(rec, at + sizeof *rec))
            return resync(c, lost);
        *payload = at + sizeof *rec;
        c->pos += mark.len;
        c->packets += rec->kind == RING_PACKET;
        return SC_OK;
    }
}

void ring_release(struct ring_consumer *c)
{
    /* release: pairs with the acquire load in look_at_peer; reads of the bytes below come first */
    atomic_store_explicit(&c->peer->cons, c->pos, memory_order_release);
}

uint64_t ring_backlog(struct ring_consumer *c)
{
    look_at_producer(c);
    uint64_t n = c->prod_seen - c->pos;
    return n <= c->size ? n : c->size;
}

bool ring_consumer_will_sleep(struct ring_consumer *c)
{
    /* relaxed: the fence orders it; pairs with the load of sleeping in ring_publish */
    atomic_store_explicit(&c->peer->sleeping, 1, memory_order_relaxed);
    fence_store_load(); /* pairs with the fence in ring_publish: one of the two sees the other's store */
    look_at_producer(c);
    if (c->prod_seen == c->pos)
        return true;
    ring_consumer_woke(c);
    return false;
}

void ring_consumer_woke(struct ring_consumer *c)
{
    /* relaxed: a stale 1 costs the producer one doorbell, nothing else; pairs with the load in ring_publish */
    atomic_store_explicit(&c->peer->sleeping, 0, memory_order_relaxed);
}

/* ---- doorbell ---- */

void doorbell_ring(int fd)
{
    ssize_t n;
    do
        n = send(fd, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
}

int doorbell_drain(int fd)
{
    char bytes[256];
    /* Bounded, because a hostile peer may write without end; what is left rings again. */
    for (int i = 0; i < 64; i++) {
        ssize_t n = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
        if (n > 0 && (size_t)n < sizeof bytes)
            return SC_OK; /* that was all */
        if (n > 0)
            continue;
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return SC_OK;
        return SC_EOF;
    }
    return SC_OK;
}
