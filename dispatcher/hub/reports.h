/* SPDX-License-Identifier: Apache-2.0
 * Takes in what the shards tell of single flows (shared/report.h). A bounded number per turn of the loop: a shard that
 * tells without end holds up nobody but itself. Failure policy: what does not check is dropped and logged, at most once
 * a second. */
#ifndef HUB_REPORTS_H
#define HUB_REPORTS_H

#include "shared/clock.h"
#include "shared/evloop.h"
#include "shared/proto.h"
#include "shared/report.h"

struct reports;

/* Takes the sockets of all shards out of the attachment (one that did not come is passed over). NULL: no memory. */
struct reports *reports_new(struct evloop *loop, const struct clock *clock, struct proto_attachment *a, unsigned shards,
                            void (*on_report)(void *ctx, unsigned shard, const struct report *r), void *ctx);
void reports_free(struct reports *r); /* NULL is fine */

#endif
