/* SPDX-License-Identifier: Apache-2.0
 * See announce.h. */
#include "dispatcher/hub/announce.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "shared/siphash.h"

#define TOLD_SETS 16384u
#define TOLD_WAYS 4u

struct announce {
    void (*on_line)(void *ctx, const char *line, size_t len);
    void *ctx;
    uint64_t told[TOLD_SETS][TOLD_WAYS]; /* hashes of what was told, {kind, UUID}, newest first; 0 = none */
};

struct announce *announce_new(void (*on_line)(void *ctx, const char *line, size_t len), void *ctx)
{
    struct announce *a = calloc(1, sizeof *a);
    if (!a)
        return NULL;
    a->on_line = on_line;
    a->ctx = ctx;
    return a;
}

void announce_free(struct announce *a)
{
    free(a);
}

/* True the first time. */
static bool remember(struct announce *a, enum flowevent_kind kind, const struct uuid *uuid)
{
    const struct siphash_key no_secret = {UINT64_C(0x616e6e6f756e6365), (uint64_t)kind};
    uint64_t hash = siphash_1_3(&no_secret, uuid->text, strlen(uuid->text)) | 1;
    uint64_t *set = a->told[hash >> 32 & (TOLD_SETS - 1)];
    for (unsigned i = 0; i < TOLD_WAYS; i++)
        if (set[i] == hash)
            return false;
    memmove(set + 1, set, (TOLD_WAYS - 1) * sizeof *set);
    set[0] = hash;
    return true;
}

static bool stays_here(const struct ipaddr *ip)
{
    static const uint8_t loopback6[16] = {[15] = 1};
    const uint8_t *b = ip->bytes;
    if (ip->len == 4)
        return b[0] == 127 || (b[0] == 169 && b[1] == 254);
    return memcmp(b, loopback6, 16) == 0 || (b[0] == 0xfe && (b[1] & 0xc0) == 0x80);
}

static void say(struct announce *a, const struct flowevent *ev)
{
    char line[FLOWEVENT_TEXT + 1];
    int n = flowevent_format(ev, line, FLOWEVENT_TEXT);
    if (n < 0)
        return;
    line[n] = '\n';
    a->on_line(a->ctx, line, (size_t)n + 1);
}

static void say_open(struct announce *a, const struct flowevent *ev)
{
    struct flowevent open = *ev;
    open.destroyed = false;
    say(a, &open);
}

static void say_close(struct announce *a, const struct flowevent *ev)
{
    struct flowevent close = {.kind = FLOWEVENT_CLOSE, .time = ev->time, .yyyymmdd = ev->yyyymmdd, .uuid = ev->uuid};
    say(a, &close);
}

void announce_event(struct announce *a, const struct flowevent *ev)
{
    if (ev->kind == FLOWEVENT_CLOSE) {
        (void)remember(a, FLOWEVENT_CLOSE, &ev->uuid);
        say(a, ev);
        return;
    }
    if (stays_here(&ev->src) || stays_here(&ev->dst))
        return;
    bool first = remember(a, FLOWEVENT_OPEN, &ev->uuid);
    if (first || !ev->destroyed)
        say_open(a, ev);
    if (ev->destroyed && remember(a, FLOWEVENT_CLOSE, &ev->uuid))
        say_close(a, ev);
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
    if (!stays_here(&ev.src) && !stays_here(&ev.dst) && remember(a, FLOWEVENT_OPEN, &ev.uuid))
        say_open(a, &ev);
}
