/* SPDX-License-Identifier: Apache-2.0
 * See cookies.h. */
#include "shard/cookies.h"

static uint64_t set_of(uint64_t cookie)
{
    return (cookie * UINT64_C(0x9e3779b97f4a7c15)) >> 32 & (COOKIE_SETS - 1);
}

bool cookies_known(const struct cookies *c, uint64_t hash, uint64_t cookie, int64_t now_ns)
{
    cookie ^= hash;
    uint64_t s = set_of(cookie);
    for (unsigned i = 0; i < COOKIE_WAYS; i++)
        if (c->set[s][i].cookie == cookie && c->set[s][i].until_ns > now_ns)
            return true;
    return false;
}

void cookies_remember(struct cookies *c, uint64_t hash, uint64_t cookie, int64_t until_ns)
{
    cookie ^= hash;
    uint64_t s = set_of(cookie);
    unsigned first = 0;
    for (unsigned i = 1; i < COOKIE_WAYS; i++)
        if (c->set[s][i].until_ns < c->set[s][first].until_ns)
            first = i;
    c->set[s][first].cookie = cookie;
    c->set[s][first].until_ns = until_ns;
}
