/* SPDX-License-Identifier: Apache-2.0
 * Numbers, gaps and replays. Failure policy: see busfeed.h. */
#include "shard/busfeed.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shared/log.h"

#define MESSAGES_PER_TURN 16
#define ASK_AGAIN_NS NS_PER_SEC
#define SEND_AGAIN_NS (10 * NS_PER_MS)
#define SILENCE_NS NS_PER_SEC /* the hub's heart beats ten times a second */

struct busfeed {
    struct busfeed_deps d;
    struct busfeed_state st;
    struct bus *sub, *req;
    struct mono asked_at;
    struct mono heard_at;   /* last page of the subscription, or when it was connected anew */
    struct mono content_at; /* last answer, or when nothing was wanted, or when the requester was connected anew */
    bool ever_asked;
};

struct busfeed *busfeed_new(const struct busfeed_deps *deps, char error[BUS_ERROR])
{
    char path[BUS_PATH];
    struct busfeed *f = calloc(1, sizeof(*f));
    if (!f) {
        snprintf(error, BUS_ERROR, "out of memory");
        return NULL;
    }
    f->d = *deps;
    if (bus_shard_path(path, deps->rundir, deps->slot) != SC_OK) {
        snprintf(error, BUS_ERROR, "the path of -rundir is too long for a socket");
        goto failed;
    }
    f->sub = bus_connect(BUS_SUB, path, error);
    if (!f->sub)
        goto failed;
    if (bus_replay_path(path, deps->rundir) != SC_OK) {
        snprintf(error, BUS_ERROR, "the path of -rundir is too long for a socket");
        goto failed;
    }
    f->req = bus_connect(BUS_REQ, path, error);
    if (!f->req)
        goto failed;
    f->d.rundir = NULL;
    f->heard_at = f->content_at = deps->clock->mono(deps->clock->ctx);
    return f;
failed:
    busfeed_free(f);
    return NULL;
}

void busfeed_free(struct busfeed *f)
{
    if (!f)
        return;
    bus_close(f->sub);
    bus_close(f->req);
    free(f);
}

int busfeed_sub_fd(const struct busfeed *f)
{
    return bus_fd(f->sub);
}

int busfeed_req_fd(const struct busfeed *f)
{
    return bus_fd(f->req);
}

/* Hands on the lines from number `from` of the page on. */
static void take_lines(const struct busfeed_state *st, const struct busfeed_deps *d, const struct bus_page *page,
                       uint64_t from, bool replay)
{
    const char *at = page->lines, *end = page->lines + page->lines_len;
    struct flowevent ev;
    for (uint64_t seq = page->seq; at < end; seq++) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        if (!stop)
            return;
        if (seq >= from && flowevent_parse(at, (size_t)(stop - at), &ev) == FLOWEVENT_GOOD) {
            counter_add(&d->c->bus_replayed, replay);
            d->on_event(d->ctx, &ev, replay && !st->started);
        }
        at = stop + 1;
    }
}

static void on_replay(struct busfeed_state *st, const struct busfeed_deps *d, const struct bus_page *page)
{
    st->asked = false;
    if (page->epoch != st->epoch || page->seq > st->next) { /* a new life, or the journal reaches no further back */
        if (page->epoch == st->epoch)
            counter_add(&d->c->bus_lost, page->seq - st->next);
        st->epoch = page->epoch;
        st->next = page->seq;
    }
    take_lines(st, d, page, st->next, true);
    if (page->seq + page->count > st->next)
        st->next = page->seq + page->count;
    if (page->count == 0)
        st->started = true;
    if (st->heard_epoch != st->epoch || st->heard_next < st->next) {
        st->heard_epoch = st->epoch;
        st->heard_next = st->next;
    }
}

static void on_news(struct busfeed_state *st, const struct busfeed_deps *d, const struct bus_page *page)
{
    bool in_step = st->started && !busfeed_wants_replay(st) && !st->asked;
    uint64_t after = page->seq + page->count;
    st->heard = true;
    if (in_step && page->epoch == st->epoch && page->seq <= st->next) {
        if (after > st->next) {
            take_lines(st, d, page, st->next, false);
            st->next = st->heard_next = after;
        }
        return;
    }
    st->heard_epoch = page->epoch;
    st->heard_next = after;
    if (in_step)
        counter_add(&d->c->bus_gaps, 1);
}

void busfeed_page(struct busfeed_state *st, const struct busfeed_deps *deps, const void *bytes, size_t len, bool replay)
{
    struct bus_page page;
    if (bus_page_parse(bytes, len, &page) != SC_OK) {
        if (replay)
            st->asked = false;
        return;
    }
    if (replay)
        on_replay(st, deps, &page);
    else
        on_news(st, deps, &page);
}

bool busfeed_wants_replay(const struct busfeed_state *st)
{
    return !st->started || st->heard_epoch != st->epoch || st->heard_next > st->next;
}

/* A connection over which nothing comes is made anew; no hub, or no memory, is tried again. */
static void reconnect(struct bus *b)
{
    if (bus_reconnect(b) != SC_OK)
        log_debug("cannot connect to the hub anew");
}

static void ask(struct busfeed *f)
{
    char text[96];
    int n = snprintf(text, sizeof(text), "replay %u %" PRIu64 " %" PRIu64, f->d.slot, f->st.epoch, f->st.next);
    f->asked_at = f->d.clock->mono(f->d.clock->ctx);
    f->ever_asked = true;
    f->st.asked = bus_send(f->req, text, (size_t)n) == SC_OK;
}

void busfeed_turn(struct busfeed *f)
{
    void *bytes;
    size_t len;
    struct mono now = f->d.clock->mono(f->d.clock->ctx);
    for (int i = 0; i < MESSAGES_PER_TURN && bus_recv(f->sub, &bytes, &len) == SC_OK; i++) {
        busfeed_page(&f->st, &f->d, bytes, len, false);
        bus_free(bytes);
        f->heard_at = now;
    }
    if (now.ns - f->heard_at.ns >= SILENCE_NS) {
        reconnect(f->sub);
        f->heard_at = now;
    }
    bool answered = false;
    if (f->st.asked && bus_recv(f->req, &bytes, &len) == SC_OK) {
        busfeed_page(&f->st, &f->d, bytes, len, true);
        bus_free(bytes);
        answered = true;
    }
    bool content = !busfeed_wants_replay(&f->st);
    if (content || answered)
        f->content_at = now;
    if (content)
        return;
    if (now.ns - f->content_at.ns >= SILENCE_NS) {
        reconnect(f->req);
        f->content_at = now;
    }
    /* The next page at once; a request that could not be sent soon, one that got no answer after a second. */
    int64_t since = now.ns - f->asked_at.ns;
    int64_t wait = answered || !f->ever_asked ? 0 : f->st.asked ? ASK_AGAIN_NS : SEND_AGAIN_NS;
    if (since >= wait)
        ask(f);
}

bool busfeed_complete(const struct busfeed *f)
{
    return f->st.heard && f->st.started && !busfeed_wants_replay(&f->st);
}
