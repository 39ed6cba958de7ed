/* SPDX-License-Identifier: Apache-2.0
 * The family: starts hub and shards, then the dispatcher; restarts what dies; stops in order (dispatcher drains and
 * writes END, shards publish and exit, the hub goes last). Wires events to the decisions of slot.h; never blocks, and
 * parses nothing but messages of fixed size. */
#ifndef SUPERVISOR_SUPERVISOR_H
#define SUPERVISOR_SUPERVISOR_H

#include "dispatcher/supervisor/memory.h"
#include "dispatcher/supervisor/resume.h"
#include "dispatcher/supervisor/settings.h"
#include "dispatcher/supervisor/terminal.h"

/* Holds back SIGTERM, SIGINT and SIGHUP until supervisor_run takes them: an early one then ends a start in good order.
 */
void supervisor_hold_signals(void);

/* All stays the caller's. */
struct supervisor_setup {
    const struct config *config;
    struct memory *memory;
    const struct settings_fds *fds;
    struct terminal *terminal;
    struct mono started;        /* of the run, for the next program */
    const struct resume *table; /* NULL, or what the program before this one left: its children run */
};

/* Runs until everything has ended. Signals SIGTERM, SIGINT and SIGHUP stop it: the first with the grace of sigtermwait,
 * a second at once. Returns the exit status of the family; *reason_r is then a line that says why it is not 0 (static
 * storage), or NULL. */
int supervisor_run(const struct supervisor_setup *setup, const char **reason_r);

#endif
