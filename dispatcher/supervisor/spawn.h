/* SPDX-License-Identifier: Apache-2.0
 * How children come to be and go: fork + execveat of binaries that were opened at start, so that an upgrade of the
 * files on disk followed by a crash never mixes versions, and a build below a 0700 home still runs as another user. */
#ifndef SUPERVISOR_SPAWN_H
#define SUPERVISOR_SPAWN_H

#include <stddef.h>
#include <sys/types.h>

#include "shared/err.h"

/* A program that stands beside our own executable. fd is O_PATH, close-on-exec. SC_ESYS (errno). */
struct program {
    const char *name; /* static storage; argv[0] */
    int fd;
};
int spawn_open(struct program *p, const char *name) SC_MUST_CHECK;
/* The one that runs here, also if its file is gone. SC_ESYS. */
int spawn_open_self(struct program *p) SC_MUST_CHECK;

/* Starts the program with a fresh SOCK_SEQPACKET pair: the child finds its end as fd 3, has stdin from /dev/null, our
 * stdout and stderr, default signals, and no other fd. Returns the pid and *sock_r (ours, non-blocking, close-on-exec),
 * or SC_ESYS. */
pid_t spawn_child(const struct program *p, int *sock_r) SC_MUST_CHECK;

/* Runs the program with two arguments to its end and takes what it prints on standard output (cut to cap - 1 bytes,
 * NUL-terminated). For short questions at the start. Returns its exit status, or SC_ESYS. */
int spawn_ask(const struct program *p, const char *arg1, const char *arg2, char *out, size_t cap);

/* Starts the program with one argument; what it prints on standard output comes out of *fd_r (ours, non-blocking,
 * close-on-exec), its end closes it. The caller reaps. The pid, or SC_ESYS. */
pid_t spawn_question(const struct program *p, const char *arg, int *fd_r) SC_MUST_CHECK;

/* An fd that stands for a process and no other, readable once it has ended (pidfd_open(2)); -1 where there is none:
 * the caller then looks from time to time. */
int spawn_pidfd(pid_t pid);

/* SIGKILL to the process of a pidfd; nothing if it has ended. */
void spawn_kill(int pidfd);

/* Reaps the child if it has ended: its pid and *status_r, 0 if it has not, SC_ESYS. Never blocks. */
pid_t spawn_reap(pid_t pid, int *status_r);

/* "exit status 1" or "signal 9 (Killed)". Returns out. */
#define SPAWN_DEATH_TEXT 64
const char *spawn_death_text(int wait_status, char out[SPAWN_DEATH_TEXT]);

#endif
