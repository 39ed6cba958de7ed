/* SPDX-License-Identifier: Apache-2.0
 * See slot.h. Makes no system call and reads no clock; cannot fail. */
#include "dispatcher/supervisor/slot.h"

#include <signal.h>
#include <sys/wait.h>

#include "shared/proto.h"

static void enter(struct slot *s, enum slot_state state, struct mono now)
{
    s->state = state;
    s->since = now;
}

void slot_init(struct slot *s, int64_t max_delay_ns)
{
    *s = (struct slot){.state = SLOT_IDLE, .max_delay_ns = max_delay_ns};
}

void slot_want(struct slot *s, struct mono now)
{
    if (s->state != SLOT_IDLE && s->state != SLOT_ENDED)
        return;
    enter(s, SLOT_DUE, now);
    s->until = now;
}

enum slot_action slot_tick(struct slot *s, struct mono now)
{
    bool limited = (s->state == SLOT_STARTING && !s->external) || s->state == SLOT_LEAVING;
    if (s->state == SLOT_DUE && now.ns >= s->until.ns && !s->external)
        return SLOT_SPAWN;
    if (limited && now.ns >= s->until.ns && !s->killed) {
        s->killed = true;
        return SLOT_KILL;
    }
    if (s->state == SLOT_READY && s->faults > 0 && now.ns - s->since.ns >= SLOT_FORGIVE_NS)
        s->faults = 0;
    return SLOT_NOTHING;
}

void slot_spawned(struct slot *s, struct mono now)
{
    enter(s, SLOT_STARTING, now);
    s->until.ns = now.ns + SLOT_START_LIMIT_NS + s->start_more_ns;
    s->generation++;
    s->killed = false;
}

/* 0.1 s, then 1, 2, 4 .. seconds. */
static int64_t backoff(const struct slot *s)
{
    int64_t delay = NS_PER_SEC / 10;
    if (s->faults > 1)
        delay = s->faults > 10 ? s->max_delay_ns : NS_PER_SEC << (s->faults - 2);
    return delay < s->max_delay_ns ? delay : s->max_delay_ns;
}

static void due_later(struct slot *s, struct mono now)
{
    s->faults++;
    enter(s, SLOT_DUE, now);
    s->until.ns = now.ns + backoff(s);
}

void slot_spawn_failed(struct slot *s, struct mono now)
{
    due_later(s, now);
}

void slot_ready(struct slot *s, struct mono now)
{
    if (s->state == SLOT_STARTING)
        enter(s, SLOT_READY, now);
}

void slot_killed(struct slot *s)
{
    s->killed = true;
}

void slot_leave(struct slot *s, int64_t limit_ns, struct mono now)
{
    if (s->state != SLOT_READY)
        return;
    enter(s, SLOT_LEAVING, now);
    s->until.ns = now.ns + limit_ns;
}

void slot_paused(struct slot *s, int64_t ns)
{
    if (s->state == SLOT_STARTING || s->state == SLOT_LEAVING)
        s->until.ns += ns;
}

enum slot_death slot_death_of(const struct slot *s, int wait_status)
{
    if (s->killed)
        return s->state == SLOT_LEAVING ? DEATH_OUTSIDE : DEATH_FAULT;
    if (WIFEXITED(wait_status)) {
        switch (WEXITSTATUS(wait_status)) {
        case EXIT_DONE:
            return DEATH_DONE;
        case EXIT_USAGE:
        case EXIT_CONFIG:
            return DEATH_CONFIG;
        default:
            return DEATH_FAULT;
        }
    }
    switch (WTERMSIG(wait_status)) {
    case SIGSEGV:
    case SIGBUS:
    case SIGILL:
    case SIGFPE:
    case SIGABRT:
    case SIGSYS:
        return DEATH_FAULT;
    default:
        return DEATH_OUTSIDE;
    }
}

bool slot_fault_counts(const struct slot *s, int wait_status)
{
    if (slot_death_of(s, wait_status) != DEATH_FAULT)
        return false;
    return s->killed || WIFSIGNALED(wait_status) || WEXITSTATUS(wait_status) == EXIT_PANIC;
}

int64_t slot_exited(struct slot *s, enum slot_death death, bool again, struct mono now)
{
    if (!again || death == DEATH_CONFIG) {
        enter(s, SLOT_ENDED, now);
        return -1;
    }
    if (death == DEATH_FAULT) {
        due_later(s, now);
    } else {
        enter(s, SLOT_DUE, now);
        s->until = now;
    }
    return s->until.ns - now.ns;
}
