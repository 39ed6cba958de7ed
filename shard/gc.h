/* SPDX-License-Identifier: Apache-2.0
 * Housekeeping: lets passed deadlines take effect from the heads of the FIFO lists, in bounded slices; nothing scans
 * the table. Failure policy: none of its own; what it ends is the saver's to count. */
#ifndef SHARD_GC_H
#define SHARD_GC_H

#include <stdbool.h>

#include "shard/saver.h"

struct gc {
    struct savers *savers;
    const struct clock *clock;
    int64_t tick;       /* last GC tick whose work is done */
    int64_t running_ns; /* time spent on the one in work */
};

/* Starts at the tick of `now` (the arena's clock). */
void gc_init(struct gc *g, struct savers *s, const struct clock *clock, struct instant now);

/* Ends at most `most` flows whose time is over at `now`. Returns true if there was one. */
bool gc_run(struct gc *g, struct instant now, unsigned most);

/* The end of the capture: finishes at most `most` flows. Returns true if there was one. */
bool gc_finish(struct gc *g, unsigned most);

#endif
