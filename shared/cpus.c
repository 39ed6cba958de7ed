/* SPDX-License-Identifier: Apache-2.0
 * Lists of cores, and sched_setaffinity(2) for the calling thread. Failure policy: see cpus.h. */
#include "shared/cpus.h"

#include <errno.h>
#include <sched.h>
#include <stdbool.h>
#include <string.h>

#include "shared/log.h"

/* The digits at *p, which then stands behind them; CPU_SETSIZE for what is no number or too large. */
static unsigned number(const char **p)
{
    const char *start = *p;
    unsigned n = 0;
    for (; **p >= '0' && **p <= '9'; ++*p)
        n = n < CPU_SETSIZE ? n * 10 + (unsigned)(**p - '0') : n;
    return *p > start && n < CPU_SETSIZE ? n : CPU_SETSIZE;
}

static bool listed(const struct cpu_list *list, unsigned cpu)
{
    for (uint32_t i = 0; i < list->count; i++)
        if (list->cpu[i] == cpu)
            return true;
    return false;
}

int cpus_add(struct cpu_list *list, const char *text, unsigned *cpu_r)
{
    cpu_set_t ours;
    unsigned first = number(&text), last = first;
    CPU_ZERO(&ours);
    if (*text == '-' && first < CPU_SETSIZE) {
        text++;
        last = number(&text);
    }
    if (*text != '\0' || last >= CPU_SETSIZE || last < first)
        return SC_EFORMAT;
    bool known = sched_getaffinity(0, sizeof ours, &ours) == 0; /* EINVAL: the kernel is built for more cores */
    for (unsigned cpu = first; cpu <= last; cpu++) {
        *cpu_r = cpu;
        if (known && !CPU_ISSET(cpu, &ours))
            return SC_EPERM;
        if (listed(list, cpu))
            continue;
        if (list->count == CPUS_MAX)
            return SC_EFULL;
        list->cpu[list->count++] = (uint16_t)cpu;
    }
    return SC_OK;
}

void cpus_enter(const struct cpu_list *list)
{
    cpu_set_t cores;
    CPU_ZERO(&cores);
    for (uint32_t i = 0; i < list->count && i < CPUS_MAX; i++)
        CPU_SET(list->cpu[i], &cores);
    if (list->count > 0 && sched_setaffinity(0, sizeof cores, &cores) != 0)
        log_warn("-cpus is not followed: %s", strerror(errno));
}

void cpus_take(const struct cpu_list *list, unsigned place)
{
    cpu_set_t core;
    if (list->count == 0 || list->count > CPUS_MAX)
        return;
    CPU_ZERO(&core);
    CPU_SET(list->cpu[place % list->count], &core);
    if (sched_setaffinity(0, sizeof core, &core) != 0)
        log_warn("core %u of -cpus cannot be had: %s", list->cpu[place % list->count], strerror(errno));
}
