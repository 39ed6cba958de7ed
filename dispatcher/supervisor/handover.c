/* SPDX-License-Identifier: Apache-2.0
 * See handover.h. Failure policy: whatever goes wrong before the heir has taken over leaves the old dispatcher as it
 * was. What follows is decided by rollout.c, which finds nobody on the way. */
#include "dispatcher/supervisor/handover.h"

#include <sys/wait.h>

#include "dispatcher/supervisor/starting.h"
#include "shared/log.h"

bool handover_begin(struct family *f, const struct program *program)
{
    struct child *h = &f->heir;
    if (f->phase != PHASE_RUNNING || config_reads_files(f->config) || f->memory->dispatchers != 1 || child_there(h))
        return false;
    h->program = *program;
    h->slot.generation = f->dispatcher.slot.generation; /* it becomes the next one */
    h->slot.faults = 0;
    h->ever_ready = true; /* a failure to start it is no failure of ours */
    f->heir_taken = f->heir_broken = f->heir_cancelled = false;
    (void)starting_spawn(h);
    return h->pid > 0;
}

void handover_taken(struct family *f)
{
    struct child *old = &f->dispatcher;
    if (f->heir_taken || f->heir.slot.killed)
        return;
    f->heir_taken = true;
    log_debug("the heir of the dispatcher has all interfaces pid=%d", (int)f->heir.pid);
    child_tell(old, PROTO_LEAVE, 0);
    slot_leave(&old->slot, SLOT_LEAVE_LIMIT_NS, family_now(f));
}

bool handover_is_taken(const struct family *f)
{
    return f->heir_taken && child_there(&f->heir);
}

/* All that belongs to the heir's process. */
static void move(struct child *to, struct child *from)
{
    struct family *f = to->family;
    evsource_remove(from->on_message);
    evsource_remove(from->on_exit);
    from->on_message = from->on_exit = NULL;
    to->pid = from->pid;
    to->pidfd = from->pidfd;
    to->sock = from->sock;
    to->program = from->program;
    to->on_message = evloop_on_readable(f->loop, to->sock, f->on_message, to);
    if (to->pidfd >= 0)
        to->on_exit = evloop_on_readable(f->loop, to->pidfd, f->on_exit, to);
    from->pid = 0;
    from->sock = from->pidfd = -1;
    slot_exited(&from->slot, DEATH_DONE, false, family_now(f));
}

bool handover_inherit(struct family *f)
{
    struct child *c = &f->dispatcher;
    if (!handover_is_taken(f)) {
        handover_cancel(f);
        return false;
    }
    f->heir_taken = false;
    move(c, &f->heir);
    c->stop_sent = false;
    c->failure[0] = '\0';
    c->progress_since = family_now(f);
    slot_spawned(&c->slot, family_now(f));
    child_tell(c, PROTO_START, 0);
    return true;
}

void handover_cancel(struct family *f)
{
    if (f->heir_taken || !child_there(&f->heir) || f->heir.slot.killed)
        return;
    f->heir_cancelled = true;
    slot_killed(&f->heir.slot);
    child_kill(&f->heir);
}

void handover_reap(struct family *f)
{
    struct child *h = &f->heir;
    char how[SPAWN_DEATH_TEXT];
    int status;
    if (h->pid <= 0 || spawn_reap(h->pid, &status) != h->pid)
        return;
    if (h->on_message)
        f->on_message(h); /* its last words */
    /* EXIT_TEMPFAIL: there is nothing wrong with it, but an interface cannot be handed over */
    bool cannot = WIFEXITED(status) && WEXITSTATUS(status) == EXIT_TEMPFAIL;
    enum slot_death death = slot_death_of(&h->slot, status);
    f->heir_broken = !f->heir_taken && !f->heir_cancelled && !cannot && (death == DEATH_FAULT || death == DEATH_CONFIG);
    log_warn("the dispatcher could not be replaced while it captures how=\"%s\"%s%s", spawn_death_text(status, how),
             h->failure[0] ? " why=" : "", h->failure);
    child_close(h);
    f->heir_taken = false;
    slot_exited(&h->slot, DEATH_DONE, false, family_now(f));
}

void handover_step(struct family *f, struct mono now)
{
    if (!child_there(&f->heir))
        return;
    if (!f->heir_taken && slot_tick(&f->heir.slot, now) == SLOT_KILL)
        child_kill(&f->heir);
    handover_reap(f); /* where there are no pidfds */
}
