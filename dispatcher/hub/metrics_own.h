/* SPDX-License-Identifier: Apache-2.0
 * shardcap's own metrics, shardcap_*: where every packet went, per cause, shard and interface, and how each process
 * is. */
#ifndef HUB_METRICS_OWN_H
#define HUB_METRICS_OWN_H

#include "dispatcher/hub/pages.h"
#include "dispatcher/hub/text.h"

void metrics_own(const struct pages *pages, struct text *out);

#endif
