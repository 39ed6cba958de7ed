/* SPDX-License-Identifier: Apache-2.0
 * -cpus: the cores of those who handle packets. Each thread that packets pass through (the dispatchers, then the main
 * threads of the shards, in order) has one of the list to run on, from the start again when the list is over; what else
 * runs in their processes has the whole list. */
#ifndef SHARED_CPUS_H
#define SHARED_CPUS_H

#include <stddef.h>
#include <stdint.h>

#include "shared/counters.h"
#include "shared/err.h"

#define CPUS_MAX (DISPATCHERS_MAX + SHARDS_MAX)

struct cpu_list {
    uint32_t count; /* 0 = the system chooses */
    uint16_t cpu[CPUS_MAX];
};

/* Appends what text says, a core or a range ("3", "0-7"); a core that is there already counts once. SC_EFORMAT:
 * neither; SC_EPERM: *cpu_r is a core that this process may not use; SC_EFULL: more than CPUS_MAX. */
int cpus_add(struct cpu_list *list, const char *text, unsigned *cpu_r) SC_MUST_CHECK;

/* From now on this thread, and those that it starts, run on the list. A core that has gone since the start, or that an
 * outside supervisor denies, is logged and left out: capture on another core is better than none. */
void cpus_enter(const struct cpu_list *list);

/* From now on this thread, and those that it starts, run on the core of that place in the order: dispatcher k has place
 * k, shard i the place of the number of dispatchers + i. */
void cpus_take(const struct cpu_list *list, unsigned place);

#endif
