/* SPDX-License-Identifier: Apache-2.0
 * How much time compression may take: idle CPU buys smaller files, load buys speed. All shards together have an
 * allowance of raw bytes a second that may be compressed small, and the packets that come are taken off it. So up to
 * half of it (with zlib about 1 % of a core) all is small, from there on less and less, beyond the whole nothing: a
 * busy host compresses fast, and the cost per packet falls as the load grows, without a jump. A ring that fills up ends
 * it at once. Pure; cannot fail. */
#ifndef SHARD_PACE_H
#define SHARD_PACE_H

#include <stdint.h>

#include "shard/encoder.h"
#include "shared/clock.h"

#define PACE_BYTES_PER_S 800000 /* about 9,000 packets, of all shards */
#define PACE_PACKET_BYTES 90    /* of a packet's record */
#define PACE_SAVED_S 2          /* seconds of quiet that count, and of load that is remembered */
#define PACE_FULL_SHARE 8u      /* with 1/8 of the ring waiting nothing is to be spent */

struct pace {
    int64_t rate;     /* this shard's part, raw bytes a second */
    int64_t at_ns;    /* of the last refill */
    int64_t credit;   /* raw bytes; below 0 the load was too much */
    uint64_t packets; /* taken off so far */
};

/* A shard of `shards` that has consumed `packets` so far. */
void pace_init(struct pace *p, unsigned shards, struct mono now, uint64_t packets);
/* What the next chunks may cost, with `packets` consumed and `backlog` of `ring_size` bytes waiting. */
enum effort pace_effort(struct pace *p, struct mono now, uint64_t packets, uint64_t backlog, uint64_t ring_size);
/* So many raw bytes took EFFORT_SMALL. */
void pace_spent(struct pace *p, uint64_t bytes);

#endif
