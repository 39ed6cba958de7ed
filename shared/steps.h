/* SPDX-License-Identifier: Apache-2.0
 * Steps of the wall clock: packets carry nothing but wall time, and somebody may set that clock, back or forward, while
 * they are on their way. What is to be put in order with them is read by CLOCK_MONOTONIC, and this says when, by that
 * clock, the wall clock showed a time. Between two steps the difference of the two clocks is constant (slewing moves
 * both), so it is enough to look at both now and then.
 * Failure policy: a time that fits nowhere is taken to be the moment that the caller holds for likely; steps from
 * before the first look are not known. */
#ifndef SHARED_STEPS_H
#define SHARED_STEPS_H

#include "shared/clock.h"

#define STEPS_KEPT 8 /* differences remembered; the oldest makes room */

/* All zero: nobody has looked yet. */
struct steps {
    struct {
        int64_t difference; /* wall - mono */
        int64_t after, by;  /* mono: it began after the former (INT64_MIN: at no known time), and by the latter */
    } era[STEPS_KEPT];
    unsigned count;
    struct mono looked;
};

/* Reads both clocks, and returns the mono of it. To be called before a question about what may have been captured
 * since. */
struct mono steps_look(struct steps *s, const struct clock *clock);

/* The wall clock at the last look; there was one. */
struct wall steps_wall(const struct steps *s);

/* When the wall clock showed `at`, up to the last look; if it did so more than once (it was set back), the moment
 * nearest to `near`; if it never did, `near`. */
struct mono steps_mono(const struct steps *s, struct wall at, struct mono near);

#endif
