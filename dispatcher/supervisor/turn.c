/* SPDX-License-Identifier: Apache-2.0
 * See turn.h. Cannot fail. */
#include "dispatcher/supervisor/turn.h"

bool turn_of(const struct family *f, const struct child *c)
{
    if (c->kind == CHILD_HUB)
        return true;
    if (c->kind == CHILD_DISPATCHER && child_there(&f->heir))
        return false; /* it is being killed: two at a time would be two producers */
    if (f->hub.slot.state != SLOT_READY)
        return c->ever_ready; /* it reads its ring at once, and says READY when the hub is back */
    if (f->dispatcher.slot.state == SLOT_STARTING)
        return false;
    for (unsigned i = 0; i < f->memory->shards; i++)
        if (f->shard[i].slot.state == SLOT_STARTING && !f->shard[i].slot.external)
            return false;
    return true;
}
