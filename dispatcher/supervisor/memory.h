/* SPDX-License-Identifier: Apache-2.0
 * The memory that outlives every child: configuration, counters, rings, arenas, journal, doorbells. Made once, held by
 * the supervisor, handed over by attach. */
#ifndef SUPERVISOR_MEMORY_H
#define SUPERVISOR_MEMORY_H

#include "shared/bus.h"
#include "shared/config.h"
#include "shared/counters.h"

struct memory {
    unsigned shards, dispatchers;
    int config, dispatcher_fd, hub_fd, supervisor_fd, journal;
    int ring[SHARDS_MAX], more_ring[DISPATCHERS_MAX - 1][SHARDS_MAX], shard_fd[SHARDS_MAX], arena[SHARDS_MAX];
    int doorbell_dispatcher[SHARDS_MAX], doorbell_shard[SHARDS_MAX]; /* two ends, both kept for successors */
    int reports_hub[SHARDS_MAX], reports_shard[SHARDS_MAX];          /* likewise */
    /* mapped here: the supervisor writes its own page and reads the others */
    const struct dispatcher_page *dispatcher;
    const struct hub_page *hub;
    struct supervisor_page *supervisor;
    const struct shard_page *shard[SHARDS_MAX];
    const struct ring_shared *ring_head[SHARDS_MAX], *more_ring_head[DISPATCHERS_MAX - 1][SHARDS_MAX];
};

/* An empty arena in place of a shard's, whose fd is closed; nobody may be attached to it. SC_OK, or SC_ESYS and it is
 * as it was. */
int memory_renew_arena(struct memory *m, unsigned shard, const struct config *config) SC_MUST_CHECK;

/* Maps again what another program of ours created: only the fds in *m are good. SC_OK, SC_ESYS. */
int memory_map(struct memory *m) SC_MUST_CHECK;

/* Creates all of it for a checked configuration. SC_OK, or SC_ESYS with a line in error (FLAGS_ERROR bytes). */
int memory_create(struct memory *m, const struct config *config, char *error);

#endif
