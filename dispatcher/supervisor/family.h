/* SPDX-License-Identifier: Apache-2.0
 * The state of a run: its children, how far it has come, and why it ends. Decisions about it: supervisor.c (what
 * follows from an event) and watch.c (what follows from silence). */
#ifndef SUPERVISOR_FAMILY_H
#define SUPERVISOR_FAMILY_H

#include "dispatcher/supervisor/children.h"
#include "dispatcher/supervisor/memory.h"
#include "dispatcher/supervisor/settings.h"
#include "dispatcher/supervisor/terminal.h"
#include "shared/evloop.h"
#include "shared/proto.h"

enum phase {
    PHASE_STARTING, /* hub and shards are coming up */
    PHASE_OPENING,  /* the dispatcher is coming up */
    PHASE_RUNNING,
    PHASE_DRAINING,  /* the dispatcher was told to stop */
    PHASE_FINISHING, /* the dispatcher is gone; shards publish and exit */
    PHASE_CLOSING,   /* the hub was told to stop */
};

/* Who is to be replaced because somebody asked (rollout.h). */
struct rollout_entry {
    struct child *child;
    enum proto_type how;
    bool told;
    uint32_t generation; /* of the one that was told */
};
struct rollout {
    struct rollout_entry entry[SHARDS_MAX + 2];
    unsigned next, count;
    struct mono not_before;
};

struct family {
    const struct config *config;
    const struct memory *memory;
    const struct settings_fds *fds;
    struct terminal *terminal;
    const struct clock *clock;
    struct evloop *loop;
    struct evsource *timer;
    void (*on_message)(void *ctx); /* ctx: struct child; its socket is readable */
    void (*on_exit)(void *ctx);    /* ctx: struct child; its process has ended */
    struct program hub_program, dispatcher_program, shard_program;
    struct child hub, dispatcher, shard[SHARDS_MAX];
    struct proto_fd kept[8]; /* what the hub wants its successor to have */
    unsigned kept_count;
    struct rollout rollout;
    enum phase phase;
    struct mono phase_since;
    struct mono last_look; /* of watch_children */
    bool capturing;        /* the dispatcher has said what it watches, or has read something */
    unsigned stops;        /* signals that asked for the end */
    struct mono next_second;
    unsigned seconds;
    int64_t watchdog_ns; /* 0 = the service manager wants no watchdog */
    struct mono next_watchdog;
    int status;
    char reason[PROTO_TEXT + 128];
};

struct mono family_now(const struct family *f);

void family_enter(struct family *f, enum phase phase);

/* Sets exit status and reason. The first one stays: what comes after it is its consequence. who may be "". */
void family_fail(struct family *f, int status, const char *who, const char *why);

#endif
