/* SPDX-License-Identifier: Apache-2.0
 * Durations and sizes as people write them. Integers only: "0.1s" is exactly 100,000,000 ns.
 * Failure policy: a text is right to its last byte or refused; nothing saturates. */
#include "shared/flags.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Digits at *p into *v. False if there are none; *overflow is sticky. */
static bool take_digits(const char **p, uint64_t *v, bool *overflow)
{
    const char *start = *p;
    for (*v = 0; is_digit(**p); (*p)++)
        if (__builtin_mul_overflow(*v, UINT64_C(10), v) || __builtin_add_overflow(*v, (uint64_t)(**p - '0'), v))
            *overflow = true;
    return *p != start;
}

/* The unit at *p in ns, 0 if there is none. Go takes both signs for micro. */
static uint64_t take_unit(const char **p)
{
    static const struct {
        const char *text;
        uint64_t ns;
    } units[] = {{"ns", 1},       {"us", 1000},      {"\xc2\xb5s", 1000},          {"\xce\xbcs", 1000},
                 {"ms", 1000000}, {"s", 1000000000}, {"m", UINT64_C(60000000000)}, {"h", UINT64_C(3600000000000)}};
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        size_t n = strlen(units[i].text);
        if (strncmp(*p, units[i].text, n) == 0) {
            *p += n;
            return units[i].ns;
        }
    }
    return 0;
}

/* ".25" at *p as f / *scale; digits past the 15th, below any unit's nanosecond, are read and cut off. */
static bool take_fraction(const char **p, uint64_t *f, uint64_t *scale)
{
    *f = 0;
    *scale = 1;
    if (**p != '.')
        return false;
    const char *start = ++*p;
    for (; is_digit(**p); (*p)++) {
        if (*p - start < 15) {
            *f = *f * 10 + (uint64_t)(**p - '0');
            *scale *= 10;
        }
    }
    return *p != start;
}

int flags_duration(const char *text, int64_t *ns_r)
{
    const char *p = text + (*text == '+');
    uint64_t total = 0;
    bool overflow = false;
    *ns_r = 0;
    if (strcmp(p, "0") == 0)
        return SC_OK;
    if (*p == '\0')
        return SC_EFORMAT;
    while (*p) {
        uint64_t whole, f, scale;
        bool any = take_digits(&p, &whole, &overflow);
        any |= take_fraction(&p, &f, &scale);
        uint64_t unit = any ? take_unit(&p) : 0;
        if (unit == 0)
            return SC_EFORMAT;
        uint64_t part = (uint64_t)((unsigned __int128)f * unit / scale);
        if (__builtin_mul_overflow(whole, unit, &whole) || __builtin_add_overflow(total, whole, &total) ||
            __builtin_add_overflow(total, part, &total))
            overflow = true;
    }
    if (overflow || total > INT64_MAX)
        return SC_EFORMAT;
    *ns_r = (int64_t)total;
    return SC_OK;
}

int flags_size(const char *text, uint64_t *bytes_r)
{
    const char *p = text;
    bool overflow = false;
    uint64_t v, unit = 1;
    *bytes_r = 0;
    if (!take_digits(&p, &v, &overflow))
        return SC_EFORMAT;
    if (*p == 'K')
        unit = 1000;
    else if (*p == 'M')
        unit = 1000000;
    else if (*p == 'G')
        unit = 1000000000;
    p += unit != 1;
    p += *p == 'B';
    if (*p != '\0' || overflow || __builtin_mul_overflow(v, unit, &v))
        return SC_EFORMAT;
    *bytes_r = v;
    return SC_OK;
}

/* "1.5" + unit: v / unit with the fraction's trailing zeros cut off. */
static int put_scaled(char *out, size_t cap, uint64_t v, uint64_t unit, int digits, const char *name)
{
    int n = snprintf(out, cap, "%llu.%0*llu", (unsigned long long)(v / unit), digits, (unsigned long long)(v % unit));
    while (out[n - 1] == '0')
        n--;
    n -= out[n - 1] == '.';
    return n + snprintf(out + n, cap - (size_t)n, "%s", name);
}

const char *flags_duration_text(int64_t ns, char out[40])
{
    uint64_t v = ns > 0 ? (uint64_t)ns : 0;
    const uint64_t sec = 1000000000;
    if (v == 0) {
        memcpy(out, "0s", 3);
    } else if (v < 1000) {
        (void)snprintf(out, 40, "%lluns", (unsigned long long)v);
    } else if (v < 1000000) {
        (void)put_scaled(out, 40, v, 1000, 3, "\xc2\xb5s");
    } else if (v < sec) {
        (void)put_scaled(out, 40, v, 1000000, 6, "ms");
    } else {
        uint64_t minutes = v / sec / 60, hours = minutes / 60;
        int n = 0;
        if (hours > 0)
            n += snprintf(out, 40, "%lluh", (unsigned long long)hours);
        if (minutes > 0)
            n += snprintf(out + n, 40 - (size_t)n, "%llum", (unsigned long long)(minutes % 60));
        (void)put_scaled(out + n, 40 - (size_t)n, v % (sec * 60), sec, 9, "s");
    }
    return out;
}
