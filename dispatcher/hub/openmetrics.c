/* SPDX-License-Identifier: Apache-2.0
 * See openmetrics.h. Failure policy: an Accept header that makes no sense gets the classic form. */
#include "dispatcher/hub/openmetrics.h"

#include <stdlib.h>
#include <string.h>

/* q of a media range, -1 if the header does not name it. */
static double weight(const char *accept, const char *range)
{
    const char *at = strstr(accept, range);
    if (!at)
        return -1;
    size_t rest = strcspn(at, ",");
    for (const char *p = at; p + 3 <= at + rest; p++)
        if (strncmp(p, ";q=", 3) == 0) {
            double q = strtod(p + 3, NULL);
            return q >= 0 && q <= 1 ? q : 0;
        }
    return 1;
}

bool openmetrics_wanted(const char *accept)
{
    double q = weight(accept, "application/openmetrics-text");
    return q > 0 && q >= weight(accept, "text/plain");
}

/* "# HELP name_total text" or "# TYPE name_total counter": the length of the name's part before _total, else 0. */
static size_t counter_name(const char *line, size_t len)
{
    static const char end[] = "_total";
    if (len < 7 || (strncmp(line, "# HELP ", 7) != 0 && strncmp(line, "# TYPE ", 7) != 0))
        return 0;
    const char *space = memchr(line + 7, ' ', len - 7);
    size_t name = space ? (size_t)(space - line) : len;
    return name > 7 + sizeof end - 1 && memcmp(line + name - (sizeof end - 1), end, sizeof end - 1) == 0
               ? name - (sizeof end - 1)
               : 0;
}

void openmetrics_from(const struct text *classic, struct text *out)
{
    out->failed |= classic->failed;
    const char *p = classic->data, *stop = p ? p + classic->len : p;
    while (p < stop) {
        const char *newline = memchr(p, '\n', (size_t)(stop - p));
        size_t len = newline ? (size_t)(newline + 1 - p) : (size_t)(stop - p);
        size_t kept = counter_name(p, len);
        text_add(out, p, kept ? kept : len);
        if (kept)
            text_add(out, p + kept + strlen("_total"), len - kept - strlen("_total"));
        p += len;
    }
    text_printf(out, "# EOF\n");
}
