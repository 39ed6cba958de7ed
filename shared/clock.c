/* SPDX-License-Identifier: Apache-2.0
 * The system's clocks and the civil calendar. The calendar is proleptic Gregorian and done in 64-bit integers, because
 * gmtime_r drags in locale and time zone state that a confined process must not read.
 * Source of the day arithmetic: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".
 * Failure policy: a clock that cannot be read is impossible on Linux for these ids; the result is then 0. */
#include "shared/clock.h"

#include <time.h>

#define DAYS_PER_ERA INT64_C(146097) /* 400 years */
#define DAYS_TO_1970 INT64_C(719468) /* from 0000-03-01 */
#define SEC_PER_DAY INT64_C(86400)
#define FIRST_DAY INT64_C(-719162) /* 0001-01-01 */
#define LAST_DAY INT64_C(2932896)  /* 9999-12-31 */

static int64_t read_ns(clockid_t id)
{
    struct timespec ts = {0};
    (void)clock_gettime(id, &ts);
    return (int64_t)ts.tv_sec * NS_PER_SEC + ts.tv_nsec;
}

static struct mono system_mono(void *ctx)
{
    (void)ctx;
    return (struct mono){read_ns(CLOCK_MONOTONIC)};
}

static struct wall system_wall(void *ctx)
{
    (void)ctx;
    return (struct wall){read_ns(CLOCK_REALTIME)};
}

const struct clock *clock_system(void)
{
    static const struct clock c = {.mono = system_mono, .wall = system_wall};
    return &c;
}

/* Division that rounds down, so that times before 1970 land in the right day. */
static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

int64_t clock_days(int year, int month, int day)
{
    /* Years begin in March here, so that the leap day is the last of its year. */
    int64_t y = (int64_t)year - (month <= 2);
    int64_t era = floor_div(y, 400);
    int64_t year_of_era = y - era * 400;
    int64_t month_from_march = (month + 9) % 12;
    int64_t day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * DAYS_PER_ERA + day_of_era - DAYS_TO_1970;
}

struct civil clock_civil(struct wall t)
{
    int64_t sec = floor_div(t.ns, NS_PER_SEC);
    int64_t ns = t.ns % NS_PER_SEC; /* not t.ns - sec * NS_PER_SEC: that overflows in the first second of the range */
    return clock_civil_of(sec, (int32_t)(ns < 0 ? ns + NS_PER_SEC : ns));
}

struct civil clock_civil_of(int64_t sec, int32_t ns)
{
    if (sec < FIRST_DAY * SEC_PER_DAY)
        return (struct civil){.year = 1, .month = 1, .day = 1};
    if (sec >= (LAST_DAY + 1) * SEC_PER_DAY)
        return (struct civil){9999, 12, 31, 23, 59, 59, 999999999};
    int64_t days = floor_div(sec, SEC_PER_DAY);
    int64_t in_day = sec - days * SEC_PER_DAY;

    int64_t z = days + DAYS_TO_1970;
    int64_t era = floor_div(z, DAYS_PER_ERA);
    int64_t doe = z - era * DAYS_PER_ERA;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    int64_t mp = (5 * doy + 2) / 153;
    int month = (int)(mp < 10 ? mp + 3 : mp - 9);
    return (struct civil){
        .year = (int)(yoe + era * 400 + (month <= 2)),
        .month = month,
        .day = (int)(doy - (153 * mp + 2) / 5 + 1),
        .hour = (int)(in_day / 3600),
        .min = (int)(in_day / 60 % 60),
        .sec = (int)(in_day % 60),
        .ns = ns,
    };
}

uint32_t clock_yyyymmdd(struct wall t)
{
    struct civil c = clock_civil(t);
    return (uint32_t)(c.year * 10000 + c.month * 100 + c.day);
}

/* Decimal digits of v with leading zeros, without a NUL. */
static char *put_digits(char *p, int64_t v, int width)
{
    for (int i = width - 1; i >= 0; i--, v /= 10)
        p[i] = (char)('0' + v % 10);
    return p + width;
}

void clock_format(struct wall t, char out[CLOCK_TEXT])
{
    struct civil c = clock_civil(t);
    char *p = put_digits(out, c.year, 4);
    *p++ = '-';
    p = put_digits(p, c.month, 2);
    *p++ = '-';
    p = put_digits(p, c.day, 2);
    *p++ = 'T';
    p = put_digits(p, c.hour, 2);
    *p++ = ':';
    p = put_digits(p, c.min, 2);
    *p++ = ':';
    p = put_digits(p, c.sec, 2);
    *p++ = '.';
    p = put_digits(p, c.ns, 9);
    *p++ = 'Z';
    *p = '\0';
}
