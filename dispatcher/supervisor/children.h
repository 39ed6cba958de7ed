/* SPDX-License-Identifier: Apache-2.0
 * The children as the supervisor sees them: one record each, with its slot, its process and its socket. What to do with
 * them is decided in supervisor.c. */
#ifndef SUPERVISOR_CHILDREN_H
#define SUPERVISOR_CHILDREN_H

#include <stdbool.h>

#include "dispatcher/supervisor/attach.h"
#include "dispatcher/supervisor/slot.h"
#include "dispatcher/supervisor/spawn.h"
#include "shared/evloop.h"

enum child_kind { CHILD_HUB, CHILD_DISPATCHER, CHILD_SHARD };

struct family;

struct child {
    struct family *family;
    enum child_kind kind;
    unsigned index; /* shard number */
    struct slot slot;
    pid_t pid;              /* 0 = no process, or one of an outside supervisor that we cannot see */
    struct program program; /* its next process runs this */
    int pidfd;              /* readable once the process has ended; -1 = none */
    int sock;               /* -1 = none */
    struct evsource *on_message, *on_exit;
    long arena_layout; /* of what its arena holds; 0 = nobody has said yet */
    bool stop_sent;
    bool ever_ready;
    unsigned unready_deaths;  /* while it has never been ready */
    unsigned owing;           /* ends of a shard that said it was done and was not */
    char failure[PROTO_TEXT]; /* text of PROTO_FAILED, "" = none */
    int failure_status;
    uint64_t progress;          /* last value seen */
    struct mono progress_since; /* when it last moved */
    int64_t waited_ns;          /* in total, for processes of this slot that were stuck */
};

/* "shard[3]", "hub". Returns out. */
#define CHILD_NAME 24
const char *child_name(const struct child *c, char out[CHILD_NAME]);

/* Sends a message without fds. A full or dead socket is not an error here: the end of the socket says the same. */
void child_tell(const struct child *c, enum proto_type type, int64_t value);

/* Answers the hub's PROTO_ASK of that number. */
void child_answer(const struct child *hub, int64_t number, const char *text);

/* SIGKILL; nothing if there is no process. */
void child_kill(const struct child *c);

/* True while a process is attached or not yet reaped. */
bool child_there(const struct child *c);

/* Closes what belongs to the process that was reaped. */
void child_close(struct child *c);

#endif
