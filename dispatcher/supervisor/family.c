/* SPDX-License-Identifier: Apache-2.0
 * See family.h. Cannot fail. */
#include "dispatcher/supervisor/family.h"

#include <stdio.h>

struct mono family_now(const struct family *f)
{
    return f->clock->mono(f->clock->ctx);
}

void family_enter(struct family *f, enum phase phase)
{
    f->phase = phase;
    f->phase_since = family_now(f);
}

void family_fail(struct family *f, int status, const char *who, const char *why)
{
    if (f->status != EXIT_DONE)
        return;
    f->status = status;
    snprintf(f->reason, sizeof(f->reason), "%s%s%s", who, *who ? ": " : "", why);
}
