/* SPDX-License-Identifier: Apache-2.0
 * What lies below datadir: how much it is (-maxdisk), and what of it is old enough to go (-keep). Runs on the file
 * thread, in bounded steps. A day whose directory has not changed is not read again.
 *
 * Removed are only files of our names that begin as ours do, in directories YYYY/MM/DD, oldest day first, never one
 * that was written less than RETENTION_YOUNG_NS ago or whose age is not known: by -keep what is older than that; and,
 * with -keep, by -maxdisk what is too much. What another tool has put there is measured with the rest, and stays.
 * Failure policy: what cannot be read or removed is left as it is and counted as it was; a later pass tries again. */
#ifndef SHARD_RETENTION_H
#define SHARD_RETENTION_H

#include <dirent.h>
#include <stdbool.h>
#include <stdint.h>

#include "shared/clock.h"
#include "shared/config.h"
#include "shared/sysops.h"

#define RETENTION_YOUNG_NS (3600 * NS_PER_SEC)
#define RETENTION_ENTRIES 512 /* looked at by one step */

struct retention_day {
    uint32_t yyyymmdd;
    bool known;         /* the rest holds */
    bool seen;          /* in this pass */
    int64_t changed_ns; /* of the directory, when it was read */
    int64_t oldest_ns;  /* of its files; INT64_MAX = none */
    uint64_t bytes;
};

struct retention {
    struct retention_day *day; /* sorted */
    size_t count, room;
    size_t at;                     /* the day in work; meaningful while `pass` */
    bool pass;                     /* one is under way */
    DIR *dir;                      /* of the day in work, NULL = not open */
    int64_t oldest_ns, changed_ns; /* of the day in work, so far */
    uint64_t bytes;
    uint64_t excess; /* bytes that this pass may remove for -maxdisk */
};

struct retention_step {
    bool done;      /* the pass is over: `used` holds */
    uint64_t used;  /* bytes of all files below datadir */
    uint64_t files; /* removed in this step */
    uint64_t bytes;
};

/* Of which files the age is not known: those written from..to, by a clock that has been set forward since. */
struct retention_spared {
    struct wall from, to; /* from > to: none */
};

/* One step of a pass, which begins with the first. datadir: a directory fd. remove: this one may remove files. now: the
 * date. */
void retention_step(struct retention *r, const struct sysops *sys, int datadir, const struct config *config,
                    bool remove, struct wall now, const struct retention_spared *spared, struct retention_step *out);
void retention_free(struct retention *r); /* what it holds */

#endif
