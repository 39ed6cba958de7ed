/* SPDX-License-Identifier: Apache-2.0
 * Client of tcp-info's event socket: a unix stream of FlowEvent lines. Connects whenever the server is there,
 * reconnects for ever (0.1 s doubling to 5 s), survives any bytes. The connection outlives the process: it is handed to
 * the supervisor before it is made, and what was read of it stands in memory that a successor takes over. */
#ifndef HUB_EVENTSOCKET_H
#define HUB_EVENTSOCKET_H

#include <stddef.h>

#include "shared/clock.h"
#include "shared/counters.h"
#include "shared/evloop.h"

struct eventsocket;

struct eventsocket_setup {
    struct evloop *loop;
    const struct clock *clock;
    const char *path;          /* stays the caller's */
    void *memory;              /* HALFLINE_BYTES that a successor gets */
    int fd;                    /* a predecessor's connection, which becomes ours; -1 = none */
    struct hub_page *counters; /* eventsocket_up, eventsocket_connects */
    void (*on_line)(void *ctx, const char *line, size_t len);
    void (*on_too_long)(void *ctx);
    void (*keep)(void *ctx, int fd); /* gives a successor a copy of fd */
    void *ctx;
};

/* Begins at the loop's next turn. NULL: no memory, or the path is longer than a socket's name can be. */
struct eventsocket *eventsocket_new(const struct eventsocket_setup *setup);
void eventsocket_free(struct eventsocket *e); /* NULL is fine */

/* The wait after one of delay_ns: doubled, at most EVENTSOCKET_RETRY_MAX. */
#define EVENTSOCKET_RETRY_MIN (100 * NS_PER_MS)
#define EVENTSOCKET_RETRY_MAX (5 * NS_PER_SEC)
int64_t eventsocket_next_delay(int64_t delay_ns);

#endif
