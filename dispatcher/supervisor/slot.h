/* SPDX-License-Identifier: Apache-2.0
 * One child's life as a state machine without a system call: told what happened and what time it is, it says what to
 * do. Rules: a successor starts only after its predecessor was reaped; a death that is nobody's fault (SIGKILL from
 * outside) or that we asked for costs no delay, however often; after a fault of its own the delay grows 0.1, 1, 2, 4 ..
 * max; being ready for a while forgives; a configuration error is never retried. */
#ifndef SUPERVISOR_SLOT_H
#define SUPERVISOR_SLOT_H

#include <stdbool.h>
#include <stdint.h>

#include "shared/clock.h"

enum slot_state {
    SLOT_IDLE,     /* not wanted yet */
    SLOT_DUE,      /* to be spawned at `until` or later */
    SLOT_STARTING, /* spawned, not ready; killed after SLOT_START_LIMIT_NS and start_more_ns */
    SLOT_READY,
    SLOT_LEAVING, /* told to go for a successor; killed at `until`, which is no fault */
    SLOT_ENDED,   /* exited and not wanted any more */
};

#define SLOT_START_LIMIT_NS (5 * NS_PER_SEC)
#define SLOT_FORGIVE_NS (10 * NS_PER_SEC)
#define SLOT_LEAVE_LIMIT_NS (5 * NS_PER_SEC)
#define SLOT_DRAIN_LIMIT_NS (120 * NS_PER_SEC) /* a slow disk; after it what was not published goes on in the arena */

/* What an exit means. */
enum slot_death {
    DEATH_DONE,    /* status 0 */
    DEATH_OUTSIDE, /* a signal that somebody else sent */
    DEATH_FAULT,  /* SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS, the panic status, another status, or our own kill
                   */
    DEATH_CONFIG, /* wrong usage or configuration */
};

enum slot_action { SLOT_NOTHING, SLOT_SPAWN, SLOT_KILL };

struct slot {
    enum slot_state state;
    uint32_t generation; /* of the process that is or was last there; 0 = none yet */
    unsigned faults;     /* in a row */
    struct mono until;   /* DUE: earliest spawn. STARTING, LEAVING: the limit */
    struct mono since;   /* of the state */
    int64_t max_delay_ns;
    int64_t start_more_ns; /* set by the owner: what there is to do before it is ready */
    bool killed;           /* by us, for being stuck */
    bool external;         /* somebody else starts the process: DUE waits for it, and STARTING has no limit of ours */
};

void slot_init(struct slot *s, int64_t max_delay_ns);

/* Wants the child to run: IDLE or ENDED become DUE at once. */
void slot_want(struct slot *s, struct mono now);

/* What to do now. SLOT_SPAWN: spawn and call slot_spawned, or slot_spawn_failed. SLOT_KILL: send SIGKILL (said once).
 */
enum slot_action slot_tick(struct slot *s, struct mono now);

void slot_spawned(struct slot *s, struct mono now); /* moves generation */
void slot_spawn_failed(struct slot *s, struct mono now);
void slot_ready(struct slot *s, struct mono now);
void slot_killed(struct slot *s); /* we killed it for being stuck: its death is a fault */

/* It was told to go: READY becomes LEAVING for at most limit_ns. In any other state nothing happens. */
void slot_leave(struct slot *s, int64_t limit_ns, struct mono now);

/* Nobody looked for ns, so a start or a leave that has a limit gets that time on top. */
void slot_paused(struct slot *s, int64_t ns);

/* Meaning of a waitpid status. */
enum slot_death slot_death_of(const struct slot *s, int wait_status);

/* May this death be the process's own doing? A signal of a fault, the panic status, or our own kill of a stuck one; not
 * another status. */
bool slot_fault_counts(const struct slot *s, int wait_status);

/* The child was reaped. again: it is still wanted. Returns the delay until the next spawn in ns, -1 for none. */
int64_t slot_exited(struct slot *s, enum slot_death death, bool again, struct mono now);

#endif
