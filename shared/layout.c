/* SPDX-License-Identifier: Apache-2.0
 * See layout.h. Failure policy: a text that does not parse differs. */
#include "shared/layout.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shared/bus.h"
#include "shared/config.h"
#include "shared/counters.h"
#include "shared/proto.h"
#include "shared/ring.h"

const char *layout_common(char out[LAYOUT_TEXT])
{
    (void)snprintf(out, LAYOUT_TEXT, "proto %u config %d counters %d ring %d bus %d", PROTO_VERSION, CONFIG_LAYOUT,
                   COUNTERS_LAYOUT, RING_LAYOUT, BUS_LAYOUT);
    return out;
}

/* Takes the next pair; false at the end or where it is none. */
static bool next_pair(const char **text, char name_r[LAYOUT_NAME], long *number_r)
{
    char *end;
    const char *p = *text + strspn(*text, " \n");
    size_t n = strcspn(p, " \n");
    if (n == 0)
        return false;
    (void)snprintf(name_r, LAYOUT_NAME, "%.*s", (int)(n < LAYOUT_NAME ? n : LAYOUT_NAME - 1), p);
    p += n;
    *number_r = strtol(p, &end, 10);
    if (end == p)
        return false; /* and the text stays where it is no pair */
    *text = end;
    return true;
}

long layout_number(const char *text, const char *name)
{
    char word[LAYOUT_NAME];
    long number;
    while (next_pair(&text, word, &number))
        if (strcmp(word, name) == 0)
            return number;
    return -1;
}

bool layout_differs(const char *from, const char *to, char name_r[LAYOUT_NAME])
{
    long number = 0;
    name_r[0] = '\0';
    while (next_pair(&from, name_r, &number))
        if (layout_number(to, name_r) != number)
            return true;
    bool ended = from[strspn(from, " \n")] == '\0';
    return !ended || name_r[0] == '\0';
}
