/* SPDX-License-Identifier: Apache-2.0
 * The other threads of -dispatchers: each captures its share of the same interfaces (PACKET_FANOUT_HASH) into rings of
 * its own. The first thread, live.c, decides what is captured; these follow. */
#ifndef CAPTURE_WORKERS_H
#define CAPTURE_WORKERS_H

#include <stddef.h>

#include "dispatcher/capture/feed.h"
#include "dispatcher/capture/links.h"
#include "dispatcher/capture/sources.h"
#include "shared/clock.h"
#include "shared/config.h"
#include "shared/counters.h"

struct workers;

struct workers_settings {
    struct feed *const *feeds; /* one for each thread */
    unsigned count;
    const struct config *config;
    struct dispatcher_page *page;
    const struct clock *clock;
    struct fanout *fanout;
};

/* Starts the threads, which wait for workers_set. To be called before the filter of system calls, which they get then,
 * too. NULL: no memory, or no threads. */
struct workers *workers_new(const struct workers_settings *settings);

/* From now on these interfaces are captured, with these addresses in the built-in filter and those exempt; at most
 * INTERFACES_MAX and ANONYMIZE_EXEMPT_MAX each. Returns when every thread has done what it can; at once after
 * workers_stop. */
void workers_set(struct workers *w, const struct link *const *links, size_t count, const struct ipaddr *hosts,
                 size_t host_count, const struct ipaddr *local, size_t local_count);

/* Has a thread not opened all it should? (It has said why.) Then workers_set is to be called again. */
bool workers_unmet(const struct workers *w);

/* Capture is over. `drain`: what the kernel has is fed first, and the rings are ended. Their sockets stay open, so that
 * no packet of theirs comes to others, until workers_free. */
void workers_stop(struct workers *w, bool drain);
void workers_free(struct workers *w); /* NULL is fine */

#endif
