/* SPDX-License-Identifier: Apache-2.0
 * When the next of a row of things is due, at so many a second. Pure. */
#ifndef CTL_PACE_H
#define CTL_PACE_H

#include <stdint.h>

#include "shared/clock.h"

struct pace {
    uint64_t rate; /* a second; 0 = at once */
    struct mono start;
    uint64_t done; /* since start; zero-initialised: the first call starts */
};

/* Nanoseconds until the next is due; 0: it is, and counts as done. A row that was held up catches up with what was
 * missed within the last second and no more, so that a hub that was away is not flooded. */
int64_t pace_next(struct pace *p, struct mono now);

#endif
