/* SPDX-License-Identifier: Apache-2.0
 * The last hour in samples ten seconds apart, kept in the hub's page, so that a restart of the hub loses none. */
#ifndef HUB_HISTORY_H
#define HUB_HISTORY_H

#include "dispatcher/hub/pages.h"
#include "shared/clock.h"

/* Takes a sample if the last one is old enough; call it some times a second. A clock that went back (another boot
 * cannot be: the memory would be gone) or a page that holds nonsense starts the history anew. */
void history_tick(struct history *h, const struct pages *pages, struct mono now);

/* What the family is at this moment. */
void history_read(struct history_sample *out, const struct pages *pages, struct mono now);

/* Samples there are, 0 to HISTORY_SAMPLES, and the i-th of them, oldest first (i < history_count). */
unsigned history_count(const struct history *h);
const struct history_sample *history_at(const struct history *h, unsigned i);

#endif
