/* SPDX-License-Identifier: Apache-2.0
 * From a closed flow to a published file: hands flows to the file thread, takes its results, syncs in groups, counts.
 * Flow lists: READY (closed and named) -> write job -> WRITTEN -> one sync for all -> rename job -> published.
 *
 * Failure policy: a failed file call is counted and logged (at most once a second and cause), the flow keeps its
 * packets and is tried again after a second. It is given up, as disk_full or disk_error, only when its memory is needed
 * (publish_make_room) or after some tries when the shard is finishing. */
#ifndef SHARD_PUBLISH_H
#define SHARD_PUBLISH_H

#include <stdbool.h>

#include "shard/chunk.h"
#include "shard/flows.h"
#include "shard/leftovers.h"
#include "shard/outfile.h"
#include "shard/space.h"
#include "shared/clock.h"
#include "shared/log.h"

#define PUBLISH_RETRY_NS NS_PER_SEC
#define PUBLISH_TRIES 3 /* while finishing */

struct publisher {
    /* set by the owner before publish_init */
    struct flows *flows;
    struct sealer *sealer;
    struct outfile *out;
    struct space *space;
    struct leftovers *leftovers;
    const struct config *config;
    const struct clock *clock;
    void (*on_saved)(void *ctx, const char *path); /* NULL = not wanted; path is below datadir */
    void (*on_removed)(void *ctx); /* NULL likewise: datadir or staging is no more; called with every failure */
    void *ctx;

    bool hurry; /* memory is short: what is written is not to wait for company before it is synced */

    /* private */
    uint8_t head[GZIP_HEAD];
    size_t head_len;
    struct mono open_at; /* after an error: no job before this time */
    enum cause refused;  /* how the packets count that the last error would cost */
    unsigned sync_tries; /* failed while finishing */
    uint64_t sealed;     /* raw bytes compressed in this step */
    bool failing;        /* the last write or rename failed */
    bool finishing;
    bool hopeless; /* finishing, and the disk takes nothing: one try each */
    bool sync_under_way;
    uint64_t put, asked, synced, taken; /* LIST_WRITTEN as a sequence: appended, in the last sync, synced, renamed */
    struct mono sync_due;
    struct log_limit limit_full, limit_error;
};

/* Takes over what adoption put into the lists. */
void publish_init(struct publisher *p);

/* The flow is closed and named: its file will be written. */
void publish_closed(struct publisher *p, uint32_t idx);

/* Stream mode: writes what is sealed of an open, named flow, if the file thread has time. */
void publish_stream(struct publisher *p, uint32_t idx);

/* Takes results and hands out jobs, at most `most` of each and not more once `sealed` raw bytes have been compressed.
 * Returns true if anything moved. */
bool publish_step(struct publisher *p, unsigned most, uint64_t sealed);

/* From now on nothing waits for company before it is synced, and what fails is given up after some tries. */
void publish_finish(struct publisher *p);

/* True when no flow waits for the file thread and none is with it. */
bool publish_idle(const struct publisher *p);

/* Gives up one flow that the disk refuses, to make room. False if there is none. */
bool publish_make_room(struct publisher *p);

/* Asks for the directory of a day, so that watchers see it before its first file. */
void publish_make_day(struct publisher *p, uint32_t yyyymmdd);

#endif
