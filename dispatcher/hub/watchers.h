/* SPDX-License-Identifier: Apache-2.0
 * What events.sock says to those who watch, one message each, "<topic> <json>":
 *   uuid.open, uuid.close    a connection has its UUID; it has ended (announce.h), in tcp-info's form
 *   flow.saved, flow.lost    a published file; a flow that gets none, and why
 *   shard.up, shard.down     a shard's process is ready; it is gone
 *   stats                    once a second: the sums of the family
 * Addresses are anonymized. In uuid.* that is without the addresses of this machine, which only the shards know: they
 * are masked, too.
 *
 * A PUB socket drops what comes faster than a subscriber's connection takes it, one message at a time, so messages wait
 * here and leave one by one. Failure policy: what finds no room is dropped and counted; nobody is waited for; while
 * nobody is connected nothing is even written. */
#ifndef HUB_WATCHERS_H
#define HUB_WATCHERS_H

#include <stddef.h>

#include "dispatcher/hub/pages.h"
#include "shared/clock.h"
#include "shared/evloop.h"
#include "shared/flowevent.h"
#include "shared/report.h"

#define WATCHERS_GAP_NS (100 * INT64_C(1000)) /* between two messages */
#define WATCHERS_ROOM (4u << 20)              /* bytes of messages that wait */
#define WATCHERS_MESSAGE 1024                 /* no message is longer */

struct watchers;

struct watchers_setup {
    struct evloop *loop;
    const struct clock *clock;
    const struct pages *pages;
    /* How many are connected; sends one message to all of them without waiting. */
    unsigned (*count)(void *ctx);
    void (*send)(void *ctx, const void *bytes, size_t len);
    void *ctx;
};

struct watchers *watchers_new(const struct watchers_setup *setup); /* NULL: no memory */
void watchers_free(struct watchers *w);                            /* NULL is fine */

/* An open or close event to be told. */
void watchers_event(struct watchers *w, const struct flowevent *ev);
void watchers_report(struct watchers *w, unsigned shard, const struct report *r);
/* Looks for shards that came or went, and says the sums when a second has passed. Call it some times a second. */
void watchers_tick(struct watchers *w);

#endif
