/* SPDX-License-Identifier: Apache-2.0
 * The interfaces that are being captured: opened, closed, filtered, counted. Mechanism only; which ones and when is
 * decided in live.c. */
#ifndef CAPTURE_SOURCES_H
#define CAPTURE_SOURCES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dispatcher/capture/capture.h"
#include "dispatcher/capture/feed.h"
#include "dispatcher/capture/links.h"
#include "shared/clock.h"
#include "shared/config.h"
#include "shared/counters.h"
#include "shared/evloop.h"

/* What the threads of a dispatcher agree on: the group of each interface. */
struct fanout;
struct fanout *fanout_new(void); /* NULL when out of memory */
void fanout_free(struct fanout *f);

struct sources;

struct sources_settings {
    struct evloop *loop;
    struct feed *feed;
    const struct config *config;
    struct dispatcher_page *page;
    const struct clock *clock;
    struct fanout *fanout; /* NULL: nobody else captures */
    unsigned thread;       /* 0 speaks for all */
    bool heir;             /* takes over from a dispatcher that runs: see "hand-over" below */
};

/* NULL when out of memory. */
struct sources *sources_new(const struct sources_settings *settings);
void sources_free(struct sources *s); /* NULL is fine; closes all */

size_t sources_count(const struct sources *s);
/* True if this interface, of this index and name, is open. */
bool sources_has(const struct sources *s, const struct link *l);

/* The addresses that the built-in filter lets in. Open sources get the new filter where it differs, from one packet to
 * the next; one whose filter cannot be changed is closed (sources_lost_one). */
void sources_hosts(struct sources *s, const struct ipaddr *hosts, size_t count);

/* Opens an interface with the filter of sources_hosts; `expected` = how many there are likely to be, for the share of
 * -capturebuffer where -interface names none. Errors of capture_open_interface, and SC_EINVAL: -filter does not
 * compile; SC_ENOMEM: too many. */
int sources_open(struct sources *s, const struct link *l, size_t expected, char error[CAPTURE_ERROR]) SC_MUST_CHECK;

/* Closes every source that is not among these; what it still holds is fed first. Returns how many. */
size_t sources_keep(struct sources *s, const struct link *const *links, size_t count);

/* True once after one closed itself because it failed. */
bool sources_lost_one(struct sources *s);

/* Reads what is there from every source, whether or not its fd was reported; so that `until` moves on idle ones.
 * Returns the packets. */
unsigned sources_read_all(struct sources *s);

/* Every packet captured up to here (of CLOCK_MONOTONIC), on whatever interface, has been fed. */
struct instant sources_until(const struct sources *s);

/* Kernel statistics into the counters. */
void sources_stats(struct sources *s);

/* ---- hand-over (group.h) ----
 * An heir opens what its predecessor captures, takes it all, waits until that one is gone, settles, and reads then.
 * Before it has settled it opens nothing else, and reads nothing. */

/* Nothing that the predecessor captures is missing. */
bool sources_inherited(const struct sources *s);
/* From now on every packet is ours. One that cannot be taken stays with the predecessor until it goes. */
void sources_take(struct sources *s);
void sources_settle(struct sources *s);

/* The predecessor's side: true if packets go to an heir, and everything that came before has been read. */
bool sources_handed_over(struct sources *s);

/* "eth0 lo", in order of opening. Returns out. */
const char *sources_names(const struct sources *s, char *out, size_t cap);

#endif
