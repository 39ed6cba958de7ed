/* SPDX-License-Identifier: Apache-2.0
 * Whose turn it is to start. One process starts at a time, so that a machine short of everything is not asked for
 * everything at once; one that waits in backoff has no turn and blocks nobody. Shards and the dispatcher wait for the
 * hub, so the hub never waits, and while it is away those that were ready before do not wait for each other. */
#ifndef SUPERVISOR_TURN_H
#define SUPERVISOR_TURN_H

#include <stdbool.h>

#include "dispatcher/supervisor/family.h"

/* May this child be spawned now, if its slot says that it is due? Makes no system call. */
bool turn_of(const struct family *f, const struct child *c);

#endif
