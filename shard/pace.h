/* SPDX-License-Identifier: Apache-2.0
 * How much time compression may take: idle CPU buys smaller files, pressure buys speed. A shard that has little to do
 * compresses small; its allowance is a flow of raw bytes (with zlib about 1 % of a core), so that the cost per packet
 * falls as the load grows, without a jump. A ring that fills up ends it at once. Pure; cannot fail. */
#ifndef SHARD_PACE_H
#define SHARD_PACE_H

#include <stdint.h>

#include "shard/encoder.h"
#include "shared/clock.h"

#define PACE_BYTES_PER_S 400000 /* about 4,000 packets */
#define PACE_SAVED_S 2          /* seconds of quiet that count */
#define PACE_FULL_SHARE 8u      /* with 1/8 of the ring waiting nothing is to be spent */

/* All zero at start. */
struct pace {
    int64_t at_ns;  /* of the last refill */
    int64_t credit; /* raw bytes */
};

/* What the next chunks may cost, with `backlog` of `ring_size` bytes waiting. */
enum effort pace_effort(struct pace *p, struct mono now, uint64_t backlog, uint64_t ring_size);
/* So many raw bytes took EFFORT_SMALL. */
void pace_spent(struct pace *p, uint64_t bytes);

#endif
