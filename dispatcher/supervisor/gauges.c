/* SPDX-License-Identifier: Apache-2.0
 * See gauges.h. Cannot fail. */
#include "dispatcher/supervisor/gauges.h"

#include <inttypes.h>
#include <stdio.h>

static bool set_process(const struct child *c, counter *up, counter *pid)
{
    bool ready = c->slot.state == SLOT_READY;
    counter_set(up, ready);
    counter_set(pid, (uint64_t)c->pid);
    return ready;
}

void gauges_set(struct family *f)
{
    struct supervisor_page *p = f->memory->supervisor;
    bool ready = f->phase == PHASE_RUNNING && (f->capturing || config_reads_files(f->config));
    ready &= set_process(&f->hub, &p->up_hub, &p->pid_hub);
    ready &= set_process(&f->dispatcher, &p->up_dispatcher, &p->pid_dispatcher);
    for (unsigned i = 0; i < f->memory->shards; i++)
        ready &= set_process(&f->shard[i], &p->up_shard[i], &p->pid_shard[i]);
    counter_set(&p->ready, ready);
    counter_set(&p->draining, f->phase >= PHASE_DRAINING);
}

counter *gauges_restarts(const struct child *c)
{
    struct supervisor_page *p = c->family->memory->supervisor;
    if (c->kind == CHILD_HUB)
        return &p->restarts_hub;
    return c->kind == CHILD_DISPATCHER ? &p->restarts_dispatcher : &p->restarts_shard[c->index];
}

const char *gauges_status(const struct family *f, const struct totals *totals, char out[GAUGES_STATUS])
{
    static const char *const words[] = {
        [PHASE_STARTING] = "starting", [PHASE_OPENING] = "starting",    [PHASE_RUNNING] = "capturing",
        [PHASE_DRAINING] = "draining", [PHASE_FINISHING] = "finishing", [PHASE_CLOSING] = "finishing"};
    unsigned up = 0;
    up += f->hub.slot.state == SLOT_READY;
    up += f->dispatcher.slot.state == SLOT_READY;
    for (unsigned i = 0; i < f->memory->shards; i++)
        up += f->shard[i].slot.state == SLOT_READY;
    snprintf(out, GAUGES_STATUS,
             "STATUS=%s: %u of %u processes up, flows %" PRIu64 ", files %" PRIu64 ", packets %" PRIu64
             ", lost %" PRIu64,
             words[f->phase], up, f->memory->shards + 2, totals->flows_started, totals->files, totals->delivered,
             totals->lost + totals->kernel_dropped);
    return out;
}
