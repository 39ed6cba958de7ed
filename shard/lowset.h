/* SPDX-License-Identifier: Apache-2.0
 * A set of numbers below a limit that gives its smallest first: one bit for each, and above each 64 words another
 * level, so that every operation is a few steps. Memory is taken only where members were.
 *
 * Failure policy: want of memory is SC_ENOMEM at the beginning; a number beyond the limit is the caller's bug. */
#ifndef SHARD_LOWSET_H
#define SHARD_LOWSET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shared/err.h"

#define LOWSET_NONE UINT32_MAX
#define LOWSET_LEVELS 6 /* 64^6 > 2^32 */

struct lowset {
    uint64_t *level[LOWSET_LEVELS]; /* 0: the numbers; each other: which words below are not empty */
    unsigned levels;
    size_t bytes; /* of all levels, one mapping */
    uint32_t count;
};

/* An empty set of numbers below limit (> 0). SC_OK or SC_ENOMEM; end with lowset_free in both cases. */
int lowset_init(struct lowset *s, uint32_t limit) SC_MUST_CHECK;
void lowset_free(struct lowset *s); /* one that is all zeros is fine */

static inline bool lowset_has(const struct lowset *s, uint32_t n)
{
    return s->level[0][n / 64] >> n % 64 & 1;
}

/* Both do nothing if it is so already. */
void lowset_add(struct lowset *s, uint32_t n);
void lowset_remove(struct lowset *s, uint32_t n);

/* LOWSET_NONE if the set is empty. */
uint32_t lowset_first(const struct lowset *s);

#endif
