/* SPDX-License-Identifier: Apache-2.0
 * Time as types that cannot be mixed up. Nothing below main.c reads a clock by itself: it is handed a
 * struct clock, so that tests run on a fake one. Unit everywhere: nanoseconds. */
#ifndef SHARED_CLOCK_H
#define SHARED_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

#define NS_PER_SEC INT64_C(1000000000)
#define NS_PER_MS INT64_C(1000000)

/* CLOCK_MONOTONIC. Never goes back; has no date. */
struct mono {
    int64_t ns;
};

/* Since 1970-01-01 UTC; what a packet or an event carries. May go back or jump. */
struct wall {
    int64_t ns;
};

/* The time by which flows live: CLOCK_MONOTONIC on live capture, the running maximum of packet times
 * with -read. Every ring record carries it, so a shard decides the same things however late, and by
 * however many shards, a record is consumed. Never goes back within a run. */
struct instant {
    int64_t ns;
};

struct clock {
    struct mono (*mono)(void *ctx);
    struct wall (*wall)(void *ctx);
    void *ctx;
};

/* The system's clocks. Static storage. */
const struct clock *clock_system(void);

/* A date of the proleptic Gregorian calendar, UTC. */
struct civil {
    int year; /* 1..9999 */
    int month, day, hour, min, sec;
    int32_t ns; /* 0..999999999 */
};

/* Fields of `t` in UTC. Times before the year 1 or after 9999 are clamped to those years. */
struct civil clock_civil(struct wall t);

/* The same of seconds since 1970-01-01 and nanoseconds, for dates that a struct wall cannot hold (it reaches from 1677
 * to 2262). */
struct civil clock_civil_of(int64_t sec, int32_t ns);

/* YYYYMMDD of `t` in UTC, e.g. 20241119. */
uint32_t clock_yyyymmdd(struct wall t);

/* Days since 1970-01-01 of a valid date (Howard Hinnant's days_from_civil). */
int64_t clock_days(int year, int month, int day);

/* Writes "2024-11-19T16:51:48.123456789Z" into out (31 bytes with the NUL). */
#define CLOCK_TEXT 31
void clock_format(struct wall t, char out[CLOCK_TEXT]);

#endif
