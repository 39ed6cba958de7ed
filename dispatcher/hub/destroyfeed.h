/* SPDX-License-Identifier: Apache-2.0
 * The kernel tells of each TCP socket that it destroys (NETLINK_SOCK_DIAG, groups SKNLGRP_INET_TCP_DESTROY and
 * SKNLGRP_INET6_TCP_DESTROY): with its cookie, so flows too short to be asked for get their names. No privilege is
 * needed, and nothing comes before bind(). Failure policy: what the buffer could not hold (ENOBUFS) is counted, and
 * healed by the shards' own questions. */
#ifndef HUB_DESTROYFEED_H
#define HUB_DESTROYFEED_H

#include "shared/clock.h"
#include "shared/counters.h"
#include "shared/evloop.h"
#include "shared/flowevent.h"

struct destroyfeed;

struct destroyfeed_setup {
    struct evloop *loop;
    const struct clock *clock;
    const char *prefix;        /* of the UUIDs; stays the caller's */
    struct hub_page *counters; /* destroyed, destroy_overruns */
    /* An open event that is `destroyed`; its time is when it was read */
    void (*on_event)(void *ctx, const struct flowevent *ev);
    void *ctx;
};

/* NULL with errno: no such feed here, or no memory. */
struct destroyfeed *destroyfeed_new(const struct destroyfeed_setup *setup);
void destroyfeed_free(struct destroyfeed *d); /* NULL is fine */

#endif
