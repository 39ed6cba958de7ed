/* SPDX-License-Identifier: Apache-2.0
 * See progress.h. */
#include "dispatcher/capture/progress.h"

void progress_begin(struct progress *p, struct mono now)
{
    *p = (struct progress){.until = now, .last = {INT64_MIN}};
}

static void raise_to(struct progress *p, int64_t ns)
{
    if (ns > p->until.ns)
        p->until.ns = ns;
}

void progress_burst(struct progress *p, const struct steps *steps, struct mono began, bool drained)
{
    if (p->last.ns != INT64_MIN)
        raise_to(p, steps_mono(steps, p->last, began).ns);
    if (drained)
        raise_to(p, began.ns - CAPTURE_DELAY_NS);
    p->last.ns = INT64_MIN;
}
