/* SPDX-License-Identifier: Apache-2.0
 * See prefix.h. */
#include "dispatcher/hub/prefix.h"

#include <string.h>

#include "shared/log.h"

void prefix_init(struct prefix *p, const struct uuid *given)
{
    *p = (struct prefix){.known = *given, .given = given->text[0] != '\0'};
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
    p->known = prefix;
    p->shows = (struct flowevent){
        .kind = FLOWEVENT_CLOSE, .time = ev->time, .yyyymmdd = ev->yyyymmdd, .uuid = ev->uuid, .prefix = true};
    p->next.ns = INT64_MIN;
}

bool prefix_due(struct prefix *p, struct mono now)
{
    if (p->given || !p->known.text[0] || now.ns < p->next.ns)
        return false;
    p->next.ns = now.ns + PREFIX_AGAIN_NS;
    return true;
}
