/* SPDX-License-Identifier: Apache-2.0
 * The packet path: frame -> FlowKey -> shard -> header copy in that shard's ring; and the other records of a ring.
 * Knows nothing of libpcap; a test is a source as good as any. Allocates nothing after start, never blocks on live
 * capture. Balance kept at all times: page->delivered = sum(page->drops) + sum(page->enqueued), but for unpublished
 * records. */
#ifndef CAPTURE_FEED_H
#define CAPTURE_FEED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shared/cause.h"
#include "shared/clock.h"
#include "shared/counters.h"
#include "shared/err.h"
#include "shared/siphash.h"

struct dedup;
struct feed;

struct feed_settings {
    bool live;        /* ring full: live drops, -read waits */
    uint32_t snaplen; /* longer packets are cut to it */
    unsigned shards;
    unsigned thread;     /* which of -dispatchers; they share the page */
    uint32_t sample;     /* one flow of so many; 0 = all */
    struct dedup *dedup; /* the caller's; NULL = packets may be saved once for each interface */
    struct siphash_key secret;
    int64_t tick_ns;              /* a TICK goes to every ring when floor(clock / tick_ns) grows */
    struct dispatcher_page *page; /* counters; stays the caller's */

    /* The foreign index of this shard's ring is impossible: it should be killed. Once per generation of the shard;
     * false = could not be said now, try again. */
    bool (*kill)(void *ctx, unsigned shard);
    /* -read: a ring is full. Waits a little (everything is published before); false = give up, drop. */
    bool (*wait)(void *ctx);
    void *ctx;
};

struct feed_packet {
    const uint8_t *bytes; /* caplen of them */
    uint32_t caplen, wire_len;
    uint32_t if_index;
    int linktype; /* LINKTYPE_ value, known to frame.h */
    struct wall ts;
};

/* NULL when out of memory. */
struct feed *feed_new(const struct feed_settings *settings);
void feed_free(struct feed *f); /* NULL is fine; maps and doorbells are the caller's */

/* Takes over the ring of one shard where the last dispatcher left it. map is writable; page is the shard's, read-only;
 * doorbell -1 = none. Errors of ring_producer_attach. All must stay mapped until feed_free. */
int feed_add_ring(struct feed *f, unsigned shard, void *map, size_t map_bytes, const struct shard_page *page,
                  int doorbell) SC_MUST_CHECK;

/* Once more, where a dispatcher that went on until now has left the rings. Errors of ring_producer_attach. */
int feed_attach_again(struct feed *f) SC_MUST_CHECK;

/* After the last feed_add_ring: counts what a dispatcher that died had published, so that the balance is exact. */
void feed_settle(struct feed *const *feeds, unsigned count); /* one of each thread */

/* Live: the two clocks read together, before a burst. A packet's instant is its own time moved by their difference,
 * never before the last one, never in the future. */
void feed_burst(struct feed *f, struct mono mono, struct wall wall);

/* One packet that libpcap delivered: ends in a ring or under a cause. */
void feed_packet(struct feed *f, const struct feed_packet *p);

/* One that was delivered and is dropped for a cause that the caller found. Moves no clock. */
void feed_drop(struct feed *f, enum cause cause);

/* End of a burst: publishes what is pending. until: every packet captured up to here has been fed. */
void feed_flush(struct feed *f, struct instant until);

/* Between bursts, at least every tick_ns on live capture: moves the clock to now (TICKs), brings owed address records,
 * sums maxflows, refreshes gauges, publishes to every ring. -read passes its own last instant (feed_clock). */
void feed_housekeep(struct feed *f, struct instant now, struct instant until);
struct instant feed_clock(const struct feed *f);

/* The local addresses, for every shard: now where there is room, else by feed_housekeep. At most ANONYMIZE_EXEMPT_MAX
 * count. */
void feed_addresses(struct feed *f, const struct ipaddr *addresses, size_t count);

/* Puts END into every ring that has none yet and has room, and publishes. Returns how many still lack it. No packet may
 * be fed after the first call. */
unsigned feed_end(struct feed *f);

/* Bytes consumed by the shards together (as far as believed): moves whenever one of them works. */
uint64_t feed_consumed(const struct feed *f);

#endif
