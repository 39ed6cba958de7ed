/* SPDX-License-Identifier: Apache-2.0
 * See announce.h. */
#include "dispatcher/hub/announce.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "shared/siphash.h"

#define TOLD_SETS 16384u
#define TOLD_WAYS 4u

enum teller { BY_OTHERS, BY_KERNEL };

struct announce {
    void (*on_event)(void *ctx, const struct flowevent *ev, bool local);
    void *ctx;
    uint64_t told[TOLD_SETS][TOLD_WAYS]; /* hashes of what was told, {kind, by whom, UUID}, newest first; 0 = none */
};

struct announce *announce_new(void (*on_event)(void *ctx, const struct flowevent *ev, bool local), void *ctx)
{
    struct announce *a = calloc(1, sizeof *a);
    if (!a)
        return NULL;
    a->on_event = on_event;
    a->ctx = ctx;
    return a;
}

void announce_free(struct announce *a)
{
    free(a);
}

static uint64_t hash_of(enum flowevent_kind kind, enum teller by, const struct uuid *uuid)
{
    const struct siphash_key no_secret = {UINT64_C(0x616e6e6f756e6365), (uint64_t)kind << 1 | (uint64_t)by};
    return siphash_1_3(&no_secret, uuid->text, strlen(uuid->text)) | 1;
}

static uint64_t *set_of(struct announce *a, uint64_t hash)
{
    return a->told[hash >> 32 & (TOLD_SETS - 1)];
}

static bool is_told(struct announce *a, enum flowevent_kind kind, enum teller by, const struct uuid *uuid)
{
    uint64_t hash = hash_of(kind, by, uuid);
    const uint64_t *set = set_of(a, hash);
    for (unsigned i = 0; i < TOLD_WAYS; i++)
        if (set[i] == hash)
            return true;
    return false;
}

static void remember(struct announce *a, enum flowevent_kind kind, enum teller by, const struct uuid *uuid)
{
    uint64_t hash = hash_of(kind, by, uuid), *set = set_of(a, hash);
    if (is_told(a, kind, by, uuid))
        return;
    memmove(set + 1, set, (TOLD_WAYS - 1) * sizeof *set);
    set[0] = hash;
}

static bool stays_here(const struct ipaddr *ip)
{
    static const uint8_t loopback6[16] = {[15] = 1};
    const uint8_t *b = ip->bytes;
    if (ip->len == 4)
        return b[0] == 127 || (b[0] == 169 && b[1] == 254);
    return memcmp(b, loopback6, 16) == 0 || (b[0] == 0xfe && (b[1] & 0xc0) == 0x80);
}

static bool is_local(const struct flowevent *ev)
{
    return ev->has_id && (stays_here(&ev->src) || stays_here(&ev->dst));
}

/* The kernel tells of a socket as often as hubs and shards have died meanwhile. */
static void say_by_kernel(struct announce *a, const struct flowevent *ev, bool local)
{
    if (is_told(a, ev->kind, BY_KERNEL, &ev->uuid) || is_told(a, ev->kind, BY_OTHERS, &ev->uuid))
        return;
    remember(a, ev->kind, BY_KERNEL, &ev->uuid);
    a->on_event(a->ctx, ev, local);
}

/* A source that repeats itself is repeated. */
static void say_by_others(struct announce *a, const struct flowevent *ev)
{
    if (is_told(a, ev->kind, BY_KERNEL, &ev->uuid))
        return;
    remember(a, ev->kind, BY_OTHERS, &ev->uuid);
    a->on_event(a->ctx, ev, is_local(ev));
}

void announce_event(struct announce *a, const struct flowevent *ev)
{
    if (!ev->destroyed) {
        say_by_others(a, ev);
        return;
    }
    struct flowevent open = *ev;
    struct flowevent close = {.kind = FLOWEVENT_CLOSE, .time = ev->time, .yyyymmdd = ev->yyyymmdd, .uuid = ev->uuid};
    open.destroyed = false;
    say_by_kernel(a, &open, is_local(ev));
    say_by_kernel(a, &close, is_local(ev));
}

void announce_report(struct announce *a, const struct report *r)
{
    struct flowevent ev = {.kind = FLOWEVENT_OPEN, .has_id = true, .uuid = r->uuid};
    unsigned here = r->local, there = 1 - r->local;
    if (r->kind != REPORT_NAMED)
        return;
    ev.time.ns = r->first_ns;
    ev.yyyymmdd = clock_yyyymmdd(ev.time);
    ev.key = r->key;
    ipaddr_set(&ev.src, r->key.addr[here], r->key.addr_len);
    ipaddr_set(&ev.dst, r->key.addr[there], r->key.addr_len);
    ev.sport = r->key.port[here];
    ev.dport = r->key.port[there];
    ev.interface_index = 0; /* of the socket, which is bound to none; the packet's is another matter */
    ev.cookie = (int64_t)r->cookie;
    say_by_kernel(a, &ev, is_local(&ev));
}
