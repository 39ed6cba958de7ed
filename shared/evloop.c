/* SPDX-License-Identifier: Apache-2.0
 * The event loop over libevent: the only file (with the hub's HTTP server) that knows it.
 * Failure policy: constructors return NULL and leave nothing behind; a timer that cannot be armed (out of memory inside
 * libevent) is a loop that waits a turn longer, never an exit. Allocation happens in constructors only. */
#include "shared/evloop.h"

#include <event2/event.h>
#include <stdlib.h>
#include <sys/time.h>

struct evsource {
    struct evloop *loop;
    struct event *event;
    void (*cb)(void *ctx);
    void *ctx;
    struct evsource *next, **at; /* in loop->sources; *at is the pointer that points here */
};

struct evloop {
    struct event_base *base;
    struct event *turn; /* ends a turn that found nothing */
    struct evsource *sources;
    bool stopped;
};

static struct timeval timeval_of(int64_t ns)
{
    if (ns < 0)
        ns = 0;
    int64_t us = ns / 1000 + (ns % 1000 != 0);
    return (struct timeval){.tv_sec = us / 1000000, .tv_usec = us % 1000000};
}

static void on_turn_end(evutil_socket_t fd, short what, void *ctx)
{
    (void)fd;
    (void)what;
    (void)ctx;
}

struct evloop *evloop_new(void)
{
    struct evloop *l = calloc(1, sizeof *l);
    struct event_config *config = event_config_new();
    if (!l || !config)
        goto out;
    /* Precise: the default clock has the grain of the kernel's tick, and a wait that ends before it has moved is begun
     * again, which costs more than the timer's system call. */
    if (event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK) != 0 ||
        event_config_set_flag(config, EVENT_BASE_FLAG_PRECISE_TIMER) != 0)
        goto out;
    l->base = event_base_new_with_config(config);
    if (!l->base)
        goto out;
    l->turn = event_new(l->base, -1, 0, on_turn_end, NULL);
    if (!l->turn)
        goto out;
    event_config_free(config);
    return l;
out:
    if (config)
        event_config_free(config);
    if (l && l->base)
        event_base_free(l->base);
    free(l);
    return NULL;
}

void evloop_free(struct evloop *l)
{
    if (!l)
        return;
    for (struct evsource *s = l->sources, *next; s; s = next) {
        next = s->next;
        event_free(s->event);
        free(s);
    }
    event_free(l->turn);
    event_base_free(l->base);
    free(l);
}

/* A callback may remove its own source, so the source is not touched after the call. */
static void on_event(evutil_socket_t fd, short what, void *ctx)
{
    struct evsource *s = ctx;
    (void)fd;
    (void)what;
    s->cb(s->ctx);
}

static struct evsource *source_new(struct evloop *l, evutil_socket_t fd, short what, void (*cb)(void *ctx), void *ctx)
{
    struct evsource *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->loop = l;
    s->cb = cb;
    s->ctx = ctx;
    s->event = event_new(l->base, fd, what, on_event, s);
    if (!s->event || (what != 0 && event_add(s->event, NULL) != 0)) {
        if (s->event)
            event_free(s->event);
        free(s);
        return NULL;
    }
    s->next = l->sources;
    s->at = &l->sources;
    if (s->next)
        s->next->at = &s->next;
    l->sources = s;
    return s;
}

struct evsource *evloop_on_readable(struct evloop *l, int fd, void (*cb)(void *ctx), void *ctx)
{
    return source_new(l, fd, EV_READ | EV_PERSIST, cb, ctx);
}

struct evsource *evloop_on_signal(struct evloop *l, int signo, void (*cb)(void *ctx), void *ctx)
{
    return source_new(l, signo, EV_SIGNAL | EV_PERSIST, cb, ctx);
}

struct evsource *evloop_timer(struct evloop *l, void (*cb)(void *ctx), void *ctx)
{
    return source_new(l, -1, 0, cb, ctx);
}

void evloop_timer_set(struct evsource *timer, int64_t ns)
{
    struct timeval tv = timeval_of(ns);
    (void)event_add(timer->event, &tv);
}

void evloop_timer_off(struct evsource *timer)
{
    (void)event_del(timer->event);
}

void evsource_remove(struct evsource *s)
{
    if (!s)
        return;
    event_free(s->event); /* deletes it first */
    *s->at = s->next;
    if (s->next)
        s->next->at = s->at;
    free(s);
}

void evloop_run(struct evloop *l)
{
    while (!l->stopped)
        if (event_base_loop(l->base, EVLOOP_ONCE | EVLOOP_NO_EXIT_ON_EMPTY) < 0)
            break;
    l->stopped = false;
}

void evloop_stop(struct evloop *l)
{
    l->stopped = true;
}

void evloop_turn(struct evloop *l, int64_t timeout_ns)
{
    if (timeout_ns == 0) {
        /* without ONCE it goes on as long as anything is readable */
        (void)event_base_loop(l->base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
        return;
    }
    if (timeout_ns > 0) {
        struct timeval tv = timeval_of(timeout_ns);
        (void)event_add(l->turn, &tv);
    }
    (void)event_base_loop(l->base, EVLOOP_ONCE | EVLOOP_NO_EXIT_ON_EMPTY);
    if (timeout_ns > 0)
        (void)event_del(l->turn);
}

void *evloop_base(struct evloop *l)
{
    return l->base;
}
