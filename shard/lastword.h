/* SPDX-License-Identifier: Apache-2.0
 * What a process that nobody of ours reaps says of its own death: the supervisor sees only the end of its socket, and
 * a crash has to be told from a kill (fault.h). */
#ifndef SHARD_LASTWORD_H
#define SHARD_LASTWORD_H

#include <stdint.h>

#include "shared/counters.h"

/* From now on a signal of the process's own making, or a panic, leaves `generation` in page->faults.own before it ends
 * the process as it would have. The page must stay mapped. Once per process. Cannot fail in a way that matters: without
 * it the death counts as somebody else's. */
void lastword_keep(struct shard_page *page, uint32_t generation);

#endif
