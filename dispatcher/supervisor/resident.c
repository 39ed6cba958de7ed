/* SPDX-License-Identifier: Apache-2.0
 * /proc/PID/statm (proc(5)): readable for every user, whatever the process gave up. Failure policy: what cannot be read
 * counts nothing. */
#include "dispatcher/supervisor/resident.h"

#include <stdio.h>
#include <unistd.h>

static uint64_t resident_of(pid_t pid)
{
    char path[64];
    unsigned long long size, resident, shared;
    snprintf(path, sizeof(path), "/proc/%d/statm", (int)pid);
    FILE *f = fopen(path, "re");
    if (!f)
        return 0;
    int n = fscanf(f, "%llu %llu %llu", &size, &resident, &shared);
    fclose(f);
    return n == 3 && resident >= shared ? (resident - shared) * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}

uint64_t resident_bytes(const pid_t *pids, unsigned count)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < count; i++)
        if (pids[i] > 0)
            sum += resident_of(pids[i]);
    return sum;
}
