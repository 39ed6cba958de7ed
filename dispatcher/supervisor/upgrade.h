/* SPDX-License-Identifier: Apache-2.0
 * `restart all`: the programs on disk take the place of those that run. First each of them, old and new, is asked for
 * its -layout, all at once and without waiting; only if they understand each other does anything move. Then shards,
 * hub, the supervisor itself and at last the dispatcher go one by one (rollout.h), the latter two only if their file is
 * another one than at the start. Shards of another arena layout are drained by the old program, never read by the new.
 */
#ifndef SUPERVISOR_UPGRADE_H
#define SUPERVISOR_UPGRADE_H

#include <stdbool.h>

#include "dispatcher/supervisor/family.h"

/* Begins. true: it cannot, and answer (PROTO_TEXT bytes) says why. false: the answer to the hub's question `number`
 * comes later. */
bool upgrade_begin(struct family *f, int64_t number, char *answer);

/* Call it with every tick. */
void upgrade_step(struct family *f, struct mono now);

/* May these programs follow one another? SC_OK, *new_arena_r says whether shards need an empty arena; else SC_EVERSION
 * and a line in answer. Makes no system call. */
int upgrade_verdict(const struct upgrade *u, bool *new_arena_r, char *answer);

#endif
