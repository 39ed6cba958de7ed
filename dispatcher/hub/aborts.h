/* SPDX-License-Identifier: Apache-2.0
 * Ends of sockets that their own side aborted (SO_LINGER 0): the kernel tells them with the local port and the peer's
 * address alone (and the local address of a socket that was bound to one). Matched with the flows that the shards saw
 * reset by that end (resetboard.h), of all shards together, once all have told everything up to the moment T at which
 * the event was read.
 *
 * Rule: an event belongs to a flow that was reset at or before T. Among the events of one port and peer in the order of
 * T (of CLOCK_MONOTONIC), as soon as n events have n flows to choose from, these are theirs and nobody else's; where n
 * is 1, that flow is named by that event: the event is completed and goes the way of any other. Where n is more, no
 * evidence is left: the order in which the kernel tells is none (measured: under load 59 of 6,000 sockets, one after
 * the other, were told in another order than they were aborted, by up to 19 ms).
 *
 * Failure policy: what cannot be told apart within the wait names nothing and is counted (uuid_ambiguous). An event
 * without any flow is a socket whose packets are not captured. After a note was missed nothing is bound that may be
 * concerned. A hub that dies leaves the events in the journal, under the first shard, which does not heed them; its
 * successor recalls them. */
#ifndef HUB_ABORTS_H
#define HUB_ABORTS_H

#include "dispatcher/hub/journal.h"
#include "shared/clock.h"
#include "shared/counters.h"
#include "shared/flowevent.h"
#include "shared/siphash.h"

#define ABORTS_MAX 16384u /* events, and likewise flows, that are known at a time */
#define ABORTS_GROUP 256u /* of one port and peer: more are not told apart */

struct aborts;

struct aborts_setup {
    unsigned shards;
    const struct shard_page *const *pages; /* of each shard; stay the caller's, as the counters */
    int64_t wait_ns;                       /* uuidwaitduration */
    const struct siphash_key *hash_key;    /* secret: who can choose addresses must not choose buckets */
    struct hub_page *counters;             /* uuid_ambiguous */
    void (*on_complete)(void *ctx, const struct flowevent *ev);
    void *ctx;
};

struct aborts *aborts_new(const struct aborts_setup *setup); /* NULL: no memory. The setup is copied */
void aborts_free(struct aborts *a);                          /* NULL is fine */

/* An event of the destroy feed with dport 0. */
void aborts_event(struct aborts *a, const struct flowevent *ev);

/* Takes what a hub before this one had journalled under the first shard and may not have decided. */
void aborts_recall(struct aborts *a, const struct journal *j, struct mono now);

/* Entries of the tables that were looked at so far: the work done. */
uint64_t aborts_looked(const struct aborts *a);

/* Reads what the shards have told and decides. To be called a few times a second. */
void aborts_turn(struct aborts *a, struct mono now);

#endif
