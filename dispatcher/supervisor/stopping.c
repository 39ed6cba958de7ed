/* SPDX-License-Identifier: Apache-2.0
 * See stopping.h. Cannot fail: whom a message does not reach is found dead or stuck. */
#include "dispatcher/supervisor/stopping.h"

#include "dispatcher/supervisor/notify.h"
#include "shared/log.h"

#define EXTERNAL_WAIT_NS (30 * NS_PER_SEC)

static void close_hub(struct family *f)
{
    family_enter(f, PHASE_CLOSING);
    f->hub.stop_sent = true;
    child_tell(&f->hub, PROTO_STOP, 0);
    if (f->hub.slot.state == SLOT_DUE || f->hub.slot.state == SLOT_IDLE)
        slot_exited(&f->hub.slot, DEATH_DONE, false, family_now(f));
    if (f->hub.pid == 0)
        evloop_stop(f->loop);
}

/* One that went away with work left: its own supervisor is to bring it back. */
static void wait_for_external(struct child *c)
{
    struct family *f = c->family;
    struct mono now = family_now(f);
    char name[CHILD_NAME];
    int64_t since = c->slot.since.ns > f->phase_since.ns ? c->slot.since.ns : f->phase_since.ns;
    if (now.ns - since < EXTERNAL_WAIT_NS)
        return;
    slot_exited(&c->slot, DEATH_DONE, false, now);
    family_fail(f, EXIT_FAILED, child_name(c, name), "did not come back to publish what it holds");
}

void stopping_finish_shards(struct family *f)
{
    bool all = true;
    if (f->phase < PHASE_FINISHING)
        family_enter(f, PHASE_FINISHING);
    for (unsigned i = 0; i < f->memory->shards; i++) {
        struct child *c = &f->shard[i];
        if (!c->stop_sent && c->slot.state == SLOT_READY) { /* the END may be missing; both together do no harm */
            c->stop_sent = true;
            child_tell(c, PROTO_STOP, 0);
        }
        if (c->slot.state == SLOT_DUE && !c->ever_ready && !child_there(c))
            slot_exited(&c->slot, DEATH_DONE, false, family_now(f)); /* it has nothing to save */
        else if (c->slot.external && c->slot.state == SLOT_DUE)
            wait_for_external(c);
        all = all && c->slot.state == SLOT_ENDED;
    }
    if (all && f->phase == PHASE_FINISHING)
        close_hub(f);
}

void stopping_tell_dispatcher(struct family *f)
{
    int64_t left = f->grace_end.ns - family_now(f).ns;
    f->dispatcher.stop_sent = true;
    child_tell(&f->dispatcher, PROTO_STOP, left > 0 ? (left + NS_PER_MS - 1) / NS_PER_MS : 0);
}

void stopping_step(struct family *f)
{
    const struct child *c = &f->dispatcher;
    if (f->phase == PHASE_DRAINING && c->pid > 0 && c->slot.state == SLOT_READY && !c->stop_sent &&
        !child_there(&f->heir))
        stopping_tell_dispatcher(f);
}

void stopping_stop(struct family *f, int64_t wait_ms)
{
    notify_send("STOPPING=1\nSTATUS=draining");
    f->grace_end.ns = family_now(f).ns + wait_ms * NS_PER_MS;
    if (f->phase == PHASE_RUNNING || f->phase == PHASE_DRAINING || f->dispatcher.pid > 0) {
        family_enter(f, PHASE_DRAINING);
        if (child_there(&f->heir))
            return; /* in a moment there is one of them */
        if (f->dispatcher.pid > 0) {
            stopping_tell_dispatcher(f);
            return;
        }
        slot_exited(&f->dispatcher.slot, DEATH_DONE, false, family_now(f)); /* it was between two lives */
    }
    if (f->phase < PHASE_FINISHING)
        stopping_finish_shards(f);
}

void stopping_ask(struct family *f)
{
    f->stops++;
    if (f->stops == 1)
        log_info("stopping grace=%lldms", (long long)(f->config->sigtermwait_ns / NS_PER_MS));
    stopping_stop(f, f->stops == 1 ? f->config->sigtermwait_ns / NS_PER_MS : 0);
}

void stopping_give_up(struct family *f)
{
    stopping_stop(f, 0);
    if (f->phase == PHASE_DRAINING)
        stopping_stop(f, 0);
}
