/* SPDX-License-Identifier: Apache-2.0
 * The fault rule: what a shard does about the deaths of its predecessors. A death counts if the process brought it
 * about itself (the supervisor says so) and if nothing was applied since it adopted the arena: whatever it met will be
 * met again. After the first such death records are taken one by one; a record that was in work at two of them is
 * skipped (poison); after three within FAULT_WINDOW_NS the arena is given up (arena_lost). Any other death costs
 * nothing, however often.
 *
 * Pure: decides from the words in the shard's page and from where the arena stands, and may be cut short anywhere, for
 * the process that decides may be killed, too. Cannot fail. */
#ifndef SHARD_FAULT_H
#define SHARD_FAULT_H

#include <stdbool.h>
#include <stdint.h>

#include "shared/clock.h"
#include "shared/counters.h"

#define FAULT_WINDOW_NS (10 * NS_PER_SEC)

enum fault_verdict {
    FAULT_NONE,    /* go on as ever */
    FAULT_CAREFUL, /* take records one by one */
    FAULT_SKIP,    /* likewise, and leave out the record at shard_faults.skip - 1 */
    FAULT_RESYNC,  /* what stands in the ring from there cannot even be read: leave out all that is published */
    FAULT_EMPTY,   /* begin with an empty arena */
};

/* stage and stage_at: where the predecessor was when it ended. applied: ring position behind what it applied. */
enum fault_verdict fault_judge(struct shard_faults *f, enum shard_stage stage, uint64_t stage_at, uint64_t applied);

/* The arena is empty now: FAULT_EMPTY was carried out. */
void fault_emptied(struct shard_faults *f);

#endif
