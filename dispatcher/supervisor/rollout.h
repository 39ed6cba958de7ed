/* SPDX-License-Identifier: Apache-2.0
 * Restarts that a person asked for: one process at a time is told to go, and the next one only once its successor is
 * ready, so that a binary that does not come up costs one process and not all. */
#ifndef SUPERVISOR_ROLLOUT_H
#define SUPERVISOR_ROLLOUT_H

#include <stdbool.h>

#include "dispatcher/supervisor/family.h"

/* Puts a child at the end of the list, to be told to go by PROTO_LEAVE or PROTO_DRAIN. One that is on the list already
 * is not put there twice. */
void rollout_add(struct family *f, struct child *c, enum proto_type how);

/* The same with all that an upgrade needs. */
void rollout_add_entry(struct family *f, const struct rollout_entry *entry);

/* A child that was told to go has gone, clean: with status 0. Settles what its successor runs and begins with. */
void rollout_left(struct family *f, struct child *c, bool clean);

/* True while a restart is under way. */
bool rollout_busy(const struct family *f);

/* Call it with every tick: goes on as far as the children are. While the family ends the list is forgotten. */
void rollout_step(struct family *f, struct mono now);

#endif
