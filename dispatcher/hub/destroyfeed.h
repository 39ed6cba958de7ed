/* SPDX-License-Identifier: Apache-2.0
 * The kernel tells of each TCP socket that it destroys (NETLINK_SOCK_DIAG, groups SKNLGRP_INET_TCP_DESTROY and
 * SKNLGRP_INET6_TCP_DESTROY): with its cookie, so flows too short to be asked for get their names. No privilege is
 * needed, and nothing comes before bind(). The socket outlives the process: the supervisor keeps it, and an event
 * leaves it only once it has been handed on. Failure policy: what the buffer could not hold (ENOBUFS) is counted, and
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
    int fd;
    const char *prefix;        /* of the UUIDs, empty while not known; stays the caller's */
    struct hub_page *counters; /* destroyed, destroy_overruns */
    /* An open event that is `destroyed`; its time, and `seen`, is when it was read */
    void (*on_event)(void *ctx, const struct flowevent *ev);
    void *ctx;
};

/* A bound socket, with a buffer as large as we may make it (larger with CAP_NET_ADMIN), or -1 with errno: the kernel
 * has no such feed. */
int destroyfeed_open(void);

/* setup->fd, open by destroyfeed_open, becomes the feed's also on failure. NULL: no memory. */
struct destroyfeed *destroyfeed_new(const struct destroyfeed_setup *setup);
void destroyfeed_free(struct destroyfeed *d); /* NULL is fine */

#endif
