/* SPDX-License-Identifier: Apache-2.0
 * What a confined process may still ask of the kernel: system calls by an allow-list (seccomp), files by directory
 * (Landlock). Each call is final for the process. One allow-list per role: what a module needs anew is added in
 * sandbox.c, with the module that needs it. */
#ifndef SHARED_SANDBOX_H
#define SHARED_SANDBOX_H

#include <stddef.h>

#include "shared/err.h"

/* Of -seccomp, in the order of its words. */
enum sandbox_mode {
    SANDBOX_KILL, /* what is not allowed ends the process by SIGSYS */
    SANDBOX_LOG,  /* it is written to the system's audit log and done all the same */
    SANDBOX_NONE  /* no filter of calls */
};

enum sandbox_role { SANDBOX_CAPTURE_LIVE, SANDBOX_CAPTURE_FILES, SANDBOX_HUB, SANDBOX_SHARD, SANDBOX_ROLES };

/* The run time of a sanitizer makes calls that no list of ours foresees (it reads /proc/self/maps, starts a
 * symbolizer, forks): there SANDBOX_KILL installs the filter of SANDBOX_LOG. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANDBOX_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer) ||          \
    __has_feature(undefined_behavior_sanitizer)
#define SANDBOX_SANITIZED 1
#endif
#endif
#ifndef SANDBOX_SANITIZED
#define SANDBOX_SANITIZED 0
#endif

/* Installs the role's filter for all threads of the process; implies no new privileges. System calls of a foreign
 * architecture end the process in both modes that have a filter. Call it once everything is set up. SC_OK (also for
 * SANDBOX_NONE, which does nothing), SC_ENOMEM, SC_ESYS (errno; the kernel has no seccomp). */
int sandbox_calls(enum sandbox_role role, enum sandbox_mode mode) SC_MUST_CHECK;

/* What a process does below a directory, or with a single file. */
enum sandbox_use {
    SANDBOX_READS, /* lists directories, reads files */
    SANDBOX_BINDS, /* makes directories and sockets, removes them again */
    SANDBOX_SAVES  /* reads, writes, makes, moves and removes files and directories */
};

struct sandbox_tree {
    enum sandbox_use use;
    int fd;           /* may be O_PATH; of no meaning if there is a path */
    const char *path; /* not there, or not for this user: the process gets nothing */
};

/* From now on the calling thread, and those it starts later, open, make, move and remove only what these trees are
 * for, open no TCP connection, and signal nobody else, as far as the kernel can. It does not follow -seccomp. Needs no
 * new privileges (confine_process). What is open stays open; sockets are connected by path as before. SC_OK,
 * SC_EVERSION (the kernel has no Landlock that knows renames across directories; nothing was done), SC_ESYS. */
int sandbox_files(const struct sandbox_tree *trees, size_t count) SC_MUST_CHECK;

#endif
