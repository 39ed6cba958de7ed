/* SPDX-License-Identifier: Apache-2.0
 * From an event to the shard that owns its flow: choice of the shard, number, journal, and pages for the bus. Knows
 * nothing of sockets: pages leave through a function. */
#ifndef HUB_PUBLISH_H
#define HUB_PUBLISH_H

#include <stddef.h>
#include <stdint.h>

#include "dispatcher/hub/journal.h"
#include "shared/clock.h"
#include "shared/counters.h"
#include "shared/flowevent.h"
#include "shared/siphash.h"

struct publish;

struct publish_setup {
    struct journal *journal; /* stays the caller's */
    const struct siphash_key *hash_key;
    unsigned shards;
    struct hub_page *counters;
    /* Hands one page to a shard's subscribers. A page that gets lost is asked for again by the shard. */
    void (*send)(void *ctx, unsigned shard, const void *bytes, size_t len);
    /* Is told every event that was taken, with or without an ID. */
    void (*on_event)(void *ctx, const struct flowevent *ev);
    void *ctx;
};

struct publish *publish_new(const struct publish_setup *setup); /* NULL: no memory */
void publish_free(struct publish *p); /* NULL is fine; what was not flushed stays journalled */

enum publish_result {
    PUBLISH_DONE,    /* in the journal; shard and seq are set */
    PUBLISH_NOTHING, /* accepted, but it names no flow: a close event without an ID */
    PUBLISH_REFUSED, /* counted under *bad_r */
};

struct publish_receipt {
    unsigned shard;
    uint64_t seq;
    enum flowevent_bad bad;
};

/* Parses one line from any source, counts it, and journals it for its shard. The line leaves with publish_flush, or
 * earlier if its page is full. */
enum publish_result publish_line(struct publish *p, const char *line, size_t len, struct mono now,
                                 struct publish_receipt *receipt);

/* The same for an event of our own that has an ID: nothing is parsed. */
enum publish_result publish_event(struct publish *p, const struct flowevent *ev, struct mono now,
                                  struct publish_receipt *receipt);

/* Journals an event of our own for that shard, whatever it is about; nobody else is told. */
void publish_to(struct publish *p, unsigned shard, const struct flowevent *ev, struct mono now);
/* The same for every shard. */
void publish_to_all(struct publish *p, const struct flowevent *ev, struct mono now);

/* Counts a line that its source had to refuse before parsing (too long). */
void publish_count_bad(struct publish *p, enum flowevent_bad bad);

/* Sends the pages that have lines. */
void publish_flush(struct publish *p);

/* Sends every shard the number that its next event will get (after a flush). */
void publish_heartbeat(struct publish *p);

#endif
