/* SPDX-License-Identifier: Apache-2.0
 * Claims stand in a ring in the order of their coming; buckets chain them by hash, oldest first. A claim that is taken
 * from the middle leaves a hole that the head passes over. Failure policy: see pending.h. */
#include "shard/pending.h"

#include <stdlib.h>
#include <string.h>

#define NONE UINT32_MAX

struct slot {
    struct claim claim;
    uint32_t next; /* in the bucket */
    bool used;
};

struct pending {
    uint32_t bucket[PENDING_MAX];
    uint32_t head, tail; /* free-running; slot = n % PENDING_MAX; used slots lie in [head, tail) */
    uint32_t count;
    struct slot slot[PENDING_MAX];
};
_Static_assert(sizeof(struct pending) < 16u << 20, "what -check counts for it");
_Static_assert((PENDING_MAX & (PENDING_MAX - 1)) == 0, "indices wrap");

struct pending *pending_new(void)
{
    struct pending *p = calloc(1, sizeof(*p));
    if (p)
        memset(p->bucket, 0xff, sizeof(p->bucket));
    return p;
}

void pending_free(struct pending *p)
{
    free(p);
}

static uint32_t *bucket_of(struct pending *p, uint64_t hash)
{
    return &p->bucket[hash % PENDING_MAX];
}

static void drop(struct pending *p, uint32_t i)
{
    uint32_t *link = bucket_of(p, p->slot[i].claim.hash);
    while (*link != i)
        link = &p->slot[*link].next;
    *link = p->slot[i].next;
    p->slot[i].used = false;
    p->count--;
    while (p->head != p->tail && !p->slot[p->head % PENDING_MAX].used)
        p->head++;
}

unsigned pending_put(struct pending *p, const struct claim *claim)
{
    unsigned of_key = 0, dropped = 0;
    uint32_t oldest = NONE;
    for (uint32_t i = *bucket_of(p, claim->hash); i != NONE; i = p->slot[i].next) {
        struct claim *c = &p->slot[i].claim;
        if (!flowkey_equal(&c->key, &claim->key))
            continue;
        if (strcmp(c->uuid.text, claim->uuid.text) == 0) {
            if (claim->until.ns > c->until.ns)
                c->until = claim->until;
            return 0;
        }
        if (of_key++ == 0)
            oldest = i;
    }
    if (of_key >= PENDING_PER_KEY) {
        drop(p, oldest);
        dropped++;
    }
    if (p->tail - p->head == PENDING_MAX) {
        drop(p, p->head % PENDING_MAX);
        dropped++;
    }
    uint32_t at = p->tail++ % PENDING_MAX;
    p->slot[at] = (struct slot){.claim = *claim, .next = NONE, .used = true};
    uint32_t *link = bucket_of(p, claim->hash);
    while (*link != NONE)
        link = &p->slot[*link].next;
    *link = at;
    p->count++;
    return dropped;
}

bool pending_take(struct pending *p, const struct flowkey *key, uint64_t hash, struct instant now, bool fresh_socket,
                  struct claim *out)
{
    for (uint32_t i = *bucket_of(p, hash); i != NONE; i = p->slot[i].next) {
        const struct claim *c = &p->slot[i].claim;
        if (c->until.ns < now.ns || (c->repeat && fresh_socket) || !flowkey_equal(&c->key, key))
            continue;
        *out = *c;
        drop(p, i);
        return true;
    }
    return false;
}

bool pending_take_expired(struct pending *p, struct instant now, struct claim *out)
{
    uint32_t i = p->head % PENDING_MAX;
    if (p->count == 0 || p->slot[i].claim.until.ns >= now.ns)
        return false;
    *out = p->slot[i].claim;
    drop(p, i);
    return true;
}

uint32_t pending_count(const struct pending *p)
{
    return p->count;
}
