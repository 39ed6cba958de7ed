/* SPDX-License-Identifier: Apache-2.0
 * Flow to shard. Cannot fail. */
#include "dispatcher/capture/route.h"

struct route route_flow(const struct flowkey *key, const struct siphash_key *secret, unsigned shards)
{
    uint64_t hash = flowkey_hash(key, secret);
    return (struct route){.hash = hash, .shard = flowkey_shard(hash, shards)};
}

bool route_sampled(uint64_t hash, uint32_t many)
{
    if (many < 2)
        return true;
    /* mixed anew (Knuth's multiplier), so that neither shard nor place in the table depends on it */
    uint64_t mixed = hash * UINT64_C(0x9e3779b97f4a7c15) >> 32;
    return mixed * many >> 32 == 0;
}
