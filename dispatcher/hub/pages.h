/* SPDX-License-Identifier: Apache-2.0
 * What the hub sees of the family: configuration and counter pages, mapped from the supervisor's memory. Read-only but
 * for its own page; and when each process last moved. */
#ifndef HUB_PAGES_H
#define HUB_PAGES_H

#include "dispatcher/hub/pulse.h"
#include "shared/config.h"
#include "shared/counters.h"
#include "shared/err.h"
#include "shared/proto.h"

struct pages {
    const struct config *config;
    const struct supervisor_page *supervisor;
    const struct dispatcher_page *dispatcher;
    const struct shard_page *shard[SHARDS_MAX]; /* config->shards of them */
    struct hub_page *hub;                       /* single writer: this process */
    struct pulses pulses;                       /* kept by whoever runs the loop */
};

/* Takes the fds out of the attachment and maps them for the life of the process. SC_OK; SC_ENOENT (one did not come),
 * SC_ESYS, SC_EVERSION (made by another build): *what_r then says which. */
int pages_map(struct pages *out, struct proto_attachment *a, const char **what_r) SC_MUST_CHECK;

#endif
