/* SPDX-License-Identifier: Apache-2.0
 * What /proc tells of the family's processes, as sums for the process_* metrics. */
#ifndef HUB_PROCSTAT_H
#define HUB_PROCSTAT_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "shared/counters.h"

struct procstat {
    double cpu_seconds; /* also of the supervisor's children that were reaped, so it does not go back at a restart */
    uint64_t resident_bytes, virtual_bytes;
    uint64_t open_fds, max_fds;
    double start_seconds; /* unix time of the first process's start, 0 = unknown */
};

/* Sums over pids[count]; pids[0] is the supervisor, pids <= 0 are skipped. What cannot be read (a process that has
 * just ended, fds of another user's process) is left out. proc is "/proc" but for tests. */
void procstat_read(struct procstat *out, const char *proc, const pid_t *pids, size_t count);

/* A process that dies while the others are read is missed for that moment: the CPU time is never less than what was
 * shown before, by whichever hub. shown_ms: where that is kept. */
void procstat_never_back(struct procstat *s, counter *shown_ms);

#endif
