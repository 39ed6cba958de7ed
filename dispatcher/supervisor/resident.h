/* SPDX-License-Identifier: Apache-2.0
 * Memory of the family for the status line. */
#ifndef SUPERVISOR_RESIDENT_H
#define SUPERVISOR_RESIDENT_H

#include <stdint.h>
#include <sys/types.h>

/* Sum over the processes of resident bytes that are not shared; pid 0 and processes that are gone count nothing. Shared
 * memory (rings, arenas) would be counted once for each process that maps it, so the caller adds what is used of it. */
uint64_t resident_bytes(const pid_t *pids, unsigned count);

#endif
