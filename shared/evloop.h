/* SPDX-License-Identifier: Apache-2.0
 * The event loop, libevent behind one door. Single-threaded. Signal handlers only wake the loop. */
#ifndef SHARED_EVLOOP_H
#define SHARED_EVLOOP_H

#include <stdbool.h>
#include <stdint.h>

struct evloop;
struct evsource;

/* NULL if libevent cannot start (out of fds or memory). */
struct evloop *evloop_new(void);
void evloop_free(struct evloop *l); /* NULL is fine; frees the sources too */

/* Calls back whenever fd is readable (or at its end), level-triggered. fd stays the caller's; remove the source before
 * closing it. NULL on failure. */
struct evsource *evloop_on_readable(struct evloop *l, int fd, void (*cb)(void *ctx), void *ctx);
struct evsource *evloop_on_signal(struct evloop *l, int signo, void (*cb)(void *ctx), void *ctx);
/* A timer that is off until evloop_timer_set. */
struct evsource *evloop_timer(struct evloop *l, void (*cb)(void *ctx), void *ctx);
/* Fires once after ns (0 = next turn); a second call moves it. */
void evloop_timer_set(struct evsource *timer, int64_t ns);
void evloop_timer_off(struct evsource *timer);
void evsource_remove(struct evsource *s); /* NULL is fine; allowed in its own callback */

/* Runs until evloop_stop. */
void evloop_run(struct evloop *l);
void evloop_stop(struct evloop *l);
/* One turn: waits at most timeout_ns (-1 = for ever, 0 = not at all) for events and handles what
 * is there. */
void evloop_turn(struct evloop *l, int64_t timeout_ns);

/* The struct event_base, for evhttp only. */
void *evloop_base(struct evloop *l);

#endif
