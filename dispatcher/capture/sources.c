/* SPDX-License-Identifier: Apache-2.0
 * Open interfaces.
 * Failure policy: an interface that fails is closed, its gauge goes to 0 and one line says why; opening it again is
 * live.c's business. A filter that the kernel finds too long is made coarser, step by step; a running source whose
 * filter cannot be changed has failed. Counters of an interface go on where an earlier dispatcher, or an
 * earlier interface of that name, left them; when all slots are taken the rest share the last one. */
#include "dispatcher/capture/sources.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dispatcher/capture/filter.h"
#include "dispatcher/capture/group.h"
#include "dispatcher/capture/inherit.h"
#include "dispatcher/capture/progress.h"
#include "shared/log.h"

#define BURST 4096           /* packets per dispatch: signals, timers and the other interfaces get their turn */
#define JOINED_NS NS_PER_SEC /* so long after that all packets of before have been read */
#define STAMPED_NS 20000     /* before the kernel hands it out a packet has its time, and two clocks are two */
#define BUFFER_MIN ((uint64_t)1000000)
#define HOSTS_MAX 256
#define FILTER_TEXT ((size_t)256 * 1024)
#define SHARED_SLOT_NAME "(others)"

struct source {
    struct sources *owner;
    struct link link;
    char shown[INTERFACE_NAME]; /* link.name for people */
    struct capture *capture;
    struct evsource *readable;
    struct interface_counters *counters;
    struct capture_stats counted; /* what the counters hold of this capture */
    uint64_t buffer;
    enum filter_detail detail;
    struct progress progress;
    bool failed;
    bool joined; /* a group, within JOINED_NS: packets of before are another's, too */
    struct mono joins_from, joined_by;
    uint64_t others; /* packets of before */
    int group;       /* of a hand-over; -1 = none */
    uint64_t handed; /* packets out of libpcap, with those that were forgotten at the join */
};

struct fanout {
    pthread_mutex_t lock; /* also of the counters' slots */
    struct {
        int index, number;
        unsigned members;
    } group[INTERFACES_MAX];
};

struct sources {
    struct sources_settings s;
    size_t count;
    struct source *open[INTERFACES_MAX]; /* in order of opening */
    size_t host_count;
    struct ipaddr host[HOSTS_MAX];
    bool lost_one;
    unsigned burst; /* packets of the burst that runs */
    struct mono burst_began;
    struct steps steps; /* of the wall clock, as this thread saw them */
    char text[FILTER_TEXT], whole[FILTER_TEXT];
};

struct fanout *fanout_new(void)
{
    struct fanout *f = calloc(1, sizeof *f);
    if (f && pthread_mutex_init(&f->lock, NULL) != 0) {
        free(f);
        f = NULL;
    }
    return f;
}

void fanout_free(struct fanout *f)
{
    if (!f)
        return;
    pthread_mutex_destroy(&f->lock);
    free(f);
}

static void lock(const struct sources *s)
{
    if (s->s.fanout)
        pthread_mutex_lock(&s->s.fanout->lock);
}

static void unlock(const struct sources *s)
{
    if (s->s.fanout)
        pthread_mutex_unlock(&s->s.fanout->lock);
}

struct sources *sources_new(const struct sources_settings *settings)
{
    struct sources *s = calloc(1, sizeof *s);
    if (s)
        s->s = *settings;
    return s;
}

size_t sources_count(const struct sources *s)
{
    return s->count;
}

static bool same_link(const struct link *a, const struct link *b)
{
    return a->index == b->index && strncmp(a->name, b->name, INTERFACE_NAME) == 0;
}

bool sources_has(const struct sources *s, const struct link *l)
{
    for (size_t i = 0; i < s->count; i++)
        if (same_link(&s->open[i]->link, l))
            return true;
    return false;
}

/* ---- counters ---- */

static struct interface_counters *slot_of(struct dispatcher_page *page, const struct source *src)
{
    const size_t last = INTERFACES_MAX - 1;
    size_t i = 0;
    while (i < last && atomic_load_explicit(&page->interfaces[i].used, memory_order_relaxed) &&
           strncmp(page->interfaces[i].name, src->shown, INTERFACE_NAME) != 0)
        i++;
    struct interface_counters *c = &page->interfaces[i];
    if (!atomic_load_explicit(&c->used, memory_order_relaxed)) {
        (void)snprintf(c->name, sizeof c->name, "%s", i == last ? SHARED_SLOT_NAME : src->shown);
        /* release: pairs with the readers' acquire load; the name is whole when it is seen */
        atomic_store_explicit(&c->used, 1, memory_order_release);
    }
    atomic_store_explicit(&c->index, (uint32_t)src->link.index, memory_order_relaxed);
    return c;
}

static void gauge(struct sources *s, struct source *src, int delta)
{
    if (s->s.thread == 0)
        counter_set(&s->s.page->interfaces_capturing, s->count);
    atomic_fetch_add_explicit(&src->counters->capturing, (uint32_t)delta, memory_order_relaxed);
}

/* ---- groups ---- */

static int join_group(struct sources *s, struct source *src, char error[CAPTURE_ERROR])
{
    int rc = SC_OK, free_one = -1, at = -1;
    if (!s->s.fanout)
        return SC_OK;
    lock(s);
    for (int i = 0; i < INTERFACES_MAX; i++) {
        if (s->s.fanout->group[i].members == 0)
            free_one = i;
        else if (s->s.fanout->group[i].index == src->link.index)
            at = i;
    }
    int number = at < 0 ? -1 : s->s.fanout->group[at].number;
    src->joins_from.ns = steps_look(&s->steps, s->s.clock).ns - STAMPED_NS;
    rc = capture_fanout(src->capture, &number, error);
    src->joined_by.ns = steps_look(&s->steps, s->s.clock).ns + 1;
    src->joined = true;
    if (at < 0)
        at = free_one; /* there is one: no thread has more than INTERFACES_MAX open */
    if (rc == SC_OK && at >= 0) {
        s->s.fanout->group[at].index = src->link.index;
        s->s.fanout->group[at].number = number;
        s->s.fanout->group[at].members++;
    }
    unlock(s);
    return rc;
}

static void leave_group(struct sources *s, const struct source *src)
{
    if (!s->s.fanout)
        return;
    lock(s);
    for (int i = 0; i < INTERFACES_MAX; i++)
        if (s->s.fanout->group[i].members > 0 && s->s.fanout->group[i].index == src->link.index)
            s->s.fanout->group[i].members--;
    unlock(s);
}

static void count_stats(struct source *src)
{
    struct capture_stats now = capture_stats(src->capture);
    if (src->owner->s.heir)
        return; /* the packets so far are its predecessor's */
    if (src->joined || now.received < src->others)
        now.received = src->counted.received; /* how many are ours is known when all of before have been read */
    else
        now.received -= src->others;
    counter_add_shared(&src->counters->kernel_received, now.received - src->counted.received);
    counter_add_shared(&src->counters->kernel_dropped, now.dropped - src->counted.dropped);
    counter_add_shared(&src->counters->if_dropped, now.if_dropped - src->counted.if_dropped);
    src->counted = now;
}

void sources_stats(struct sources *s)
{
    for (size_t i = 0; i < s->count; i++)
        count_stats(s->open[i]);
}

/* ---- packets ---- */

/* While it joins a group nobody can tell whether a packet is another's, too, or was its own already: it is saved once
 * at most, and counted as dropped. */
static bool is_ours(struct source *src, const struct captured *c)
{
    const struct sources *s = src->owner;
    int64_t at = steps_mono(&s->steps, c->ts, s->burst_began).ns;
    if (at < src->joins_from.ns)
        src->others++;
    else if (at < src->joined_by.ns)
        counter_add_shared(&src->counters->kernel_dropped, 1);
    return at >= src->joined_by.ns;
}

static void on_packet(void *ctx, const struct captured *c)
{
    struct source *src = ctx;
    struct sources *s = src->owner;
    struct feed_packet p = {
        .bytes = c->bytes,
        .caplen = c->caplen,
        .wire_len = c->wire_len,
        .if_index = (uint32_t)src->link.index,
        .linktype = capture_linktype(src->capture),
        .ts = c->ts,
    };
    if (src->joined && !is_ours(src, c))
        return;
    progress_packet(&src->progress, c->ts);
    s->burst++;
    feed_packet(s->s.feed, &p);
}

/* One burst. A source that fails stays in the list, closed by close_failed after all have been looked at. */
static unsigned read_source(struct source *src)
{
    struct sources *s = src->owner;
    char error[CAPTURE_ERROR];
    s->burst = 0;
    s->burst_began = steps_look(&s->steps, s->s.clock);
    feed_burst(s->s.feed, s->burst_began, steps_wall(&s->steps));
    int n = capture_dispatch(src->capture, BURST, on_packet, src, error);
    src->handed += n > 0 ? (unsigned)n : 0;
    counter_add_shared(&src->counters->delivered, s->burst);
    counter_add_shared(&s->s.page->captured[s->s.thread], s->burst);
    if (n < 0) {
        log_warn("interface %s: capture has failed: %s", src->shown, error);
        src->failed = true;
    } else {
        /* drained proves something only where nobody else has any */
        progress_burst(&src->progress, &s->steps, s->burst_began, n < BURST && !inherit_begun(s->s.page));
        src->joined = src->joined && src->progress.until.ns < src->joined_by.ns + JOINED_NS;
    }
    return s->burst;
}

static void close_source(struct sources *s, size_t i)
{
    struct source *src = s->open[i];
    src->joined = false;
    count_stats(src);
    inherit_tell(s->s.page, src->counters, -1);
    s->count--;
    for (size_t k = i; k < s->count; k++)
        s->open[k] = s->open[k + 1];
    gauge(s, src, -1);
    evsource_remove(src->readable);
    leave_group(s, src);
    capture_close(src->capture);
    free(src);
}

static void close_failed(struct sources *s)
{
    for (size_t i = s->count; i-- > 0;)
        if (s->open[i]->failed) {
            close_source(s, i);
            s->lost_one = true;
        }
}

static void on_readable(void *ctx)
{
    struct source *src = ctx;
    struct sources *s = src->owner;
    (void)read_source(src);
    close_failed(s);
    feed_flush(s->s.feed, sources_until(s));
}

unsigned sources_read_all(struct sources *s)
{
    unsigned n = 0;
    for (size_t i = 0; i < s->count; i++)
        n += read_source(s->open[i]);
    close_failed(s);
    feed_flush(s->s.feed, sources_until(s));
    return n;
}

struct instant sources_until(const struct sources *s)
{
    const struct clock *clock = s->s.clock;
    struct instant until = {clock->mono(clock->ctx).ns - CAPTURE_DELAY_NS};
    for (size_t i = 0; i < s->count; i++)
        if (i == 0 || s->open[i]->progress.until.ns < until.ns)
            until.ns = s->open[i]->progress.until.ns;
    return until;
}

bool sources_lost_one(struct sources *s)
{
    bool lost = s->lost_one;
    s->lost_one = false;
    return lost;
}

/* ---- filter ---- */

static int filter_text(struct sources *s, const struct source *src, enum filter_detail detail)
{
    const struct config *c = s->s.config;
    if (c->filter_raw)
        return filter_and(s->whole, sizeof s->whole, c->filter, NULL);
    int rc = filter_builtin(s->text, sizeof s->text, capture_linktype(src->capture), s->host, s->host_count, detail);
    return rc == SC_OK ? filter_and(s->whole, sizeof s->whole, s->text, c->filter) : rc;
}

static int try_filter(struct sources *s, struct source *src, int detail, char error[CAPTURE_ERROR])
{
    int rc = filter_text(s, src, (enum filter_detail)detail);
    (void)snprintf(error, CAPTURE_ERROR, "the filter is too long");
    return rc == SC_OK ? capture_filter(src->capture, s->whole, error) : rc;
}

static void filter_is(const struct sources *s, struct source *src, int detail)
{
    if (detail != FILTER_EXACT && src->detail == FILTER_EXACT)
        log_warn("interface %s: %zu addresses are too many for the kernel filter (net.core.optmem_max), it is made "
                 "coarser",
                 src->shown, s->host_count);
    src->detail = (enum filter_detail)detail;
}

/* The most exact filter that the kernel takes. */
static int first_filter(struct sources *s, struct source *src, char error[CAPTURE_ERROR])
{
    int rc = SC_ETOOLONG;
    for (int detail = FILTER_EXACT; detail < FILTER_DETAILS && rc == SC_ETOOLONG; detail++) {
        rc = try_filter(s, src, detail, error);
        if (rc == SC_OK)
            filter_is(s, src, detail);
    }
    return rc;
}

/* While the kernel changes a filter it has two: where there is no room for that, the coarsest takes the old one's place
 * first. */
static int change_filter(struct sources *s, struct source *src, char error[CAPTURE_ERROR])
{
    int is = FILTER_EXACT, rc = try_filter(s, src, is, error);
    if (rc == SC_ETOOLONG) {
        is = FILTER_NO_HOSTS;
        rc = try_filter(s, src, is, error);
        for (int detail = FILTER_EXACT; rc == SC_OK && detail < is; detail++)
            if (try_filter(s, src, detail, error) == SC_OK)
                is = detail;
    }
    if (rc == SC_OK)
        filter_is(s, src, is);
    return rc;
}

void sources_hosts(struct sources *s, const struct ipaddr *hosts, size_t count)
{
    if (count > HOSTS_MAX)
        count = 0; /* too many to name: none is named */
    if (count == s->host_count && (count == 0 || memcmp(hosts, s->host, count * sizeof *hosts) == 0))
        return;
    s->host_count = count;
    if (count > 0)
        memcpy(s->host, hosts, count * sizeof *hosts);
    for (size_t i = 0; i < s->count; i++) {
        struct source *src = s->open[i];
        char error[CAPTURE_ERROR];
        if (change_filter(s, src, error) == SC_OK)
            continue;
        log_warn("interface %s is opened anew, as its filter cannot be changed: %s", src->shown, error);
        (void)read_source(src);
        src->failed = true;
    }
    close_failed(s);
}

/* ---- opening and closing ---- */

/* The share of a new interface. Of those with a name each has its part, though it may come later. Else a quarter of all
 * is kept back for those that come later: as equal a part as there is, or half of what is left. */
static uint64_t share(const struct sources *s, size_t expected)
{
    const struct config *c = s->s.config;
    uint64_t total = c->capturebuffer / config_dispatchers(c), used = 0;
    for (size_t i = 0; i < s->count; i++)
        used += s->open[i]->buffer;
    uint64_t left = used < total ? total - used : 0;
    uint64_t want = c->interface_count > 0 ? total / c->interface_count : total / 4 * 3 / (expected ? expected : 1);
    if (want > left)
        want = left / 2;
    return want < BUFFER_MIN ? BUFFER_MIN : want;
}

static int set_filter(struct sources *s, struct source *src, char error[CAPTURE_ERROR])
{
    const struct config *c = s->s.config;
    if (c->filter[0] && capture_filter_check(src->capture, c->filter, error) != SC_OK)
        return SC_EINVAL;
    int rc = first_filter(s, src, error);
    /* With the user's own part fine, SC_EFORMAT is a combination that can never match. */
    return (rc == SC_EFORMAT || rc == SC_ETOOLONG) && c->filter[0] ? SC_EINVAL : rc;
}

/* The group for a hand-over: the predecessor's, or a new one, which one can do without. Dispatchers that share an
 * interface have groups of another kind. */
static int enter_group(struct sources *s, struct source *src, char error[CAPTURE_ERROR])
{
    src->group = -1;
    if (s->s.fanout)
        return SC_OK;
    if (!s->s.heir) {
        if (group_new(src->capture, &src->group, error) != SC_OK)
            log_debug("interface %s: %s", src->shown, error);
        return SC_OK;
    }
    int group = inherit_group(s->s.page, src->link.index), rc = SC_ESYS;
    (void)snprintf(error, CAPTURE_ERROR, "it has no group that could be joined");
    if (group >= 0)
        rc = group_join(src->capture, group, error);
    if (rc == SC_OK && inherit_group(s->s.page, src->link.index) != group) {
        (void)snprintf(error, CAPTURE_ERROR, "it was closed in that moment");
        return SC_ESYS;
    }
    src->group = group;
    src->counted = capture_stats(src->capture);
    src->handed = src->counted.received - src->counted.dropped;
    return rc;
}

int sources_open(struct sources *s, const struct link *l, size_t expected, char error[CAPTURE_ERROR])
{
    struct source *src = s->count < INTERFACES_MAX ? calloc(1, sizeof *src) : NULL;
    if (!src) {
        (void)snprintf(error, CAPTURE_ERROR, "at most %d interfaces can be captured", INTERFACES_MAX);
        return SC_ENOMEM;
    }
    src->owner = s;
    src->link = *l;
    (void)link_shown(l, src->shown);
    src->buffer = share(s, expected);
    progress_begin(&src->progress, s->s.clock->mono(s->s.clock->ctx));
    int rc = capture_open_interface(l->name, s->s.config->maxheadersize, src->buffer, &src->capture, error);
    if (rc == SC_OK)
        rc = enter_group(s, src, error);
    if (rc == SC_OK)
        rc = set_filter(s, src, error);
    if (rc == SC_OK)
        rc = join_group(s, src, error);
    if (rc == SC_OK) {
        src->readable = evloop_on_readable(s->s.loop, capture_fd(src->capture), on_readable, src);
        if (!src->readable) {
            (void)snprintf(error, CAPTURE_ERROR, "cannot wait for its packets");
            leave_group(s, src);
            rc = SC_ESYS;
        }
    }
    if (rc != SC_OK) {
        capture_close(src->capture);
        free(src);
        return rc;
    }
    s->open[s->count++] = src;
    lock(s);
    src->counters = slot_of(s->s.page, src);
    unlock(s);
    if (!s->s.heir) { /* else they stand there */
        inherit_tell(s->s.page, src->counters, src->group);
        gauge(s, src, 1);
    }
    return SC_OK;
}

/* ---- hand-over ---- */

static bool has_index(void *ctx, int if_index)
{
    const struct sources *s = ctx;
    for (size_t i = 0; i < s->count; i++)
        if (s->open[i]->link.index == if_index)
            return true;
    return false;
}

bool sources_inherited(const struct sources *s)
{
    return inherit_all(s->s.page, has_index, (void *)(uintptr_t)s); /* which only reads */
}

void sources_take(struct sources *s)
{
    inherit_begin(s->s.page);
    for (size_t i = 0; i < s->count; i++)
        if (!group_take(s->open[i]->capture))
            log_warn("interface %s cannot be taken over before its dispatcher is gone error=%m", s->open[i]->shown);
}

void sources_settle(struct sources *s)
{
    struct dispatcher_page *page = s->s.page;
    s->s.heir = false;
    for (unsigned i = 0; i < INTERFACES_MAX; i++) { /* it may have been killed */
        inherit_tell(page, &page->interfaces[i], -1);
        atomic_store_explicit(&page->interfaces[i].capturing, 0, memory_order_relaxed);
    }
    for (size_t i = 0; i < s->count; i++) {
        struct source *src = s->open[i];
        if (!group_settle(src->capture))
            src->group = -1;
        inherit_tell(page, src->counters, src->group);
        gauge(s, src, 1);
    }
    counter_set(&page->interfaces_capturing, s->count);
    inherit_end(page);
}

bool sources_handed_over(struct sources *s)
{
    bool all = inherit_begun(s->s.page);
    for (size_t i = 0; i < s->count && all; i++) {
        struct capture_stats now = capture_stats(s->open[i]->capture);
        all = s->open[i]->handed == now.received - now.dropped;
    }
    return all;
}

size_t sources_keep(struct sources *s, const struct link *const *links, size_t count)
{
    size_t closed = 0;
    for (size_t i = s->count; i-- > 0;) {
        struct source *src = s->open[i];
        bool wanted = false;
        for (size_t k = 0; k < count && !wanted; k++)
            wanted = same_link(&src->link, links[k]);
        if (wanted)
            continue;
        (void)read_source(src);
        feed_flush(s->s.feed, sources_until(s));
        if (s->s.thread == 0)
            log_info("interface %s is no longer captured", src->shown);
        close_source(s, i);
        closed++;
    }
    return closed;
}

void sources_free(struct sources *s)
{
    if (!s)
        return;
    while (s->count > 0)
        close_source(s, s->count - 1);
    free(s);
}

const char *sources_names(const struct sources *s, char *out, size_t cap)
{
    size_t len = 0;
    out[0] = '\0';
    for (size_t i = 0; i < s->count; i++) {
        int n = snprintf(out + len, cap - len, "%s%s", len ? " " : "", s->open[i]->shown);
        if (n < 0 || (size_t)n >= cap - len) {
            out[len] = '\0';
            break;
        }
        len += (size_t)n;
    }
    return out;
}
