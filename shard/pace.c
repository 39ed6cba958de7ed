/* SPDX-License-Identifier: Apache-2.0
 * An allowance that refills with time. Failure policy: see pace.h. */
#include "shard/pace.h"

#define NS_PER_BYTE (NS_PER_SEC / PACE_BYTES_PER_S)
#define CREDIT_MAX ((int64_t)PACE_BYTES_PER_S * PACE_SAVED_S)

enum effort pace_effort(struct pace *p, struct mono now, uint64_t backlog, uint64_t ring_size)
{
    int64_t bytes = (now.ns - p->at_ns) / NS_PER_BYTE;
    if (bytes > CREDIT_MAX - p->credit) {
        p->credit = CREDIT_MAX;
        p->at_ns = now.ns;
    } else if (bytes > 0) {
        p->credit += bytes;
        p->at_ns += bytes * NS_PER_BYTE;
    }
    return p->credit > 0 && backlog < ring_size / PACE_FULL_SHARE ? EFFORT_SMALL : EFFORT_FAST;
}

void pace_spent(struct pace *p, uint64_t bytes)
{
    p->credit -= (int64_t)bytes;
}
