/* SPDX-License-Identifier: Apache-2.0
 * See rollout.h. Failure policy: a child that dies while it is to go has gone; one whose successor does not get ready
 * stops the list until it does. */
#include "dispatcher/supervisor/rollout.h"

#include "shared/log.h"

/* The hub's answer to the person who asked travels while nothing happens yet. */
#define ROLLOUT_DELAY_NS (200 * NS_PER_MS)

static void show(struct family *f)
{
    counter_set(&f->memory->supervisor->restarting, f->rollout.count - f->rollout.next);
}

void rollout_add(struct family *f, struct child *c, enum proto_type how)
{
    struct rollout *r = &f->rollout;
    if (!rollout_busy(f)) {
        *r = (struct rollout){0};
        r->not_before.ns = family_now(f).ns + ROLLOUT_DELAY_NS;
    }
    for (unsigned i = r->next; i < r->count; i++)
        if (r->entry[i].child == c)
            return;
    if (r->count < sizeof(r->entry) / sizeof(*r->entry))
        r->entry[r->count++] = (struct rollout_entry){.child = c, .how = how};
    show(f); /* before anybody is told that it has begun */
}

bool rollout_busy(const struct family *f)
{
    return f->rollout.next < f->rollout.count;
}

static bool somebody_moves(const struct family *f)
{
    bool moves = f->hub.slot.state != SLOT_READY;
    for (unsigned i = 0; i < f->memory->shards; i++)
        moves = moves || f->shard[i].slot.state == SLOT_STARTING || f->shard[i].slot.state == SLOT_LEAVING;
    return moves || f->dispatcher.slot.state == SLOT_STARTING || f->dispatcher.slot.state == SLOT_LEAVING;
}

static void tell(struct rollout_entry *e, struct mono now)
{
    struct child *c = e->child;
    char name[CHILD_NAME];
    e->told = true;
    e->generation = c->slot.generation;
    log_info("restarting child=%s pid=%d generation=%u", child_name(c, name), (int)c->pid, c->slot.generation);
    child_tell(c, e->how, 0);
    slot_leave(&c->slot, e->how == PROTO_DRAIN ? SLOT_DRAIN_LIMIT_NS : SLOT_LEAVE_LIMIT_NS, now);
}

void rollout_step(struct family *f, struct mono now)
{
    struct rollout *r = &f->rollout;
    if (f->phase >= PHASE_DRAINING)
        r->next = r->count;
    if (rollout_busy(f) && now.ns >= r->not_before.ns) {
        struct rollout_entry *e = &r->entry[r->next];
        const struct slot *s = &e->child->slot;
        if (e->told && s->state == SLOT_READY && s->generation != e->generation)
            r->next++;
        else if (!e->told && s->state == SLOT_READY && !somebody_moves(f))
            tell(e, now);
    }
    show(f);
}
