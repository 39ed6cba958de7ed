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
#include "shared/layout.h"
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
    struct child *child; /* NULL = the supervisor itself */
    enum proto_type how;
    struct program program; /* of the successor; no name = the same as before */
    bool new_arena;         /* the successor reads no arena of its predecessor's */
    bool told;
    bool handing;          /* told means: an heir of the dispatcher is on its way */
    bool plain;            /* a hand-over was tried */
    struct program before; /* handing: what the dispatcher runs */
    uint32_t generation;   /* of the one that was told */
};
struct rollout {
    struct rollout_entry entry[SHARDS_MAX + 3];
    unsigned next, count;
    struct mono not_before;
};

/* Programs on disk that are asked for their layout (upgrade.h). */
enum upgrade_which { UPGRADE_SELF, UPGRADE_HUB, UPGRADE_DISPATCHER, UPGRADE_SHARD, UPGRADE_PROGRAMS };
struct upgrade_question {
    pid_t pid;
    int fd;
    size_t len;
    char text[LAYOUT_TEXT];
};
struct upgrade_program {
    struct program fresh; /* on disk now */
    bool changed;
    struct upgrade_question question[2]; /* to what runs, and to what is on disk */
};
struct upgrade {
    bool asking;
    int64_t number; /* of the hub's question */
    struct mono until;
    struct upgrade_program program[UPGRADE_PROGRAMS];
};

#define FAMILY_KEPT_MAX 8

struct family {
    const struct config *config;
    struct memory *memory;
    const struct settings_fds *fds;
    struct terminal *terminal;
    const struct clock *clock;
    struct evloop *loop;
    struct evsource *timer;
    void (*on_message)(void *ctx);                                   /* ctx: struct child; its socket is readable */
    void (*on_exit)(void *ctx);                                      /* ctx: struct child; its process has ended */
    int (*exec_self)(struct family *f, const struct program *next);  /* returns only on failure */
    bool (*hand_over)(struct family *f, const struct program *next); /* NULL: never; handover_begin */
    struct program self_program, hub_program, dispatcher_program, shard_program;
    struct child hub, dispatcher, shard[SHARDS_MAX];
    struct child heir;   /* of the dispatcher: a process only while one hands over to the other (handover.h) */
    bool heir_taken;     /* the packets are the heir's */
    bool heir_cancelled; /* it is being killed, which is no fault of its own */
    bool heir_broken;    /* the last one ended by its own doing before it could take over */
    struct proto_fd kept[FAMILY_KEPT_MAX]; /* what the hub wants its successor to have */
    unsigned kept_count;
    struct rollout rollout;
    struct upgrade upgrade;
    struct mono started;
    enum phase phase;
    struct mono phase_since;
    struct mono last_look; /* of watch_children */
    bool capturing;        /* the dispatcher has said what it watches, or has read something */
    unsigned stops;        /* signals that asked for the end */
    struct mono grace_end; /* the capture goes on until then; from PHASE_DRAINING on */
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
