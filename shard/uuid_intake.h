/* SPDX-License-Identifier: Apache-2.0
 * UUID events to flows. An event names the live generation of its key, or the newest that is still unnamed; if there is
 * none it waits for the next one (pending.h). A second, different UUID of a live generation is a missed one, unless the
 * wire has shown its end: then it is the next connection's.
 *
 * Events of -uuid.events take effect when packet time reaches Timestamp - uuidwaitduration (those from before the
 * capture at its beginning), whatever else is consumed when: they are applied, in order of time and each as of its own
 * moment, before the next packet, tick or end. Events of the bus take effect when they come. Failure policy: what finds
 * neither flow nor room is counted; nothing an event says is fatal. */
#ifndef SHARD_UUID_INTAKE_H
#define SHARD_UUID_INTAKE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shard/pending.h"
#include "shard/saver.h"
#include "shared/flowevent.h"

struct file_event {
    struct claim claim;
    struct instant due; /* Timestamp - uuidwaitduration */
    uint64_t line;      /* keeps the order of equal times */
};

struct intake {
    struct savers *savers;
    const struct clock *clock;
    struct pending *pending;
    struct file_event *events; /* of this shard, by time; NULL = none */
    size_t event_count, next;
    bool begun;           /* begin is set */
    struct instant begin; /* of the capture, if it began in this life of the shard; else INT64_MIN */
    void (*on_named)(void *ctx, uint64_t hash, uint64_t cookie); /* of a flow's key and its event's; NULL: no matter */
    void *named_ctx;
    uint64_t bad[FLOWEVENT_BAD_COUNT]; /* lines of the events file that were refused */
};

/* SC_OK or SC_ENOMEM. */
int intake_init(struct intake *in, struct savers *s, const struct clock *clock) SC_MUST_CHECK;
void intake_free(struct intake *in);

/* Reads the events file through pread (the offset is shared with other shards), keeps the open events whose key belongs
 * to `shard` of `shards`, and goes on behind those that the arena says were applied. SC_OK, SC_ESYS, SC_ENOMEM. */
int intake_load(struct intake *in, int fd, unsigned shard, unsigned shards) SC_MUST_CHECK;

/* Applies the events of the file that are due at `now`. */
void intake_advance(struct intake *in, struct instant now);

/* Takes an event of the bus. replayed: it may be one that had its effect in a former life. Returns false for an event
 * that is none of ours (a close event). */
bool intake_event(struct intake *in, const struct flowevent *ev, bool replayed);

/* A generation was opened at `now`: names it if an event waits for it. hash: of its key. True if it is named now. */
bool intake_opened(struct intake *in, uint32_t idx, uint64_t hash, struct instant now);

/* The clock has moved: forgets at most `most` events whose flow has not come. */
void intake_tick(struct intake *in, struct instant now, unsigned most);

#endif
