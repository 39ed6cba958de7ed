/* SPDX-License-Identifier: Apache-2.0
 * What the clients of -events.serve are told, in tcp-info's own lines: an open event of every connection once its UUID
 * is known, and a close event at its end. event socket, injection: what came, as it came; kernel: an open event when a
 * shard has found the name, or else at the end of the socket; then the close event. As tcp-info does, it tells of no
 * loopback and no link-local connection. Addresses are whole: clients could not match them else. Failure policy: a UUID
 * that was told too long ago to be remembered is told again. */
#ifndef HUB_ANNOUNCE_H
#define HUB_ANNOUNCE_H

#include <stddef.h>

#include "shared/flowevent.h"
#include "shared/report.h"

struct announce;

/* line: with its newline. NULL: no memory. */
struct announce *announce_new(void (*on_line)(void *ctx, const char *line, size_t len), void *ctx);
void announce_free(struct announce *a); /* NULL is fine */

/* An event of any source that the hub has taken. */
void announce_event(struct announce *a, const struct flowevent *ev);

/* The kernel has named a flow (REPORT_NAMED; other reports are ignored). */
void announce_report(struct announce *a, const struct report *r);

#endif
