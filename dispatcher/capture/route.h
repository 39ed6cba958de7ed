/* SPDX-License-Identifier: Apache-2.0
 * Which shard owns a flow. Pure. Keyed, so that nobody who sends packets can choose the shard. */
#ifndef CAPTURE_ROUTE_H
#define CAPTURE_ROUTE_H

#include <stdbool.h>
#include <stdint.h>

#include "shared/flowkey.h"

struct route {
    uint64_t hash; /* flowkey_hash; goes into the ring record */
    unsigned shard;
};

/* shards: 1..SHARDS_MAX. Both directions of a flow get the same answer. */
struct route route_flow(const struct flowkey *key, const struct siphash_key *secret, unsigned shards);

/* Is the flow one of the sample of one in `many` (0 and 1: every flow is)? By the same keyed hash, so that which flows
 * are saved tells nothing of their addresses; hence another choice in each run, and the same all through one. */
bool route_sampled(uint64_t hash, uint32_t many);

#endif
