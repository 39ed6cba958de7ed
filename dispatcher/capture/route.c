/* SPDX-License-Identifier: Apache-2.0
 * Flow to shard. Cannot fail. */
#include "dispatcher/capture/route.h"

struct route route_flow(const struct flowkey *key, const struct siphash_key *secret, unsigned shards)
{
    uint64_t hash = flowkey_hash(key, secret);
    return (struct route){.hash = hash, .shard = flowkey_shard(hash, shards)};
}
