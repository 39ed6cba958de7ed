/* SPDX-License-Identifier: Apache-2.0
 * Failure policy: none; cannot fail. */
#include "dispatcher/hub/pulse.h"

static void look(struct pulse *p, const _Atomic uint64_t *heartbeat, struct mono now)
{
    uint64_t value = atomic_load_explicit(heartbeat, memory_order_relaxed);
    if (p->seen && p->value == value)
        return;
    *p = (struct pulse){value, now, true};
}

void pulses_look(struct pulses *p, const struct dispatcher_page *d, const struct shard_page *const *shards,
                 unsigned shard_count, struct mono now)
{
    p->now = now;
    look(&p->dispatcher, &d->heartbeat, now);
    for (unsigned i = 0; i < shard_count; i++)
        look(&p->shard[i], &shards[i]->heartbeat, now);
}

uint64_t pulses_age_ms(const struct pulses *p, const struct pulse *of)
{
    return of->seen && p->now.ns > of->moved.ns ? (uint64_t)(p->now.ns - of->moved.ns) / (uint64_t)NS_PER_MS : 0;
}
