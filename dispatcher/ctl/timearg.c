/* SPDX-License-Identifier: Apache-2.0
 * Failure policy: what is not exactly one of the forms is SC_EFORMAT. */
#include "dispatcher/ctl/timearg.h"

#include <stdio.h>
#include <string.h>

#include "shared/flowevent.h"

/* "90s" */
static int parse_ago(const char *text, struct wall now, struct wall *out)
{
    static const struct {
        char unit;
        int64_t seconds;
    } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
    size_t n = strspn(text, "0123456789");
    if (n == 0 || n > 9 || text[n] == '\0' || text[n + 1] != '\0')
        return SC_EFORMAT;
    int64_t value = 0;
    for (size_t i = 0; i < n; i++)
        value = value * 10 + (text[i] - '0');
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        int64_t ns;
        if (units[i].unit != text[n])
            continue;
        if (__builtin_mul_overflow(value * units[i].seconds, NS_PER_SEC, &ns))
            return SC_EFORMAT;
        out->ns = now.ns - ns;
        return SC_OK;
    }
    return SC_EFORMAT;
}

int timearg_parse(const char *text, struct wall now, struct wall *out)
{
    static const char *const rest[] = {"", ":00Z", "T00:00:00Z"};
    char whole[64];
    if (parse_ago(text, now, out) == SC_OK)
        return SC_OK;
    for (size_t i = 0; i < sizeof rest / sizeof rest[0]; i++) {
        int n = snprintf(whole, sizeof whole, "%s%s", text, rest[i]);
        if (n > 0 && (size_t)n < sizeof whole && flowevent_parse_time(whole, out))
            return SC_OK;
    }
    return SC_EFORMAT;
}
