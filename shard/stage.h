/* SPDX-License-Identifier: Apache-2.0
 * The stage word: where a shard is, for whoever finds it dead or stuck. Two plain stores; cannot fail. */
#ifndef SHARD_STAGE_H
#define SHARD_STAGE_H

#include "shared/counters.h"

/* at: ring position (SCAN, RECORD), slot of the flow (SEAL), else 0. page NULL: nobody wants to know. */
static inline void stage_enter(struct shard_page *page, enum shard_stage stage, uint64_t at)
{
    if (!page)
        return;
    /* relaxed: read when this process is gone or stands still */
    atomic_store_explicit(&page->stage_at, at, memory_order_relaxed);
    atomic_store_explicit(&page->stage, stage, memory_order_relaxed);
}

#endif
