/* SPDX-License-Identifier: Apache-2.0
 * What follows from silence: a child that makes no progress is killed, and its successor goes on. */
#ifndef SUPERVISOR_WATCH_H
#define SUPERVISOR_WATCH_H

#include "dispatcher/supervisor/family.h"

#define WATCH_RING_NS (5 * NS_PER_SEC)    /* a shard: ring not empty and nothing moves, outside file calls */
#define WATCH_FILE_NS (60 * NS_PER_SEC)   /* a disk may be that slow */
#define WATCH_FINISH_NS (30 * NS_PER_SEC) /* a shard that is to finish */
#define WATCH_LOOP_NS (30 * NS_PER_SEC)   /* the loop of dispatcher and hub */
#define WATCH_HURRY_NS (5 * NS_PER_SEC)   /* the same once a person has asked twice; the hub when it is to go */
#define WATCH_PAUSE_NS (2 * NS_PER_SEC)   /* a longer gap between two calls: we were stopped ourselves */

/* Looks at every child; call it every few milliseconds. After a pause of our own (Ctrl-Z) all of them get their time
 * anew. */
void watch_children(struct family *f, struct mono now);

/* True while a shard has not done all of its work: its ring holds something, or packets that it took have no fate yet.
 * Exact once its process is gone. */
bool watch_shard_owes(const struct family *f, unsigned shard);

#endif
