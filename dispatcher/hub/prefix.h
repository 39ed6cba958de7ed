/* SPDX-License-Identifier: Apache-2.0
 * The prefix of names from socket cookies, where -uuid-prefix-file does not give it and tcp-info does: what stands
 * before the cookie in a UUID of tcp-info's whose end is the Cookie of its ID. All shards are told, and again every
 * PREFIX_AGAIN_NS, so that the journal can tell each new one.
 * Failure policy: a UUID of another form teaches nothing; one with another prefix is the newer truth, unless a file
 * gave one: then it is a warning, once. */
#ifndef HUB_PREFIX_H
#define HUB_PREFIX_H

#include <stdbool.h>

#include "shared/clock.h"
#include "shared/flowevent.h"
#include "shared/uuid.h"

#define PREFIX_AGAIN_NS (20 * NS_PER_SEC) /* the journal reaches back 60 s */

struct prefix {
    struct uuid known;      /* empty: not yet */
    bool given;             /* by the configuration */
    bool warned;            /* of another one */
    struct flowevent shows; /* what the shards are told */
    struct mono next;       /* when to tell it again */
};

/* given: empty if it is to be learned. */
void prefix_init(struct prefix *p, const struct uuid *given);

/* An event of tcp-info's. */
void prefix_learn(struct prefix *p, const struct flowevent *ev);

/* True if p->shows is to be told to the shards now. */
bool prefix_due(struct prefix *p, struct mono now);

#endif
