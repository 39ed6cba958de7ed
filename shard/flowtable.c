/* SPDX-License-Identifier: Apache-2.0
 * Two tables while growing: new entries go to the young one, and each insert moves a slice of the old one. An entry
 * that left the old table leaves a grave, so that probes go on past it; the young table has none: a removal there
 * shifts the followers back.
 * Failure policy: if a larger table cannot be had, the old one is filled to 7/8, then inserts are refused. */
#include "shard/flowtable.h"

#include <stdlib.h>

#include "shared/log.h"

#define FIRST_CAPACITY 1024u
#define MOVE_SLICE 64u
#define EMPTY 0u
#define GRAVE UINT32_MAX

struct entry {
    uint32_t tag;  /* high half of the hash */
    uint32_t slot; /* index + 1; EMPTY; GRAVE */
};

struct half {
    struct entry *entries; /* NULL = no table */
    uint32_t mask;
};

struct flowtable {
    const struct arena *arena;
    uint64_t *hashes; /* per slot; pages are touched only for slots in use */
    struct half young, old;
    uint32_t moved; /* entries of `old` below this are graves or empty */
    uint32_t count;
};

static struct entry *half_make(uint32_t capacity)
{
    return calloc(capacity, sizeof(struct entry));
}

struct flowtable *flowtable_new(const struct arena *a)
{
    struct flowtable *t = calloc(1, sizeof(*t));
    if (!t)
        return NULL;
    t->arena = a;
    t->hashes = calloc(arena_flow_limit(a), sizeof(*t->hashes));
    t->young.entries = half_make(FIRST_CAPACITY);
    t->young.mask = FIRST_CAPACITY - 1;
    if (!t->hashes || !t->young.entries) {
        flowtable_free(t);
        return NULL;
    }
    return t;
}

void flowtable_free(struct flowtable *t)
{
    if (!t)
        return;
    free(t->hashes);
    free(t->young.entries);
    free(t->old.entries);
    free(t);
}

static uint32_t tag_of(uint64_t hash)
{
    return (uint32_t)(hash >> 32);
}

static uint32_t half_find(const struct flowtable *t, const struct half *h, uint64_t hash, const struct flowkey *key)
{
    if (!h->entries)
        return ARENA_NONE;
    uint32_t tag = tag_of(hash);
    for (uint32_t i = (uint32_t)hash & h->mask;; i = (i + 1) & h->mask) {
        const struct entry *e = &h->entries[i];
        if (e->slot == EMPTY)
            return ARENA_NONE;
        if (e->tag == tag && e->slot != GRAVE && flowkey_equal(&arena_flow(t->arena, e->slot - 1)->key, key))
            return e->slot - 1;
    }
}

uint32_t flowtable_find(const struct flowtable *t, uint64_t hash, const struct flowkey *key)
{
    uint32_t idx = half_find(t, &t->young, hash, key);
    return idx != ARENA_NONE ? idx : half_find(t, &t->old, hash, key);
}

void flowtable_prefetch(const struct flowtable *t, uint64_t hash)
{
    __builtin_prefetch(&t->young.entries[(uint32_t)hash & t->young.mask]);
}

uint32_t flowtable_guess(const struct flowtable *t, uint64_t hash)
{
    const struct half *h = &t->young;
    for (uint32_t i = (uint32_t)hash & h->mask; h->entries[i].slot != EMPTY; i = (i + 1) & h->mask)
        if (h->entries[i].tag == tag_of(hash))
            return h->entries[i].slot - 1;
    return ARENA_NONE;
}

static void half_put(struct half *h, uint64_t hash, uint32_t slot)
{
    uint32_t i = (uint32_t)hash & h->mask;
    while (h->entries[i].slot != EMPTY)
        i = (i + 1) & h->mask;
    h->entries[i] = (struct entry){.tag = tag_of(hash), .slot = slot};
}

static void move_slice(struct flowtable *t)
{
    if (!t->old.entries)
        return;
    uint32_t end = t->old.mask - t->moved < MOVE_SLICE ? t->old.mask + 1 : t->moved + MOVE_SLICE;
    for (; t->moved < end; t->moved++) {
        struct entry *e = &t->old.entries[t->moved];
        if (e->slot == EMPTY || e->slot == GRAVE)
            continue;
        half_put(&t->young, t->hashes[e->slot - 1], e->slot);
        e->slot = GRAVE;
    }
    if (t->moved > t->old.mask) {
        free(t->old.entries);
        t->old = (struct half){0};
    }
}

static int make_room(struct flowtable *t)
{
    uint64_t capacity = (uint64_t)t->young.mask + 1;
    if (t->count < capacity / 4 * 3)
        return SC_OK;
    struct entry *larger = NULL;
    if (!t->old.entries && capacity <= UINT32_MAX / 2)
        larger = half_make((uint32_t)capacity * 2);
    if (!larger)
        return t->count < capacity / 8 * 7 ? SC_OK : SC_ENOMEM;
    t->old = t->young;
    t->moved = 0;
    t->young = (struct half){.entries = larger, .mask = (uint32_t)(capacity * 2 - 1)};
    return SC_OK;
}

int flowtable_insert(struct flowtable *t, uint64_t hash, uint32_t idx)
{
    move_slice(t);
    int err = make_room(t);
    if (err)
        return err;
    t->hashes[idx] = hash;
    half_put(&t->young, hash, idx + 1);
    t->count++;
    return SC_OK;
}

static struct entry *half_entry(const struct half *h, uint64_t hash, uint32_t slot)
{
    if (!h->entries)
        return NULL;
    for (uint32_t i = (uint32_t)hash & h->mask; h->entries[i].slot != EMPTY; i = (i + 1) & h->mask)
        if (h->entries[i].slot == slot)
            return &h->entries[i];
    return NULL;
}

static struct entry *entry_of(const struct flowtable *t, uint32_t idx, bool *in_old_r)
{
    struct entry *e = half_entry(&t->young, t->hashes[idx], idx + 1);
    *in_old_r = !e;
    if (!e)
        e = half_entry(&t->old, t->hashes[idx], idx + 1);
    if (!e)
        log_panic("flow table has no entry for slot %u", idx);
    return e;
}

void flowtable_replace(struct flowtable *t, uint32_t old_idx, uint32_t new_idx)
{
    bool in_old;
    struct entry *e = entry_of(t, old_idx, &in_old);
    e->slot = new_idx + 1;
    t->hashes[new_idx] = t->hashes[old_idx];
}

/* Knuth, TAOCP 3, 6.4 algorithm R: fill the hole with the next entry that may stand there. */
static void close_hole(struct flowtable *t, struct half *h, uint32_t hole)
{
    for (uint32_t i = (hole + 1) & h->mask; h->entries[i].slot != EMPTY; i = (i + 1) & h->mask) {
        uint32_t home = (uint32_t)t->hashes[h->entries[i].slot - 1] & h->mask;
        if (((i - home) & h->mask) < ((i - hole) & h->mask))
            continue;
        h->entries[hole] = h->entries[i];
        hole = i;
    }
    h->entries[hole].slot = EMPTY;
}

void flowtable_remove(struct flowtable *t, uint32_t idx)
{
    bool in_old;
    struct entry *e = entry_of(t, idx, &in_old);
    if (in_old)
        e->slot = GRAVE;
    else
        close_hole(t, &t->young, (uint32_t)(e - t->young.entries));
    t->count--;
}

uint32_t flowtable_count(const struct flowtable *t)
{
    return t->count;
}

uint64_t flowtable_hash(const struct flowtable *t, uint32_t idx)
{
    return t->hashes[idx];
}

void flowtable_slots_gone(struct flowtable *t, uint32_t first)
{
    arena_forget(t->hashes, sizeof(*t->hashes), first, arena_flow_limit(t->arena));
}
