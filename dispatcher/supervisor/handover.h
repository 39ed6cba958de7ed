/* SPDX-License-Identifier: Apache-2.0
 * A dispatcher is replaced while it captures: its heir is started beside it and takes all interfaces from one packet to
 * the next (dispatcher/capture/group.h); then the old one reads what came before and leaves, and the heir, which has
 * waited, becomes the dispatcher. The rings have one producer at any time. */
#ifndef SUPERVISOR_HANDOVER_H
#define SUPERVISOR_HANDOVER_H

#include <stdbool.h>

#include "dispatcher/supervisor/family.h"

/* Starts an heir that runs `program`. False: it cannot be done here (savefiles, several dispatchers, no process); the
 * old one is then told to go before its successor starts. */
bool handover_begin(struct family *f, const struct program *program);

/* The heir says that it has all interfaces: the old one is told to go. */
void handover_taken(struct family *f);

/* The dispatcher is gone and reaped. True: the heir is the dispatcher now, and goes on. Else nothing has changed, and
 * an heir that had not taken over yet is killed. */
bool handover_inherit(struct family *f);

/* The packets are the heir's already: whatever becomes of the dispatcher, somebody has to go on. */
bool handover_is_taken(const struct family *f);

/* The heir's process has ended, or was never whole. */
void handover_reap(struct family *f);

/* No hand-over any more, unless it has happened already. */
void handover_cancel(struct family *f);

/* With every tick: an heir that does not come to anything is killed. */
void handover_step(struct family *f, struct mono now);

#endif
