/* SPDX-License-Identifier: Apache-2.0
 * See rollout.h. Failure policy: a child that dies while it is to go has gone; one whose successor does not get ready
 * stops the list until it does. */
#include "dispatcher/supervisor/rollout.h"

#include "shared/log.h"

/* The hub's answer to the person who asked travels while nothing happens yet. */
#define ROLLOUT_DELAY_NS (200 * NS_PER_MS)

/* The supervisor's own turn. If it succeeds nobody comes back here. */
static void replace_self(struct family *f)
{
    const struct program next = f->rollout.entry[f->rollout.next++].program;
    log_info("restarting the supervisor");
    if (f->exec_self(f, &next) != SC_OK)
        log_error("the supervisor stays what it is: cannot execute the new program error=%m");
}

static void show(struct family *f)
{
    counter_set(&f->memory->supervisor->restarting, f->rollout.count - f->rollout.next);
}

void rollout_add_entry(struct family *f, const struct rollout_entry *entry)
{
    struct rollout *r = &f->rollout;
    if (!rollout_busy(f)) {
        *r = (struct rollout){0};
        r->not_before.ns = family_now(f).ns + ROLLOUT_DELAY_NS;
    }
    for (unsigned i = r->next; i < r->count; i++)
        if (r->entry[i].child == entry->child)
            return;
    if (r->count < sizeof(r->entry) / sizeof(*r->entry))
        r->entry[r->count++] = *entry;
    show(f); /* before anybody is told that it has begun */
}

void rollout_add(struct family *f, struct child *c, enum proto_type how)
{
    rollout_add_entry(f, &(struct rollout_entry){.child = c, .how = how});
}

/* All that it took has its fate: nothing is left in the arena that somebody would miss. */
static bool is_empty(const struct family *f, unsigned shard)
{
    const struct shard_counters *c = &f->memory->shard[shard]->c;
    uint64_t fates = counter_get(&c->published);
    for (int i = 0; i < CAUSE_COUNT; i++)
        fates += counter_get(&c->drops[i]);
    return fates == counter_get(&c->consumed);
}

void rollout_left(struct family *f, struct child *c, bool clean)
{
    struct rollout *r = &f->rollout;
    char name[CHILD_NAME];
    if (!rollout_busy(f) || r->entry[r->next].child != c || !r->entry[r->next].told)
        return;
    struct rollout_entry *e = &r->entry[r->next];
    if (e->new_arena && !(clean && is_empty(f, c->index))) {
        log_warn("it left without publishing everything: the same program goes on and is asked again child=%s",
                 child_name(c, name));
        e->told = false;
        return;
    }
    if (e->new_arena && memory_renew_arena(f->memory, c->index, f->config) != SC_OK) {
        log_error("no memory for a new arena, the old program goes on child=%s error=%m", child_name(c, name));
        e->told = false;
        return;
    }
    if (e->program.name)
        c->program = e->program;
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
    return moves || child_there(&f->heir) || f->dispatcher.slot.state == SLOT_STARTING ||
           f->dispatcher.slot.state == SLOT_LEAVING;
}

static void tell(struct family *f, struct rollout_entry *e, struct mono now)
{
    struct child *c = e->child;
    char name[CHILD_NAME];
    e->told = true;
    e->generation = c->slot.generation;
    log_info("restarting child=%s pid=%d generation=%u", child_name(c, name), (int)c->pid, c->slot.generation);
    e->handing = c->kind == CHILD_DISPATCHER && !e->plain && f->hand_over &&
                 f->hand_over(f, e->program.name ? &e->program : &c->program);
    e->plain = true;
    if (e->handing) {
        e->before = c->program;
        if (e->program.name)
            c->program = e->program; /* of whoever comes next */
        return;
    }
    child_tell(c, e->how, 0);
    slot_leave(&c->slot, e->how == PROTO_DRAIN ? SLOT_DRAIN_LIMIT_NS : SLOT_LEAVE_LIMIT_NS, now);
}

/* It came to nothing. One after the other, then, but not for a program that does not come up: what captures goes on. */
static void no_heir(struct family *f, struct rollout_entry *e)
{
    e->told = e->handing = false;
    if (!f->heir_broken)
        return;
    log_error("the dispatcher that was to come does not come up: the one that captures goes on");
    e->child->program = f->dispatcher_program = e->before;
    f->rollout.next++;
}

void rollout_step(struct family *f, struct mono now)
{
    struct rollout *r = &f->rollout;
    if (f->phase >= PHASE_DRAINING)
        r->next = r->count;
    if (rollout_busy(f) && now.ns >= r->not_before.ns) {
        struct rollout_entry *e = &r->entry[r->next];
        const struct slot *s = e->child ? &e->child->slot : NULL;
        if (!s && !somebody_moves(f))
            replace_self(f);
        else if (!s)
            return;
        else if (e->handing && s->state == SLOT_READY && s->generation == e->generation && !child_there(&f->heir))
            no_heir(f, e);
        else if (e->told && s->state == SLOT_READY && s->generation != e->generation)
            r->next++;
        else if (!e->told && s->state == SLOT_READY && !somebody_moves(f))
            tell(f, e, now);
    }
    show(f);
}
