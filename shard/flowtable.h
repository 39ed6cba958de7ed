/* SPDX-License-Identifier: Apache-2.0
 * FlowKey -> newest generation: a private hash table over the arena's slots. Open addressing with linear probing; an
 * entry holds the high half of the keyed hash as a tag, so a foreign key is hardly ever compared. It grows by doubling,
 * and moves the old entries in slices, so that no insert takes long.
 * Failure policy: out of memory is SC_ENOMEM for the caller to count; an entry that must be there and is not is a
 * panic. */
#ifndef SHARD_FLOWTABLE_H
#define SHARD_FLOWTABLE_H

#include <stdint.h>

#include "shard/arena.h"
#include "shared/err.h"
#include "shared/flowkey.h"

struct flowtable;

/* A table for the slots of `a`, which must outlive it. NULL: no memory. */
struct flowtable *flowtable_new(const struct arena *a);
void flowtable_free(struct flowtable *t); /* NULL is fine */

/* The slot whose committed key equals `key`, or ARENA_NONE. */
uint32_t flowtable_find(const struct flowtable *t, uint64_t hash, const struct flowkey *key);

/* Hints that the hash will be looked up soon. */
void flowtable_prefetch(const struct flowtable *t, uint64_t hash);
/* The slot that a lookup will most likely look at, by the tag alone, or ARENA_NONE. */
uint32_t flowtable_guess(const struct flowtable *t, uint64_t hash);

/* Adds slot idx, whose committed key hashes to `hash` and is not in the table. SC_OK or SC_ENOMEM. */
int flowtable_insert(struct flowtable *t, uint64_t hash, uint32_t idx) SC_MUST_CHECK;

/* Lets the entry of old_idx point to new_idx, which has the same key. */
void flowtable_replace(struct flowtable *t, uint32_t old_idx, uint32_t new_idx);

/* Removes the entry of idx. */
void flowtable_remove(struct flowtable *t, uint32_t idx);

uint32_t flowtable_count(const struct flowtable *t);

/* The hash that came with idx when it was inserted, or took the place of another. */
uint64_t flowtable_hash(const struct flowtable *t, uint32_t idx);
/* No slot from `first` on is in the table: what was kept for each of them goes back to the system. */
void flowtable_slots_gone(struct flowtable *t, uint32_t first);

#endif
