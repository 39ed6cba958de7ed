/* SPDX-License-Identifier: Apache-2.0
 * The end of a run: END into every ring. */
#ifndef CAPTURE_DRAIN_H
#define CAPTURE_DRAIN_H

#include "dispatcher/capture/control.h"
#include "dispatcher/capture/feed.h"
#include "shared/counters.h"

/* Waits until every ring has its END, however slow its shard is; publishes all before. Gives up when the supervisor is
 * gone (then the end of the shards' own sockets ends them), or when, after a second STOP, no shard consumes for 5 s.
 * Returns how many rings lack it. */
unsigned drain_end(struct control *control, struct feed *feed, struct dispatcher_page *page);

#endif
