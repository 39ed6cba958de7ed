/* SPDX-License-Identifier: Apache-2.0
 * The shard's end of the event bus: subscribes to the hub's pages, notices what is missing (a gap in the numbers, a new
 * epoch, a heartbeat ahead of us, our own start) and asks bus/replay.sock for them until nothing is.
 * Failure policy: a page that does not parse is ignored (the next heartbeat shows the gap); a request without an answer
 * is repeated every second, for ever, and a connection over which nothing comes for a second is made anew; the shard
 * goes on without. */
#ifndef SHARD_BUSFEED_H
#define SHARD_BUSFEED_H

#include <stdbool.h>

#include "shared/bus.h"
#include "shared/clock.h"
#include "shared/counters.h"
#include "shared/flowevent.h"

struct busfeed;

struct busfeed_deps {
    const char *rundir;
    unsigned slot;
    const struct clock *clock;
    struct shard_counters *c;
    /* replayed: told by the first replay, so it may have been told to a predecessor of ours */
    void (*on_event)(void *ctx, const struct flowevent *ev, bool replayed);
    void *ctx;
};

/* Connects; the hub need not be there yet. NULL with a text in error. deps are copied, rundir is not kept. */
struct busfeed *busfeed_new(const struct busfeed_deps *deps, char error[BUS_ERROR]);
void busfeed_free(struct busfeed *f); /* NULL is fine */

/* Readable when busfeed_turn has something to do: subscription and requests. */
int busfeed_sub_fd(const struct busfeed *f);
int busfeed_req_fd(const struct busfeed *f);

/* Takes at most a few messages and asks for what is missing. Cheap when there is nothing. */
void busfeed_turn(struct busfeed *f);

/* True once a page has come on the subscription and the first replay is complete. */
bool busfeed_complete(const struct busfeed *f);

/* ---- for tests: one message without a socket ---- */

struct busfeed_state {
    uint64_t epoch, next;             /* number of the next event that we have not seen */
    uint64_t heard_epoch, heard_next; /* what the subscription says comes next */
    bool heard;                       /* a page has come on the subscription */
    bool started;                     /* the first replay is complete */
    bool asked;                       /* a request is on its way */
};

/* A page of the subscription, or of a replay. */
void busfeed_page(struct busfeed_state *st, const struct busfeed_deps *deps, const void *bytes, size_t len,
                  bool replay);
/* True if a replay has to be asked for. */
bool busfeed_wants_replay(const struct busfeed_state *st);

#endif
