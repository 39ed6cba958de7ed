/* SPDX-License-Identifier: Apache-2.0
 * The prefix of names from socket cookies, where -uuid-prefix-file does not give it and tcp-info does: what stands
 * before the cookie in a UUID of tcp-info's whose end is the Cookie of its ID. All shards are told, and again every
 * PREFIX_AGAIN_NS, so that the journal can tell each new one. What was learned stands in memory that a successor gets:
 * tcp-info tells of a connection once, and the next one may be long in coming.
 * Failure policy: a UUID of another form teaches nothing; one with another prefix is the newer truth, unless a file
 * gave one: then it is a warning, once. */
#ifndef HUB_PREFIX_H
#define HUB_PREFIX_H

#include <stdbool.h>

#include "shared/clock.h"
#include "shared/flowevent.h"
#include "shared/uuid.h"

#define PREFIX_BYTES 320                  /* of memory that outlives the hub */
#define PREFIX_AGAIN_NS (20 * NS_PER_SEC) /* the journal reaches back 60 s */

struct prefix {
    struct uuid known;      /* empty: not yet */
    bool given;             /* by the configuration */
    bool warned;            /* of another one */
    struct flowevent shows; /* what the shards are told */
    struct mono next;       /* when to tell it again */
    struct prefix_memory *memory;
};

/* given: empty if it is to be learned. memory: PREFIX_BYTES, aligned to 8, all zero at the very first; stays the
 * caller's. What a predecessor has learned is known, and due. */
void prefix_init(struct prefix *p, const struct uuid *given, void *memory);

/* An event of tcp-info's. */
void prefix_learn(struct prefix *p, const struct flowevent *ev);

/* True if p->shows is to be told to the shards now. */
bool prefix_due(struct prefix *p, struct mono now);

#endif
