/* SPDX-License-Identifier: Apache-2.0
 * The file thread: all file calls of a shard (create, write, sync, rename) happen here, on one helper thread, so that a
 * slow disk never holds up the ring. Jobs come over a single-producer single-consumer queue and are done in order; each
 * gives exactly one result. The thread sees no metadata of the arena, only the bytes that a job points to.
 *
 * Names. Staging: `[.]YYYYMMDD.<uuid>.<shard>.<n>.part`, n = generation << 32 | slot of the flow in the arena, so that
 * a successor knows whose file it is. Published: `YYYY/MM/DD/<uuid>.pcap.gz` below datadir, or `<uuid>.1.pcap.gz` ..
 * where that name is taken.
 *
 * A publication that is killed anywhere is finished exactly once: the main thread commits FLOW_STAGED before it asks
 * for the last write, and FLOW_WRITTEN after that write's result has come (the file is whole and closed then); only
 * then does it ask for the rename. So a successor that finds
 *   FLOW_STAGED  writes again: creates the file anew (or, in stream mode, goes on in it: the same bytes to the same
 *                place);
 *   FLOW_WRITTEN asks for the rename again: the staged name still there -> rename; gone -> it was published.
 * Who finds a staged file and no arena looks into it: no name says that it is whole. (One that did would be one more
 * rename for each file, and would prove nothing after a power failure.) Only the owner of a staging name removes it.
 *
 * Failure policy: an error is the job's result (errno and the step that failed); nothing is retried here, but a day
 * directory that has vanished is made again once. No symbolic link is followed below datadir and staging. */
#ifndef SHARD_OUTFILE_H
#define SHARD_OUTFILE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "shard/arena.h"
#include "shard/retention.h"
#include "shared/config.h"
#include "shared/sysops.h"

enum outfile_kind {
    OUTFILE_WRITE,     /* bytes of a staged file */
    OUTFILE_SYNC,      /* syncfs of staging */
    OUTFILE_PUBLISH,   /* staged -> final name */
    OUTFILE_REMOVE,    /* a staged file whose flow was given up */
    OUTFILE_DAY,       /* make the directory of name.yyyymmdd */
    OUTFILE_SPACE,     /* how much of the file system is free */
    OUTFILE_SALVAGE,   /* file number idx of what outfile_sweep found */
    OUTFILE_RETENTION, /* one step over what is published (retention.h) */
};

enum outfile_step { STEP_NONE, STEP_OPEN, STEP_WRITE, STEP_MKDIR, STEP_SYNC, STEP_RENAME, STEP_SPACE };

struct outfile_job {
    enum outfile_kind kind;
    uint32_t idx;    /* slot of the flow */
    uint64_t number; /* generation << 32 | idx: part of the staging name */
    struct uuid uuid;
    uint32_t yyyymmdd;
    /* OUTFILE_WRITE */
    bool create;       /* the file begins anew: whatever has its name is truncated */
    bool finish;       /* after these bytes it is whole: cut behind them */
    uint64_t offset;   /* of the first byte in the file */
    uint64_t to;       /* for the caller */
    struct iovec *iov; /* freed with the result; the bytes stay untouched until then */
    int iov_count;     /* with room for one more, if there is a tail */
    uint8_t tail[8];   /* written behind the bytes */
    uint8_t tail_len;
    /* OUTFILE_RETENTION */
    bool remove; /* may remove files */
    struct wall now;
    struct retention_spared spared;
};

struct outfile_result {
    struct outfile_job job;     /* iov is gone */
    int error;                  /* 0 or errno */
    enum outfile_step step;     /* that failed */
    uint32_t suffix;            /* OUTFILE_PUBLISH: n of <uuid>.n, 0 = none */
    bool was_published;         /* OUTFILE_PUBLISH: the staged name was gone */
    bool removed;               /* it failed because datadir or staging is no more */
    uint64_t free, total;       /* OUTFILE_SPACE: bytes, as for a user without privileges */
    uint64_t files_free;        /* likewise, how many files more */
    uint64_t files_total;       /* 0 = the file system knows no such limit */
    struct retention_step scan; /* OUTFILE_RETENTION */
    uint64_t salvaged;          /* OUTFILE_SALVAGE: packets of the file, which is published now */
    bool aside;                 /* OUTFILE_SALVAGE: nothing could be made of it */
};

struct outfile;

struct outfile_deps {
    const struct sysops *sys;
    const struct config *config; /* gzip, staging_inside */
    uint32_t shard;
    int datadir, staging; /* directory fds; stay the caller's and open */
    bool threaded;        /* false: jobs are done by outfile_work, for tests */
};

/* NULL if the thread or staging cannot be had (errno). */
struct outfile *outfile_new(const struct outfile_deps *deps);
/* Waits until the job in work is done; the rest is dropped. NULL is fine. */
void outfile_free(struct outfile *o);

#define OUTFILE_JOBS 256u
/* Hands a job over (copied; iov becomes the thread's). SC_OK; SC_EFULL: OUTFILE_JOBS are under way. A thread that
 * sleeps may sleep on until outfile_wake. */
int outfile_submit(struct outfile *o, const struct outfile_job *job) SC_MUST_CHECK;
/* To be called when no further job follows at once: the thread sees to what was submitted. */
void outfile_wake(struct outfile *o);
/* The next result: SC_OK or SC_EAGAIN. */
int outfile_result(struct outfile *o, struct outfile_result *out) SC_MUST_CHECK;
/* Jobs whose result has not been taken. */
uint32_t outfile_under_way(const struct outfile *o);
/* Readable when a result may wait; drained by outfile_result. -1 without a thread. */
int outfile_fd(const struct outfile *o);
/* Not threaded: does one job; false if there is none. */
bool outfile_work(struct outfile *o);

/* Path of a published file below datadir. Returns out. */
#define OUTFILE_PATH (12 + UUID_MAX + 24)
const char *outfile_path(char out[OUTFILE_PATH], const struct config *config, uint32_t yyyymmdd,
                         const struct uuid *uuid, uint32_t suffix);

/* Looks through staging for files of this shard that no flow refers to (`wanted` says no), shard 0 also for those of
 * shards that there are no more, and takes them out of the way, as *.left. Before the first job only. Returns how many:
 * the jobs OUTFILE_SALVAGE that finish or set them aside; or SC_ESYS. */
int outfile_sweep(struct outfile *o, bool (*wanted)(void *ctx, uint32_t idx, uint32_t generation), void *ctx);

#endif
