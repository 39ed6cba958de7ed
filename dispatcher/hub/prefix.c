/* SPDX-License-Identifier: Apache-2.0
 * See prefix.h. */
#include "dispatcher/hub/prefix.h"

#include <stdatomic.h>
#include <string.h>

#include "shared/log.h"

/* The UUID that shows it, in two places in turn: a hub that dies in between leaves the one before. */
struct prefix_memory {
    _Atomic uint32_t current; /* 0 = none, else 1 + the place */
    struct uuid shows[2];
};
_Static_assert(sizeof(struct prefix_memory) <= PREFIX_BYTES, "the memory that others set aside");

static void set(struct prefix *p, const struct uuid *shows, struct wall time, uint32_t yyyymmdd)
{
    if (uuid_prefix_of(shows, &p->known) != SC_OK)
        return;
    p->shows =
        (struct flowevent){.kind = FLOWEVENT_CLOSE, .time = time, .yyyymmdd = yyyymmdd, .uuid = *shows, .prefix = true};
    p->next.ns = INT64_MIN;
}

static void hand_on(struct prefix_memory *m, const struct uuid *shows)
{
    uint32_t next = atomic_load_explicit(&m->current, memory_order_relaxed) == 1 ? 2 : 1;
    m->shows[next - 1] = *shows;
    /* release: its reader comes in another life, and finds all of it */
    atomic_store_explicit(&m->current, next, memory_order_release);
}

void prefix_init(struct prefix *p, const struct uuid *given, void *memory)
{
    *p = (struct prefix){.known = *given, .given = given->text[0] != '\0', .memory = memory};
    uint32_t at = atomic_load_explicit(&p->memory->current, memory_order_acquire);
    struct uuid shows;
    if (p->given || at == 0 || at > 2)
        return;
    const char *text = p->memory->shows[at - 1].text;
    if (uuid_set(&shows, text, strnlen(text, UUID_MAX + 1)) == SC_OK)
        set(p, &shows, (struct wall){0}, 19700101);
}

void prefix_learn(struct prefix *p, const struct flowevent *ev)
{
    struct uuid prefix;
    uint64_t cookie;
    if (ev->kind != FLOWEVENT_OPEN || uuid_cookie(&ev->uuid, &cookie) != SC_OK || cookie != (uint64_t)ev->cookie ||
        uuid_prefix_of(&ev->uuid, &prefix) != SC_OK || strcmp(prefix.text, p->known.text) == 0)
        return;
    if (p->given) {
        if (!p->warned)
            log_warn("UUIDs of tcp-info begin with %s, -uuid-prefix-file gives %s: one of them is wrong", prefix.text,
                     p->known.text);
        p->warned = true;
        return;
    }
    set(p, &ev->uuid, ev->time, ev->yyyymmdd);
    hand_on(p->memory, &ev->uuid);
}

bool prefix_due(struct prefix *p, struct mono now)
{
    if (p->given || !p->known.text[0] || now.ns < p->next.ns)
        return false;
    p->next.ns = now.ns + PREFIX_AGAIN_NS;
    return true;
}
