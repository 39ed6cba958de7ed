/* SPDX-License-Identifier: Apache-2.0
 * Cookies that have named a flow lately: none names another of the same key. Failure policy: when a set is full the one
 * that would go first makes room. */
#ifndef SHARD_COOKIES_H
#define SHARD_COOKIES_H

#include <stdbool.h>
#include <stdint.h>

#define COOKIE_SETS 16384u
#define COOKIE_WAYS 4u

struct cookies {
    struct {
        uint64_t cookie;  /* mixed with the hash of the key */
        int64_t until_ns; /* struct mono */
    } set[COOKIE_SETS][COOKIE_WAYS];
};

/* hash: of the flow's key. */
bool cookies_known(const struct cookies *c, uint64_t hash, uint64_t cookie, int64_t now_ns);
void cookies_remember(struct cookies *c, uint64_t hash, uint64_t cookie, int64_t until_ns);

#endif
