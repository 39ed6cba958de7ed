/* SPDX-License-Identifier: Apache-2.0
 * How long ago a process last moved its heartbeat, as seen from here: heartbeats are counters, not times. */
#ifndef HUB_PULSE_H
#define HUB_PULSE_H

#include "shared/clock.h"
#include "shared/counters.h"

struct pulse {
    uint64_t value;
    struct mono moved;
    bool seen;
};

struct pulses {
    struct mono now; /* of the last look */
    struct pulse dispatcher, shard[SHARDS_MAX];
};

/* Looks at all heartbeats; call it some times a second. Zero-initialised: the first look counts as a move. */
void pulses_look(struct pulses *p, const struct dispatcher_page *d, const struct shard_page *const *shards,
                 unsigned shard_count, struct mono now);

/* Milliseconds from the last move to the last look. */
uint64_t pulses_age_ms(const struct pulses *p, const struct pulse *of);

#endif
