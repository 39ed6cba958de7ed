/* SPDX-License-Identifier: Apache-2.0
 * Prometheus text exposition (format 0.0.4) of the counter pages. Pure: mapped memory in, text out.
 * The pcap_*, git_short_commit and process_* names are the reference's and an API: sums over the shards, no shard
 * label. shardcap_* are our own. Every label value is there from the start. No address and no UUID. */
#ifndef HUB_METRICS_H
#define HUB_METRICS_H

#include "dispatcher/hub/pages.h"
#include "dispatcher/hub/procstat.h"
#include "dispatcher/hub/text.h"

#define METRICS_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* commit: hex digits; anything else reads as 0. */
void metrics_render(const struct pages *pages, const struct procstat *family, const char *commit, struct text *out);

#endif
