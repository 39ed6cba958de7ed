/* SPDX-License-Identifier: Apache-2.0
 * The kernel source: UUIDs of the shard's own flows from the socket cookies that the kernel knows. A flow is asked for
 * when its handshake is complete, or when it is first seen in mid-stream, then again with growing gaps until
 * uuidwaitduration; at most KERNEL_ASKS_PER_SECOND a second, and never after RST. Destroyed sockets come by the bus
 * (hub: destroyfeed) and cover what was gone before it could be asked for.
 *
 * A socket whose cookie nobody had read before gets one for what is left of it in TIME_WAIT and another when it is
 * destroyed. The latter is the one that others are told, so an answer of TIME_WAIT is none while the hub tells of
 * destroyed sockets, until half of uuidwaitduration is over.
 *
 * Both kinds of news hold for the packets captured up to the moment T at which they were read, and are bound only once
 * all of those have been consumed:
 *  - an answer names the newest generation of the key with a first packet at or before T; if that one has ended on the
 * wire, only the answer of a closing socket counts, for a new connection of the same tuple may not be on the wire yet;
 *  - a destroyed socket names the oldest unnamed generation with a first packet at or before T that has ended; if one
 * may still end, the news is held until uuidwaitduration has passed. A cookie that has named a generation names no
 * other, also for two flow timeouts after that one is gone. T, and how far the capture has come, are read by
 * CLOCK_MONOTONIC; packets carry wall time, so that steps of that clock are reckoned in (shared/steps.h). A socket that
 * its own side aborted is told without the peer's port; which flow it was, the hub finds out (dispatcher/hub/aborts.h)
 * from the flows reset, which each shard tells it.
 *
 * Failure policy: no answer is no name; the flow waits, as for any source. */
#ifndef SHARD_KERNEL_NAMES_H
#define SHARD_KERNEL_NAMES_H

#include "shard/saver.h"
#include "shared/resetboard.h"
#include "shared/ring.h"
#include "shared/uuid_lookup.h"

#define KERNEL_ASKS_PER_SECOND 10000

struct kernel_names_deps {
    struct savers *savers;
    struct ring_consumer *rings;
    unsigned ring_count;
    const struct clock *clock;
    const char *prefix;        /* of the UUIDs; empty: to be told by kernel_names_prefix */
    struct reset_board *board; /* the hub's way to the names of aborted sockets */
    /* uuid_lookup_ask, or a test's own; NULL: nobody is asked */
    int (*ask)(void *ctx, const struct flowkey *key, uint32_t if_index, struct uuid_answer *out);
    void *ctx;
};

struct kernel_names;

/* Flows that wait for a name already (adoption) are asked for. All pointers stay the caller's. NULL: no memory. */
struct kernel_names *kernel_names_new(const struct kernel_names_deps *deps);
void kernel_names_free(struct kernel_names *k); /* NULL is fine */

/* idx has got a packet, captured at `at` by the wall clock and about `clock`: is asked for from now on if it is
 * unnamed, its handshake is complete and nobody asks yet. */
void kernel_names_seen(struct kernel_names *k, uint32_t idx, struct wall at, struct instant clock);

/* A socket of this key was destroyed, as read from the feed at `seen`. */
void kernel_names_destroyed(struct kernel_names *k, const struct flowkey *key, uint64_t cookie, struct mono seen);

/* A flow whose key has this hash got its name from elsewhere, and this is its cookie: it names no other of that key. */
void kernel_names_known(struct kernel_names *k, uint64_t hash, uint64_t cookie);

/* A UUID of tcp-info's shows the prefix, which was not given: flows whose cookie is known have waited for it. */
void kernel_names_prefix(struct kernel_names *k, const struct uuid *shows);

/* Asks what is due and binds what may be bound: a bounded slice. True if there was work. */
bool kernel_names_step(struct kernel_names *k);

/* In how many ns the next step is worth while: a millisecond at least, `most` at most (or sooner, if news come). */
int64_t kernel_names_pause(const struct kernel_names *k, int64_t most);

/* The end of the capture: everything is consumed. Asks for what is still unnamed and binds what there is. False if
 * there are nameless flows that were reset, which the hub may yet name, for a second at most: to be called again. */
bool kernel_names_finish(struct kernel_names *k);

#endif
