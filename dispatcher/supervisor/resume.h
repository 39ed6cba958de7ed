/* SPDX-License-Identifier: Apache-2.0
 * The supervisor replaces itself: execve of its new program in the same process, with everything that it holds, all fds
 * and the table of its children, in a sealed memfd. Children do not notice: their parent, its pid and their sockets are
 * the same. */
#ifndef SUPERVISOR_RESUME_H
#define SUPERVISOR_RESUME_H

#include <stdbool.h>

#include "dispatcher/supervisor/family.h"

#define RESUME_LAYOUT 2 /* of struct resume; bump it with any change, also of what is in it */

struct resume_child {
    struct slot slot;
    pid_t pid;
    int sock, program_fd;
    long arena_layout;
    bool ever_ready;
    int64_t waited_ns;
};

struct resume {
    uint32_t magic, layout;
    uint64_t bytes;
    struct memory memory; /* its pointers mean nothing */
    struct settings_fds fds;
    struct resume_child hub, dispatcher, shard[SHARDS_MAX];
    struct proto_fd kept[FAMILY_KEPT_MAX];
    unsigned kept_count;
    bool capturing;
    struct mono started;
    bool restart_dispatcher; /* it is still to be replaced, */
    int dispatcher_program;  /* by this program */
};

/* The arguments to be executed with; argv stays the caller's. */
void resume_remember(char *const argv[]);

/* Executes the program; everything goes on there. Returns only if that failed (SC_ESYS), with all as it was. Signals
 * that stop should be held. */
int resume_exec(struct family *f, const struct program *next);

/* In the new program: true if it was executed by resume_exec, with the table in *out. What is no such table ends the
 * process (EXIT_PANIC): children then publish all they have. */
bool resume_take(struct resume *out);

/* Puts what the table says into a family whose memory, fds and loop are there. SC_OK or SC_ENOMEM. */
int resume_children(struct family *f, const struct resume *r) SC_MUST_CHECK;

#endif
