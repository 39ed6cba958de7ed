/* SPDX-License-Identifier: Apache-2.0
 * Giving up power: users, capabilities, signals, cores. Each call is final for the process. */
#ifndef SHARED_CONFINE_H
#define SHARED_CONFINE_H

#include <stdbool.h>
#include <sys/types.h>

#include "shared/err.h"

/* Takes on gid and uid for good, with no supplementary groups (where a user namespace forbids setgroups, those of the
 * caller stay), and before that drops the bounding set if it may. SC_ESYS on failure. */
int confine_user(uid_t uid, gid_t gid) SC_MUST_CHECK;

/* Drops every capability from all sets, and the bounding set where CAP_SETPCAP allows it; keeps CAP_NET_RAW permitted
 * and effective if asked (with a file capability "+p" it is raised here). Concerns the calling thread and those it
 * starts later: call it before any library starts one. SC_ESYS, SC_EPERM (CAP_NET_RAW was to be kept and is not
 * there; nothing was dropped). */
int confine_capabilities(bool keep_net_raw) SC_MUST_CHECK;

/* No new privileges, RLIMIT_CORE 0, not dumpable, SIGPIPE ignored. A child also ignores SIGINT and SIGHUP, and asks
 * last for SIGCONT at its parent's death: the end of the attach socket is what tells it to finish, and only a stopped
 * process would not see that (a signal that kills would lose what it still has to publish). Then getppid is compared
 * with parent: SC_EOF if the parent is gone already. SC_ESYS. parent 0 = do not compare. */
int confine_process(pid_t parent, bool child) SC_MUST_CHECK;

/* True if the process may open a packet socket now (it tries). */
bool confine_has_net_raw(void);

#endif
