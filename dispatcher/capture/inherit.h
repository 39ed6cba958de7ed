/* SPDX-License-Identifier: Apache-2.0
 * What a dispatcher leaves in its page for a successor that is to take over while it runs: which interfaces it captures
 * and the group of each (group.h). */
#ifndef CAPTURE_INHERIT_H
#define CAPTURE_INHERIT_H

#include <stdbool.h>
#include <stdint.h>

#include "shared/counters.h"

/* Group of the interface with this index, as its dispatcher captures it now; -1: it does not, or without a group. */
int inherit_group(const struct dispatcher_page *page, int if_index);

/* Writes it for a successor; -1 = none, and that before the capture is closed. The slot that several interfaces share
 * has none. */
void inherit_tell(struct dispatcher_page *page, struct interface_counters *c, int group);

/* True if every interface that is captured is among those for which has() is true. */
bool inherit_all(const struct dispatcher_page *page, bool (*has)(void *ctx, int if_index), void *ctx);

/* Interfaces change hands. begin: before the first does; from then on the predecessor claims no more to have seen
 * everything. */
void inherit_begin(struct dispatcher_page *page);
void inherit_end(struct dispatcher_page *page);
bool inherit_begun(const struct dispatcher_page *page);

#endif
