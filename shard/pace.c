/* SPDX-License-Identifier: Apache-2.0
 * An allowance that refills with time. Failure policy: see pace.h. */
#include "shard/pace.h"

void pace_init(struct pace *p, unsigned shards, struct mono now, uint64_t packets)
{
    int64_t rate = PACE_BYTES_PER_S / (shards > 0 ? shards : 1);
    *p = (struct pace){.rate = rate, .at_ns = now.ns, .credit = rate * PACE_SAVED_S, .packets = packets};
}

static void refill(struct pace *p, struct mono now)
{
    const int64_t whole_ns = 2 * PACE_SAVED_S * NS_PER_SEC; /* from one bound to the other */
    int64_t most = p->rate * PACE_SAVED_S;
    if (now.ns - p->at_ns > whole_ns)
        p->at_ns = now.ns - whole_ns;
    int64_t bytes = (now.ns - p->at_ns) * p->rate / NS_PER_SEC;
    if (bytes <= 0)
        return;
    p->credit = p->credit + bytes < most ? p->credit + bytes : most;
    p->at_ns += bytes * NS_PER_SEC / p->rate; /* what is left of a byte counts the next time */
}

static void take_off(struct pace *p, uint64_t bytes)
{
    int64_t least = -p->rate * PACE_SAVED_S;
    p->credit = bytes < (uint64_t)(p->credit - least) ? p->credit - (int64_t)bytes : least;
}

enum effort pace_effort(struct pace *p, struct mono now, uint64_t packets, uint64_t backlog, uint64_t ring_size)
{
    refill(p, now);
    take_off(p, (packets - p->packets) * PACE_PACKET_BYTES);
    p->packets = packets;
    return p->credit > 0 && backlog < ring_size / PACE_FULL_SHARE ? EFFORT_SMALL : EFFORT_FAST;
}

void pace_spent(struct pace *p, uint64_t bytes)
{
    take_off(p, bytes);
}
