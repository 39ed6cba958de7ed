/* SPDX-License-Identifier: Apache-2.0
 * Up to which moment everything that a source captured has been read. Told by CLOCK_MONOTONIC, because others hold it
 * against moments of their own, also after the wall clock was set (packets carry wall time). Pure.
 * Failure policy: a packet whose time fits nowhere proves nothing beyond the begin of its burst. */
#ifndef CAPTURE_PROGRESS_H
#define CAPTURE_PROGRESS_H

#include <stdbool.h>

#include "dispatcher/capture/capture.h"
#include "shared/clock.h"
#include "shared/steps.h"

struct progress {
    struct mono until;
    struct wall last; /* the latest time of a packet of this burst; INT64_MIN: none */
};

/* A source that is opened at `now`. */
void progress_begin(struct progress *p, struct mono now);

/* A packet of the burst that runs. */
static inline void progress_packet(struct progress *p, struct wall ts)
{
    if (ts.ns > p->last.ns)
        p->last = ts;
}

/* The burst is over. began: its begin, and the last look of steps. drained: nothing more was there. */
void progress_burst(struct progress *p, const struct steps *steps, struct mono began, bool drained);

#endif
