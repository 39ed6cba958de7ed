/* SPDX-License-Identifier: Apache-2.0
 * The family ends, in order: the dispatcher drains and writes END, shards publish and exit, the hub goes last. */
#ifndef SUPERVISOR_STOPPING_H
#define SUPERVISOR_STOPPING_H

#include <stdint.h>

#include "dispatcher/supervisor/family.h"

/* Ends the family. wait_ms: how long the dispatcher is to go on. A second call with 0 ends the wait. */
void stopping_stop(struct family *f, int64_t wait_ms);

/* Tells the dispatcher to go on for what is left of the grace, then to drain. */
void stopping_tell_dispatcher(struct family *f);

/* With every tick: whoever comes out of a hand-over that was under way when the end was asked for is told now. */
void stopping_step(struct family *f);

/* What a person or a service manager wants: the first time the end after the grace of sigtermwait, then at once. */
void stopping_ask(struct family *f);

/* The dispatcher is gone for good: tells the shards, and the hub once all of them have ended. Call it again whenever a
 * shard has ended. */
void stopping_finish_shards(struct family *f);

/* A shard that will not be there again. If its ring is full the dispatcher waits for room in it: told twice, it gives
 * up waiting. */
void stopping_give_up(struct family *f);

#endif
