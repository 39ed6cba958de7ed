/* SPDX-License-Identifier: Apache-2.0
 * Failure policy: none; cannot fail. */
#include "dispatcher/ctl/pace.h"

int64_t pace_next(struct pace *p, struct mono now)
{
    if (p->rate == 0)
        return 0;
    if (p->done == 0)
        p->start = now;
    /* In two parts, so that nothing overflows in any lifetime. */
    int64_t due = p->start.ns + (int64_t)(p->done / p->rate) * NS_PER_SEC +
                  (int64_t)((p->done % p->rate) * (uint64_t)NS_PER_SEC / p->rate);
    if (now.ns < due)
        return due - now.ns;
    if (now.ns - due > NS_PER_SEC)
        p->start.ns += now.ns - due - NS_PER_SEC;
    p->done++;
    return 0;
}
