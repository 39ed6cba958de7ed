/* SPDX-License-Identifier: Apache-2.0
 * Choosing interfaces. Pure; cannot fail. */
#include "dispatcher/capture/links.h"

#include <stdio.h>
#include <string.h>

const struct link *links_by_name(const struct links *t, const char *name)
{
    for (size_t i = 0; i < t->count; i++)
        if (strncmp(t->link[i].name, name, INTERFACE_NAME) == 0)
            return &t->link[i];
    return NULL;
}

const struct link *links_by_index(const struct links *t, int index)
{
    for (size_t i = 0; i < t->count; i++)
        if (t->link[i].index == index)
            return &t->link[i];
    return NULL;
}

/* Masters may be stacked (a bond in a bridge): one member under a captured master at any height is enough. Interfaces
 * cannot be their own ancestors, but the table comes from several kernel answers, so the climb is bounded. */
static bool in_default_set(const struct links *t, const struct link *l)
{
    if (!l->up || l->loopback)
        return false;
    const struct link *at = l;
    for (int height = 0; height < 8 && at->master; height++) {
        at = links_by_index(t, at->master);
        if (!at)
            break;
        if (at->joins && at->up)
            return false;
    }
    return true;
}

static size_t store(const struct link **chosen, size_t n, size_t max, const struct link *l)
{
    if (n < max)
        chosen[n] = l;
    return n + 1;
}

static bool named_before(const char (*names)[INTERFACE_NAME], size_t i)
{
    for (size_t j = 0; j < i; j++)
        if (strncmp(names[j], names[i], INTERFACE_NAME) == 0)
            return true;
    return false;
}

size_t links_select(const struct links *t, const char (*names)[INTERFACE_NAME], size_t name_count,
                    const struct link **chosen, size_t max)
{
    size_t n = 0;
    if (name_count == 0) {
        for (size_t i = 0; i < t->count; i++)
            if (in_default_set(t, &t->link[i]))
                n = store(chosen, n, max, &t->link[i]);
        return n;
    }
    for (size_t i = 0; i < name_count; i++) {
        const struct link *l = named_before(names, i) ? NULL : links_by_name(t, names[i]);
        if (l && l->up)
            n = store(chosen, n, max, l);
    }
    return n;
}

/* Adds one address unless it is there. Past max it only counts, duplicates included: the caller then knows that there
 * are too many, which is all it needs. */
static size_t add_unique(struct ipaddr *out, size_t n, size_t max, const struct ipaddr *ip)
{
    for (size_t i = 0; i < n && i < max; i++)
        if (ipaddr_equal(&out[i], ip))
            return n;
    if (n < max)
        out[n] = *ip;
    return n + 1;
}

size_t links_addresses(const struct links *t, const struct link *const *chosen, size_t count, struct ipaddr *out,
                       size_t max)
{
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        if (chosen[i]->loopback)
            continue;
        for (size_t k = 0; k < t->address_count; k++)
            if (t->address[k].index == chosen[i]->index)
                n = add_unique(out, n, max, &t->address[k].ip);
    }
    return n;
}

size_t links_all_addresses(const struct links *t, struct ipaddr *out, size_t max)
{
    size_t n = 0;
    for (size_t k = 0; k < t->address_count; k++)
        n = add_unique(out, n, max, &t->address[k].ip);
    return n;
}

const char *link_shown(const struct link *l, char out[INTERFACE_NAME])
{
    (void)snprintf(out, INTERFACE_NAME, "%.*s", INTERFACE_NAME - 1, l->name);
    for (char *p = out; *p; p++)
        if (*p <= ' ' || *p > '~' || *p == '"' || *p == '\\')
            *p = '?';
    return out;
}

const char *links_names(const struct links *t, char *out, size_t cap)
{
    size_t len = 0;
    out[0] = '\0';
    for (size_t i = 0; i < t->count; i++) {
        char word[INTERFACE_NAME + 16], name[INTERFACE_NAME];
        int n = snprintf(word, sizeof word, "%s%s%s", len ? " " : "", link_shown(&t->link[i], name),
                         t->link[i].up ? "" : " (down)");
        if (n < 0 || len + (size_t)n + 4 > cap) {
            if (len + 4 <= cap)
                memcpy(out + len, " ..", 4);
            break;
        }
        memcpy(out + len, word, (size_t)n + 1);
        len += (size_t)n;
    }
    return out;
}
