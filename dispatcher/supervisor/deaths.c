/* SPDX-License-Identifier: Apache-2.0
 * See deaths.h. Failure policy: a child's death is never ours; a child that refuses its configuration, or a dispatcher
 * that cannot open its capture at start, stops the family with its status and its words as the reason. */
#include "dispatcher/supervisor/deaths.h"

#include <signal.h>
#include <sys/wait.h>

#include "dispatcher/supervisor/gauges.h"
#include "dispatcher/supervisor/handover.h"
#include "dispatcher/supervisor/messages.h"
#include "dispatcher/supervisor/rollout.h"
#include "dispatcher/supervisor/stopping.h"
#include "dispatcher/supervisor/watch.h"
#include "shared/log.h"

#define START_TRIES 4    /* faults of a child that was never ready, before the start is given up */
#define START_DEATHS 50  /* the same for deaths that somebody else caused, as a machine short of memory does */
#define OWING_TRIES 10   /* ends of a shard that says it is done when it is not; more are faults */
#define LAST_MESSAGES 16 /* times the budget of messages_take: more than a socket holds */

/* True if the child is to be replaced. Status 0 alone is no proof that the work is done: SIGTERM from outside means
 * "leave as things are", and whoever sends it to the whole process group sends it to all. */
static bool wanted(const struct child *c, enum slot_death death)
{
    const struct family *f = c->family;
    if (c->kind == CHILD_HUB)
        return f->phase < PHASE_CLOSING;
    if (c->kind == CHILD_DISPATCHER && handover_is_taken(f))
        return true;
    if (c->kind == CHILD_DISPATCHER)
        return !config_reads_files(f->config) && !(death == DEATH_DONE && c->stop_sent) && f->phase <= PHASE_DRAINING &&
               f->stops < 2;
    if (f->phase >= PHASE_DRAINING && c->slot.faults >= DEATHS_FINISH_TRIES)
        return false;
    if (death == DEATH_DONE && (f->phase >= PHASE_DRAINING || config_reads_files(f->config)))
        return watch_shard_owes(f, c->index);
    return f->phase < PHASE_FINISHING || c->ever_ready;
}

/* A death that ends the run: nobody needs to see it again. */
static bool is_fatal(const struct child *c, enum slot_death death)
{
    const struct family *f = c->family;
    if (death == DEATH_CONFIG)
        return true;
    if (death == DEATH_FAULT && c->failure[0] && (!c->ever_ready || (c->kind == CHILD_DISPATCHER && !f->capturing)))
        return true;
    if (c->ever_ready || f->phase > PHASE_OPENING)
        return false;
    return (death == DEATH_FAULT && c->slot.faults + 1 >= START_TRIES) || c->unready_deaths >= START_DEATHS;
}

static void dispatcher_died(struct family *f, enum slot_death death, int wait_status, const char *how)
{
    struct child *c = &f->dispatcher;
    bool asked = f->stops > 0 && WIFSIGNALED(wait_status) && WTERMSIG(wait_status) == SIGTERM;
    if (c->slot.state == SLOT_DUE) {
        (void)handover_inherit(f); /* else a successor will be started */
        return;
    }
    handover_cancel(f);
    if (death != DEATH_DONE && !asked)
        family_fail(f, c->failure[0] ? c->failure_status : EXIT_FAILED, c->failure[0] ? "" : "dispatcher",
                    c->failure[0] ? c->failure : how);
    stopping_finish_shards(f);
}

/* Tells the next process of this slot that the last one may have died of what it does (shard/fault.h). What it says
 * itself of its progress tells only whether to wait before the next start: one that got on is no loop. */
static enum slot_death note_fault(struct child *c, enum slot_death death, int wait_status)
{
    const struct shard_page *page = c->family->memory->shard[c->index];
    struct shard_faults *faults = (void *)(uintptr_t)&page->faults; /* the only part that is ours to write */
    struct mono now = family_now(c->family);
    if (!slot_fault_counts(&c->slot, wait_status))
        return death;
    if (c->slot.killed)
        c->waited_ns += now.ns - c->progress_since.ns;
    counter_set(&faults->last_ns, (uint64_t)(now.ns - c->waited_ns));
    counter_add(&faults->count, 1);
    bool got_on = counter_get(&faults->known) == 1 && shard_page_consumed(page) != counter_get(&faults->began_at);
    return got_on && c->ever_ready ? DEATH_OUTSIDE : death;
}

/* The head of the page is ours; a shard that wrote over it must not keep its successors from starting. */
static void mend_page(const struct child *c)
{
    struct shard_page *page = (void *)(uintptr_t)c->family->memory->shard[c->index];
    page->magic = SHARD_PAGE_MAGIC;
    page->layout = COUNTERS_LAYOUT;
}

/* wait_status: for an external one 0, or a signal of a fault. */
static void died(struct child *c, enum slot_death death, int wait_status, const char *how)
{
    struct family *f = c->family;
    char name[CHILD_NAME];
    bool asked_to_go = c->slot.state == SLOT_LEAVING;
    if (c->kind == CHILD_SHARD) {
        mend_page(c);
        death = note_fault(c, death, wait_status);
        if (death == DEATH_DONE && f->phase >= PHASE_DRAINING && watch_shard_owes(f, c->index) &&
            ++c->owing > OWING_TRIES)
            death = DEATH_FAULT; /* so that there is an end to it */
    }
    child_name(c, name);
    for (int i = 0; i < LAST_MESSAGES && c->on_message; i++)
        messages_take(c); /* its last words */
    c->unready_deaths += !c->ever_ready;
    bool fatal = is_fatal(c, death);
    bool again = wanted(c, death);
    child_close(c);
    if (asked_to_go)
        rollout_left(f, c, death == DEATH_DONE);
    int64_t delay = slot_exited(&c->slot, death, again && !fatal, family_now(f));
    if (delay >= 0) {
        counter_add(gauges_restarts(c), 1);
        if (asked_to_go && death == DEATH_DONE)
            log_debug("child left child=%s", name);
        else
            log_warn("child died child=%s how=\"%s\"%s%s restart_in=%lldms", name, how, c->failure[0] ? " why=" : "",
                     c->failure, (long long)(delay / NS_PER_MS));
    }
    if (fatal && c->kind != CHILD_DISPATCHER) {
        int status = c->failure[0] ? c->failure_status : death == DEATH_CONFIG ? WEXITSTATUS(wait_status) : EXIT_FAILED;
        family_fail(f, status, c->failure[0] ? "" : name, c->failure[0] ? c->failure : how);
        stopping_give_up(f);
    } else if (!again && death != DEATH_DONE && c->kind == CHILD_SHARD) {
        family_fail(f, EXIT_FAILED, name, how);
        stopping_give_up(f);
    }
    if (c->kind == CHILD_DISPATCHER)
        dispatcher_died(f, death, wait_status, how);
    else if (c->kind == CHILD_SHARD && f->phase >= PHASE_FINISHING)
        stopping_finish_shards(f);
    else if (c->kind == CHILD_HUB && f->phase == PHASE_CLOSING)
        evloop_stop(f->loop);
    gauges_set(f);
    evloop_timer_set(f->timer, 0); /* its successor need not wait for the next tick */
}

/* Only its socket is there to tell, and what it has said of a death of its own making: whether it had done its work is
 * seen by the work. */
static void external_gone(struct child *c)
{
    const struct family *f = c->family;
    bool own = counter_get(&f->memory->shard[c->index]->faults.own) == c->slot.generation;
    bool done = f->phase >= PHASE_DRAINING && !watch_shard_owes(f, c->index);
    bool stuck = c->slot.killed && c->slot.state != SLOT_LEAVING;
    enum slot_death death = own || stuck ? DEATH_FAULT : done ? DEATH_DONE : DEATH_OUTSIDE;
    /* Which signal it was is nobody's business here; that it was one of those that count is. */
    died(c, death, own ? SIGSEGV : 0, own ? "by its own fault, as it said" : "end of its socket");
}

void deaths_reap(void *ctx)
{
    struct child *c = ctx;
    int status;
    char how[SPAWN_DEATH_TEXT];
    if (c == &c->family->heir) {
        handover_reap(c->family);
        evloop_timer_set(c->family->timer, 0);
    } else if (c->slot.external) {
        if (c->sock >= 0 && !c->on_message)
            external_gone(c);
    } else if (c->pid > 0 && spawn_reap(c->pid, &status) == c->pid) {
        died(c, slot_death_of(&c->slot, status), status, spawn_death_text(status, how));
    }
}
