/* SPDX-License-Identifier: Apache-2.0
 * The server side of tcp-info's event protocol (-events.serve): each client of a unix stream socket gets every line
 * from the moment it connects on; nothing is replayed. One that closes its own direction only (nc -N, socat -u) goes on
 * reading and is served. All clients read from one buffer, each at its own place. Failure
 * policy: nobody is waited for; a client that falls behind by SERVE_ROOM is cut and counted, and may connect again. */
#ifndef HUB_SERVE_H
#define HUB_SERVE_H

#include <stdbool.h>
#include <stddef.h>

#include "shared/clock.h"
#include "shared/counters.h"
#include "shared/evloop.h"

#define SERVE_CLIENTS 32
#define SERVE_ROOM ((size_t)4 << 20)

struct serve;

/* listener, a listening unix socket, becomes the server's also on failure. NULL: no memory. */
struct serve *serve_new(struct evloop *loop, const struct clock *clock, int listener, struct hub_page *counters);
void serve_free(struct serve *s); /* NULL is fine */

/* Is anybody there to be told? */
bool serve_wanted(const struct serve *s);

/* Gives a line (with its newline, at most SERVE_ROOM bytes) to everybody who is connected. */
void serve_line(struct serve *s, const char *line, size_t len);

#endif
