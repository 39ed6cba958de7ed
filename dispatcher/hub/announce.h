/* SPDX-License-Identifier: Apache-2.0
 * Which connections the clients of -events.serve and the watchers of uuid.* are told: an open event of every connection
 * once its UUID is known, and a close event at its end. event socket, injection: what came, as it came; kernel: an open
 * event when a shard has found the name, or else at the end of the socket; then the close event. What one of the two
 * has told, the other does not tell again. Failure policy: a UUID that was told too long ago to be remembered is told
 * again. */
#ifndef HUB_ANNOUNCE_H
#define HUB_ANNOUNCE_H

#include <stdbool.h>

#include "shared/flowevent.h"
#include "shared/report.h"

struct announce;

/* on_event: an event in tcp-info's own form, without marks of ours. local: it is known to be of a loopback or
 * link-local connection, which tcp-info does not tell of. NULL: no memory. */
struct announce *announce_new(void (*on_event)(void *ctx, const struct flowevent *ev, bool local), void *ctx);
void announce_free(struct announce *a); /* NULL is fine */

/* An event of any source that the hub has taken. */
void announce_event(struct announce *a, const struct flowevent *ev);

/* The kernel has named a flow (REPORT_NAMED; other reports are ignored). */
void announce_report(struct announce *a, const struct report *r);

#endif
