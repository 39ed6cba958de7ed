/* SPDX-License-Identifier: Apache-2.0
 * See complaints.h. Cannot fail. */
#include "dispatcher/capture/complaints.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define ENTRIES (sizeof((struct complaints *)0)->entry / sizeof((struct complaints *)0)->entry[0])

/* The entry of this name; ENTRIES if there is none. */
static size_t find(const struct complaints *c, const char *name)
{
    size_t i = 0;
    while (i < ENTRIES && (c->entry[i].reason == 0 || strncmp(c->entry[i].name, name, INTERFACE_NAME) != 0))
        i++;
    return i;
}

bool complaints_known(const struct complaints *c, const char *name, int index, int reason)
{
    size_t i = find(c, name);
    return i < ENTRIES && c->entry[i].reason == reason && c->entry[i].index == index;
}

bool complaints_news(struct complaints *c, const char *name, int index, int reason)
{
    size_t i = find(c, name);
    if (complaints_known(c, name, index, reason))
        return false;
    if (i == ENTRIES)
        for (i = 0; i < ENTRIES && c->entry[i].reason != 0;)
            i++;
    if (i == ENTRIES)
        return false;
    (void)snprintf(c->entry[i].name, sizeof c->entry[i].name, "%.*s", INTERFACE_NAME - 1, name);
    c->entry[i].index = index;
    c->entry[i].reason = reason;
    return true;
}

void complaints_forget(struct complaints *c, const char *name)
{
    size_t i = find(c, name);
    if (i < ENTRIES)
        c->entry[i].reason = 0;
}
