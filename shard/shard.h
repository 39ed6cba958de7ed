/* SPDX-License-Identifier: Apache-2.0
 * One shard put together, without any process around it: main.c gives it memory and file descriptors and turns it;
 * tests and benchmarks do the same. Failure policy: shard_new says in one line why it cannot start; afterwards nothing
 * but a bug ends it. */
#ifndef SHARD_SHARD_H
#define SHARD_SHARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shared/clock.h"
#include "shared/config.h"
#include "shared/counters.h"
#include "shared/flowevent.h"
#include "shared/sysops.h"
#include "shared/uuid_lookup.h"

struct shard_deps {
    const struct config *config;
    const struct clock *clock;
    const struct sysops *sys;
    unsigned slot;
    uint32_t generation;
    void *arena_map; /* all maps stay the caller's */
    size_t arena_bytes;
    uint64_t budget;
    const void *ring_map;
    const void *more_ring_maps[DISPATCHERS_MAX - 1]; /* of -dispatchers, all of ring_bytes */
    size_t ring_bytes;
    struct shard_page *page;
    int datadir, staging; /* directory fds, the caller's */
    int events_file;      /* -1 = none; read by shard_new, the caller's */
    bool threaded;        /* file calls on a thread of their own; false: shard_step does them */
    int reports;          /* to the hub (reporter.h); -1 = none; the caller's */
    bool hold;            /* UUID events are still being replayed: see shard_events_complete */
    /* the kernel source's questions (kernel_names.h); NULL = it asks none */
    int (*ask)(void *ctx, const struct flowkey *key, uint32_t if_index, struct uuid_answer *out);
    void *ask_ctx;
    void (*on_saved)(void *ctx, const char *path); /* NULL = not wanted */
    void (*on_removed)(void *ctx);                 /* likewise: see publish.h */
    void *ctx;
};

struct shard;

/* Formats or adopts the arena and attaches to the ring. NULL on failure with a text. The deps are copied. */
#define SHARD_ERROR 256
struct shard *shard_new(const struct shard_deps *deps, char error[SHARD_ERROR]);
/* Drops the handles; arena, ring and page stay as they are, for a successor. NULL is fine. */
void shard_free(struct shard *s);

enum shard_step_result {
    SHARD_BUSY, /* call again at once */
    SHARD_IDLE, /* nothing to do until the ring, the file thread or the clock moves */
    SHARD_DONE, /* everything is published: exit */
};
/* One bounded turn: some records, some files, some housekeeping. */
enum shard_step_result shard_step(struct shard *s);

/* An event of the bus. replayed: it may have had its effect in a former life of this shard. */
void shard_event(struct shard *s, const struct flowevent *ev, bool replayed);
/* The bus has told all there was: deadlines of unnamed flows count again. */
void shard_events_complete(struct shard *s);

/* Take nothing more out of the ring, finish and publish every flow, and be done: a successor reads on there. */
void shard_drain(struct shard *s);
/* Drain the ring, finish, publish: from now on an empty ring is the end. */
void shard_stop(struct shard *s);

/* Readable when the file thread has results; -1 when not threaded. */
int shard_fd(const struct shard *s);

/* How long it may sleep before something of its own is due, in ns: most at most. */
int64_t shard_pause(const struct shard *s, int64_t most);

/* The sleep handshake of the ring: false = there is work after all. After sleeping: shard_woke. */
bool shard_will_sleep(struct shard *s);
void shard_woke(struct shard *s);

#endif
