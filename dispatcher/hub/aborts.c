/* SPDX-License-Identifier: Apache-2.0
 * Events and flows stand in two rings in the order of their coming; each knows the one before it in its bucket, by port
 * and peer. Failure policy: see aborts.h. */
#include "dispatcher/hub/aborts.h"

#include <stdlib.h>
#include <string.h>

#include "shared/bus.h"

#define BUCKETS 4096u
#define COPIES_WITHIN 1024u
#define GRACE_NS NS_PER_SEC /* beyond the wait: a shard held up by its ring tells late */

struct flow {
    uint32_t before; /* number of the one before it in the bucket, 0 = none */
    bool over;       /* its event was found */
    unsigned shard;
    struct reset_note note;
};

struct end {
    uint32_t before;
    bool over;      /* matched, or given up */
    bool had_flows; /* it might have been one of several */
    uint64_t turn;  /* in which it was looked at */
    struct flowevent ev;
};

struct aborts {
    struct aborts_setup s;
    uint64_t next[SHARDS_MAX]; /* note of each shard's board */
    uint64_t turn;
    uint64_t looked;         /* see aborts_looked */
    struct mono blind_until; /* events read before this may lack their flow */
    /* numbers, from 1; place = number % ABORTS_MAX. All before first_end are over. */
    uint32_t last_flow, last_end, first_end;
    uint32_t flows_of[BUCKETS], ends_of[BUCKETS];
    struct flow flow[ABORTS_MAX];
    struct end end[ABORTS_MAX];
};

struct aborts *aborts_new(const struct aborts_setup *setup)
{
    struct aborts *a = calloc(1, sizeof(*a));
    if (!a)
        return NULL;
    a->s = *setup;
    a->first_end = 1;
    a->blind_until.ns = INT64_MIN;
    return a;
}

void aborts_free(struct aborts *a)
{
    free(a);
}

static unsigned bucket_of(const struct aborts *a, uint16_t port, const uint8_t *peer, unsigned len)
{
    uint8_t text[sizeof port + 16];
    memcpy(text, &port, sizeof port);
    memcpy(text + sizeof port, peer, len);
    return (unsigned)(siphash_1_3(a->s.hash_key, text, sizeof port + len) % BUCKETS);
}

static bool stands(uint32_t number, uint32_t last)
{
    return number != 0 && last - number < ABORTS_MAX;
}

uint64_t aborts_looked(const struct aborts *a)
{
    return a->looked;
}

/* ---- what comes in ---- */

static void put_flow(struct aborts *a, unsigned shard, const struct reset_note *note)
{
    const struct flowkey *key = &note->key;
    uint32_t *bucket = &a->flows_of[bucket_of(a, key->port[note->side], key->addr[1 - note->side], key->addr_len)];
    unsigned looked = 0;
    for (uint32_t n = *bucket; stands(n, a->last_flow) && looked < ABORTS_GROUP; looked++) {
        struct flow *f = &a->flow[n % ABORTS_MAX];
        a->looked++;
        if (f->shard == shard && f->note.flow == note->flow && f->note.generation == note->generation &&
            f->note.side == note->side) {
            f->note.cookie = note->cookie;
            return;
        }
        n = f->before;
    }
    uint32_t number = ++a->last_flow;
    struct flow *f = &a->flow[number % ABORTS_MAX];
    if (number > ABORTS_MAX && !f->over && f->note.cookie == 0 && note->at.ns > a->blind_until.ns)
        a->blind_until = note->at; /* one that was still open is forgotten */
    *f = (struct flow){.before = *bucket, .shard = shard, .note = *note};
    *bucket = number;
}

static void close_end(struct aborts *a, struct end *e)
{
    e->over = true;
    counter_add(&a->s.counters->uuid_ambiguous, e->had_flows);
}

/* A socket ends once. A hub that died between journal and feed left its event in both, and the second would name the
 * next flow of the same peer. The copy comes soon, so it stands near the top. */
static bool is_known(struct aborts *a, uint32_t n, uint64_t cookie)
{
    for (unsigned looked = 0; stands(n, a->last_end) && looked < COPIES_WITHIN; looked++) {
        const struct end *e = &a->end[n % ABORTS_MAX];
        a->looked++;
        if ((uint64_t)e->ev.cookie == cookie)
            return true;
        n = e->before;
    }
    return false;
}

void aborts_event(struct aborts *a, const struct flowevent *ev)
{
    uint32_t *bucket = &a->ends_of[bucket_of(a, ev->sport, ev->dst.bytes, ev->dst.len)];
    if (is_known(a, *bucket, (uint64_t)ev->cookie))
        return;
    uint32_t number = ++a->last_end;
    struct end *e = &a->end[number % ABORTS_MAX];
    if (number - a->first_end >= ABORTS_MAX) { /* the oldest makes room */
        if (!e->over)
            close_end(a, e);
        a->first_end++;
    }
    *e = (struct end){.before = *bucket, .ev = *ev};
    *bucket = number;
}

static void recall_page(struct aborts *a, const struct bus_page *page)
{
    struct flowevent ev;
    for (const char *at = page->lines, *end = page->lines + page->lines_len, *stop; at < end; at = stop + 1) {
        stop = memchr(at, '\n', (size_t)(end - at));
        if (!stop)
            return;
        if (flowevent_parse(at, (size_t)(stop - at), &ev) == FLOWEVENT_GOOD && ev.destroyed && ev.has_id &&
            ev.dport == 0)
            aborts_event(a, &ev);
    }
}

void aborts_recall(struct aborts *a, const struct journal *j, struct mono now)
{
    static char bytes[BUS_PAGE_MAX]; /* once, at the start */
    struct mono oldest = {now.ns - a->s.wait_ns};
    struct bus_page page = {.count = 1};
    for (uint64_t from = 1; page.count > 0; from = page.seq + page.count) {
        size_t len = journal_page(j, 0, journal_epoch(j), from, oldest, bytes);
        if (bus_page_parse(bytes, len, &page) != SC_OK)
            return;
        recall_page(a, &page);
    }
}

/* ---- what fits together ---- */

static bool same_group(const struct flowevent *a, const struct flowevent *b)
{
    return a->sport == b->sport && ipaddr_equal(&a->dst, &b->dst) && ipaddr_equal(&a->src, &b->src);
}

static bool fits(const struct flowevent *ev, const struct reset_note *note)
{
    static const uint8_t any[16];
    const struct flowkey *key = &note->key;
    unsigned side = note->side;
    return key->addr_len == ev->dst.len && key->port[side] == ev->sport &&
           memcmp(key->addr[1 - side], ev->dst.bytes, ev->dst.len) == 0 &&
           (memcmp(ev->src.bytes, any, ev->src.len) == 0 || memcmp(key->addr[side], ev->src.bytes, ev->src.len) == 0);
}

struct group {
    struct end *end[ABORTS_GROUP];   /* by time of reading */
    struct flow *flow[ABORTS_GROUP]; /* by time of the RST */
    unsigned ends, flows;
    bool whole; /* all of them are here */
};

static int by_reset(const void *a, const void *b)
{
    const struct flow *const *x = a, *const *y = b;
    return ((*x)->note.at.ns > (*y)->note.at.ns) - ((*x)->note.at.ns < (*y)->note.at.ns);
}

static int by_read(const void *a, const void *b)
{
    const struct end *const *x = a, *const *y = b;
    return ((*x)->ev.seen.ns > (*y)->ev.seen.ns) - ((*x)->ev.seen.ns < (*y)->ev.seen.ns);
}

static struct end *end_of_cookie(const struct group *g, uint64_t cookie)
{
    for (unsigned i = 0; i < g->ends && cookie != 0; i++)
        if ((uint64_t)g->end[i]->ev.cookie == cookie)
            return g->end[i];
    return NULL;
}

static void gather_ends(struct aborts *a, const struct flowevent *ev, struct group *g)
{
    uint32_t n = a->ends_of[bucket_of(a, ev->sport, ev->dst.bytes, ev->dst.len)];
    for (; stands(n, a->last_end); n = a->end[n % ABORTS_MAX].before) {
        struct end *e = &a->end[n % ABORTS_MAX];
        a->looked++;
        if (e->over || !same_group(&e->ev, ev))
            continue;
        e->turn = a->turn;
        if (g->ends < ABORTS_GROUP)
            g->end[g->ends++] = e;
        else
            g->whole = false;
    }
}

/* Flows whose name tells their cookie are closed together with its event. */
static void gather_flows(struct aborts *a, const struct flowevent *ev, struct group *g)
{
    uint32_t n = a->flows_of[bucket_of(a, ev->sport, ev->dst.bytes, ev->dst.len)];
    for (; stands(n, a->last_flow); n = a->flow[n % ABORTS_MAX].before) {
        struct flow *f = &a->flow[n % ABORTS_MAX];
        a->looked++;
        if (f->over || !fits(ev, &f->note))
            continue;
        struct end *own = end_of_cookie(g, f->note.cookie);
        if (own)
            f->over = own->over = true;
        else if (f->note.cookie == 0 && g->flows < ABORTS_GROUP)
            g->flow[g->flows++] = f;
        else if (f->note.cookie == 0)
            g->whole = false;
    }
}

static void put_side(struct ipaddr *addr, uint16_t *port, const struct flowkey *key, unsigned side)
{
    *addr = (struct ipaddr){.len = key->addr_len};
    memcpy(addr->bytes, key->addr[side], key->addr_len);
    *port = key->port[side];
}

static void complete(struct aborts *a, struct end *e, struct flow *f)
{
    struct flowevent ev = e->ev;
    ev.key = f->note.key;
    put_side(&ev.src, &ev.sport, &ev.key, f->note.side);
    put_side(&ev.dst, &ev.dport, &ev.key, 1 - f->note.side);
    e->over = f->over = true;
    a->s.on_complete(a->s.ctx, &ev);
}

/* The rule of aborts.h, for events read up to `settled`. */
static void match(struct aborts *a, struct group *g, struct mono settled)
{
    unsigned from = 0, to = 0, waiting = 0; /* flows [from, to) are what `waiting` events have to choose from */
    for (unsigned i = 0; i < g->ends && g->end[i]->ev.seen.ns <= settled.ns; i++) {
        struct end *e = g->end[i];
        if (e->over)
            continue;
        while (to < g->flows && g->flow[to]->note.at.ns <= e->ev.seen.ns)
            to++;
        if (to == from) {
            close_end(a, e); /* not captured; or all that it may have been are somebody else's */
            continue;
        }
        e->had_flows = true;
        if (++waiting < to - from)
            continue;
        if (waiting == 1 && e->ev.seen.ns > a->blind_until.ns)
            complete(a, e, g->flow[from]);
        from = to;
        waiting = 0;
    }
}

/* ---- turns ---- */

static struct mono read_boards(struct aborts *a, struct mono now)
{
    struct mono settled = {INT64_MAX};
    for (unsigned i = 0; i < a->s.shards; i++) {
        const struct reset_board *board = &a->s.pages[i]->resets;
        struct mono one = reset_board_settled(board); /* before the notes: all up to it are there */
        struct reset_note note;
        uint64_t missed = 0;
        for (unsigned n = 0; n < 2 * RESET_NOTES && reset_board_read(board, &a->next[i], &missed, &note); n++)
            if (note.at.ns > now.ns - a->s.wait_ns - GRACE_NS)
                put_flow(a, i, &note);
        if (missed > 0)
            a->blind_until = now;
        if (one.ns < settled.ns)
            settled = one;
    }
    return settled;
}

static void expire(struct aborts *a, struct mono now)
{
    int64_t oldest = now.ns - a->s.wait_ns - GRACE_NS;
    for (; a->last_end - a->first_end < ABORTS_MAX; a->first_end++) {
        struct end *e = &a->end[a->first_end % ABORTS_MAX];
        if (!e->over && e->ev.seen.ns >= oldest)
            return;
        if (!e->over)
            close_end(a, e);
    }
}

void aborts_turn(struct aborts *a, struct mono now)
{
    static struct group g; /* 4 KiB; the hub has one thread */
    struct mono settled = read_boards(a, now);
    a->turn++;
    for (uint32_t n = a->first_end; a->last_end - n < ABORTS_MAX; n++) {
        struct end *e = &a->end[n % ABORTS_MAX];
        if (e->over || e->turn == a->turn || e->ev.seen.ns > settled.ns)
            continue;
        g = (struct group){.whole = true};
        gather_ends(a, &e->ev, &g);
        qsort(g.end, g.ends, sizeof(void *), by_read);
        gather_flows(a, &e->ev, &g);
        qsort(g.flow, g.flows, sizeof(void *), by_reset);
        if (g.whole)
            match(a, &g, settled);
    }
    expire(a, now);
}
