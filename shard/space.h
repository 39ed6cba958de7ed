/* SPDX-License-Identifier: Apache-2.0
 * Is there room on the disk for new flows? Asks the file thread every second how much of the file system is free
 * (-mindiskfree) and every few seconds what lies below datadir (-maxdisk, -keep). When the wall clock is set forward,
 * as on a machine that gets its time from the network late, files of a moment ago look old: what was written before in
 * this life is spared for as long as -keep says. Live capture only: a savefile can be read again. Failure policy: what
 * cannot be asked pauses nothing. */
#ifndef SHARD_SPACE_H
#define SHARD_SPACE_H

#include "shard/outfile.h"
#include "shared/clock.h"
#include "shared/counters.h"

#define SPACE_LOOK_NS NS_PER_SEC
#define SPACE_PASS_NS (5 * NS_PER_SEC)

struct space {
    /* set by the owner */
    struct outfile *out;
    const struct config *config;
    const struct clock *clock;
    struct shard_counters *c;
    unsigned slot; /* 0 removes files and speaks for all shards */

    /* private */
    struct mono look_at, pass_at;
    bool looking, passing;
    bool scarce, over; /* -mindiskfree, -maxdisk */
    bool watched;      /* the clock is, with what follows */
    int64_t ahead_ns;  /* wall time less monotonic time, when we last looked */
    struct retention_spared spared;
    struct mono spared_until;
};

/* CAUSE_NONE: new flows are welcome. Else the cause under which their packets count: CAUSE_DISK_FULL below
 * -mindiskfree, CAUSE_CAPTURE_LIMIT above -maxdisk. */
enum cause space_paused(const struct space *s);

/* Hands out what is due. */
void space_step(struct space *s);

/* Takes the result of a job of kind OUTFILE_SPACE or OUTFILE_RETENTION. */
void space_result(struct space *s, const struct outfile_result *r);

#endif
