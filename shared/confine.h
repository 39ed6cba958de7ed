/* SPDX-License-Identifier: Apache-2.0
 * Giving up power: users, capabilities, signals, cores. Each call is final for the process. */
#ifndef SHARED_CONFINE_H
#define SHARED_CONFINE_H

#include <stdbool.h>
#include <sys/types.h>

#include "shared/err.h"

/* Takes on gid and uid for good, with no supplementary groups. SC_ESYS on failure. */
int confine_user(uid_t uid, gid_t gid) SC_MUST_CHECK;

/* Drops every capability from all sets and the bounding set where possible; keeps CAP_NET_RAW effective if asked (with
 * a file capability "+p" it is raised here). SC_ESYS, SC_EPERM (it was to be kept and is not there). */
int confine_capabilities(bool keep_net_raw) SC_MUST_CHECK;

/* No new privileges, RLIMIT_CORE 0, not dumpable, SIGPIPE ignored; for children also SIGINT and SIGHUP ignored and
 * PR_SET_PDEATHSIG SIGKILL last (an extra: the attach socket is what counts), after which getppid is compared with
 * parent. SC_EOF if the parent is gone already, SC_ESYS. parent 0 = none. */
int confine_process(pid_t parent, bool child) SC_MUST_CHECK;

/* True if the process may open a packet socket now. */
bool confine_has_net_raw(void);

#endif
