/* SPDX-License-Identifier: Apache-2.0
 * Threads with a loop, sources and a feed each; what they are told stands under one lock.
 * Failure policy: an interface that a thread cannot open is said once for each reason and left to the next workers_set;
 * its share of the packets then goes to the other threads. One whose link type is unknown is left out for good, which
 * the first thread says. A ring that never gets room is left without END and logged.
 */
#include "dispatcher/capture/workers.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "dispatcher/capture/complaints.h"
#include "shared/evloop.h"
#include "shared/log.h"

#define TICK_NS (50 * NS_PER_MS) /* housekeeping; also how late an order may be heard */
#define DRAIN_TURN_NS (10 * NS_PER_MS)
#define DRAIN_MAX_NS NS_PER_SEC
#define END_PATIENCE_NS (5 * NS_PER_SEC)

struct orders {
    size_t count, host_count, local_count;
    struct link link[INTERFACES_MAX];
    struct ipaddr host[ANONYMIZE_EXEMPT_MAX], local[ANONYMIZE_EXEMPT_MAX];
};

struct worker {
    struct workers *all;
    unsigned number; /* 1 .. count - 1 */
    pthread_t thread;
    bool running;
    struct evloop *loop;
    struct sources *sources;
    struct feed *feed;
    unsigned done; /* the last order that was followed; under the lock */
    bool unmet;    /* under the lock */
    struct orders orders;
    bool addresses_sent;
    struct complaints complaints;
    struct mono next_tick, next_stats;
};

struct workers {
    struct workers_settings s;
    pthread_mutex_t lock;
    pthread_cond_t followed;
    unsigned order; /* number of the last one; under the lock */
    struct orders orders;
    atomic_bool stop, drain;
    struct worker worker[DISPATCHERS_MAX];
};

static struct mono now(const struct workers *w)
{
    return w->s.clock->mono(w->s.clock->ctx);
}

/* True if it is captured, or never can be. */
static bool open_one(struct worker *me, const struct link *l, size_t expected)
{
    char error[CAPTURE_ERROR], name[INTERFACE_NAME];
    if (sources_has(me->sources, l) || complaints_known(&me->complaints, l->name, l->index, SC_EVERSION))
        return true;
    int rc = sources_open(me->sources, l, expected, error);
    bool passing = rc == SC_EAGAIN || rc == SC_ENOENT; /* it went between the list and now */
    if (rc == SC_OK)
        complaints_forget(&me->complaints, l->name);
    else if (!passing && complaints_news(&me->complaints, l->name, l->index, rc) && rc != SC_EVERSION)
        log_warn("dispatcher %u does not capture interface %s: %.300s", me->number, link_shown(l, name), error);
    return rc == SC_OK || rc == SC_EVERSION;
}

static bool open_all(struct worker *me)
{
    const struct orders *o = &me->orders;
    const struct link *wanted[INTERFACES_MAX];
    bool unmet = false;
    for (size_t i = 0; i < o->count; i++)
        wanted[i] = &o->link[i];
    (void)sources_keep(me->sources, wanted, o->count);
    sources_hosts(me->sources, o->host, o->host_count);
    for (size_t i = 0; i < o->count; i++)
        unmet |= !open_one(me, wanted[i], o->count);
    return unmet;
}

static bool same_addresses(const struct orders *a, const struct orders *b)
{
    return a->local_count == b->local_count && memcmp(a->local, b->local, a->local_count * sizeof a->local[0]) == 0;
}

/* Follows an order, if there is a new one. */
static void look_for_orders(struct worker *me)
{
    struct workers *w = me->all;
    pthread_mutex_lock(&w->lock);
    unsigned order = w->order;
    bool fresh = order != me->done, send = fresh && (!me->addresses_sent || !same_addresses(&me->orders, &w->orders));
    if (fresh)
        me->orders = w->orders;
    pthread_mutex_unlock(&w->lock);
    if (!fresh)
        return;
    if (send)
        feed_addresses(me->feed, me->orders.local, me->orders.local_count);
    me->addresses_sent = true;
    bool unmet = open_all(me);
    pthread_mutex_lock(&w->lock);
    me->done = order;
    me->unmet = unmet;
    pthread_cond_broadcast(&w->followed);
    pthread_mutex_unlock(&w->lock);
}

static void housekeep(struct worker *me)
{
    struct workers *w = me->all;
    struct mono t = now(w);
    if (t.ns >= me->next_stats.ns) {
        me->next_stats.ns = t.ns + NS_PER_SEC;
        sources_stats(me->sources);
    }
    if (sources_lost_one(me->sources)) {
        pthread_mutex_lock(&w->lock);
        me->unmet = true;
        pthread_mutex_unlock(&w->lock);
    }
    (void)sources_read_all(me->sources);
    feed_housekeep(me->feed, (struct instant){now(w).ns}, sources_until(me->sources));
    me->next_tick.ns = now(w).ns + TICK_NS;
}

/* What the kernel has captured before now is still on its way to us; then the rings end. */
static void drain(struct worker *me)
{
    struct workers *w = me->all;
    struct mono start = now(w);
    unsigned missing;
    while (now(w).ns < start.ns + CAPTURE_DELAY_NS)
        evloop_turn(me->loop, DRAIN_TURN_NS);
    while (sources_read_all(me->sources) > 0 && now(w).ns < start.ns + DRAIN_MAX_NS)
        ;
    sources_stats(me->sources);
    feed_housekeep(me->feed, (struct instant){now(w).ns}, sources_until(me->sources));
    start = now(w);
    while ((missing = feed_end(me->feed)) > 0 && now(w).ns < start.ns + END_PATIENCE_NS)
        evloop_turn(me->loop, NS_PER_MS);
    if (missing > 0)
        log_warn("%u rings of dispatcher %u without END: their shards do not consume", missing, me->number);
}

static void *work(void *ctx)
{
    struct worker *me = ctx;
    struct workers *w = me->all;
    while (!atomic_load(&w->stop)) {
        look_for_orders(me);
        int64_t left = me->next_tick.ns - now(w).ns;
        evloop_turn(me->loop, left < 0 ? 0 : left);
        if (now(w).ns >= me->next_tick.ns - TICK_NS / 4) /* see live.c */
            housekeep(me);
    }
    if (atomic_load(&w->drain))
        drain(me);
    return NULL;
}

static bool start(struct workers *w, unsigned number)
{
    struct worker *me = &w->worker[number];
    me->all = w;
    me->number = number;
    me->feed = w->s.feeds[number];
    me->loop = evloop_new();
    if (!me->loop)
        return false;
    const struct sources_settings settings = {.loop = me->loop,
                                              .feed = me->feed,
                                              .config = w->s.config,
                                              .page = w->s.page,
                                              .clock = w->s.clock,
                                              .fanout = w->s.fanout,
                                              .thread = number};
    me->sources = sources_new(&settings);
    cpus_take(&w->s.config->cpus, number); /* for the thread, which inherits it: it may set nothing itself */
    me->running = me->sources && pthread_create(&me->thread, NULL, work, me) == 0;
    return me->running;
}

struct workers *workers_new(const struct workers_settings *settings)
{
    struct workers *w = calloc(1, sizeof *w);
    if (!w)
        return NULL;
    w->s = *settings;
    bool ok = pthread_mutex_init(&w->lock, NULL) == 0 && pthread_cond_init(&w->followed, NULL) == 0;
    for (unsigned i = 1; i < settings->count && ok; i++)
        ok = start(w, i);
    if (!ok) {
        workers_free(w);
        return NULL;
    }
    return w;
}

void workers_set(struct workers *w, const struct link *const *links, size_t count, const struct ipaddr *hosts,
                 size_t host_count, const struct ipaddr *local, size_t local_count)
{
    struct orders *o = &w->orders;
    if (atomic_load(&w->stop)) /* nobody is there any more to follow */
        return;
    pthread_mutex_lock(&w->lock);
    memset(o, 0, sizeof *o);
    o->count = count < INTERFACES_MAX ? count : INTERFACES_MAX;
    for (size_t i = 0; i < o->count; i++)
        o->link[i] = *links[i];
    o->host_count = host_count <= ANONYMIZE_EXEMPT_MAX ? host_count : 0; /* too many to name: none is named */
    memcpy(o->host, hosts, o->host_count * sizeof *hosts);
    o->local_count = local_count < ANONYMIZE_EXEMPT_MAX ? local_count : ANONYMIZE_EXEMPT_MAX;
    memcpy(o->local, local, o->local_count * sizeof *local);
    w->order++;
    for (unsigned i = 1; i < w->s.count; i++)
        while (w->worker[i].done != w->order)
            pthread_cond_wait(&w->followed, &w->lock);
    pthread_mutex_unlock(&w->lock);
}

bool workers_unmet(const struct workers *w)
{
    struct workers *all = (struct workers *)(uintptr_t)w; /* the lock is no part of what is asked */
    bool unmet = false;
    pthread_mutex_lock(&all->lock);
    for (unsigned i = 1; i < w->s.count; i++)
        unmet |= w->worker[i].unmet;
    pthread_mutex_unlock(&all->lock);
    return unmet;
}

void workers_stop(struct workers *w, bool drain_first)
{
    atomic_store(&w->drain, drain_first);
    atomic_store(&w->stop, true);
    for (unsigned i = 1; i < w->s.count; i++) {
        if (w->worker[i].running)
            pthread_join(w->worker[i].thread, NULL);
        w->worker[i].running = false;
    }
}

void workers_free(struct workers *w)
{
    if (!w)
        return;
    workers_stop(w, false);
    for (unsigned i = 1; i < w->s.count; i++) {
        sources_free(w->worker[i].sources);
        evloop_free(w->worker[i].loop);
    }
    pthread_cond_destroy(&w->followed);
    pthread_mutex_destroy(&w->lock);
    free(w);
}
