/* SPDX-License-Identifier: Apache-2.0
 * See nameless.h. */
#include "shared/nameless.h"

#include <stddef.h>

#define FLOWS_TO_TELL 10

const char *nameless_reason(const struct config *c, const struct totals *t)
{
    if (config_reads_files(c) || t->flows_nameless < FLOWS_TO_TELL || t->flows_nameless <= t->flows_named)
        return NULL;
    if (c->uuid_sources & UUID_SOURCE_HASH)
        return "most flows have no UUID: they show data in one direction only";
    if (c->uuid_sources & UUID_SOURCE_KERNEL)
        return "most flows have no UUID: their sockets are in another namespace, or the traffic is forwarded: set "
               "-uuid.source=hash, or run in that namespace";
    if (c->uuid_sources & UUID_SOURCE_EVENTSOCKET)
        return "most flows have no UUID: tcp-info does not tell of them: set -uuid.source=eventsocket,kernel or hash";
    return "most flows have no UUID: -uuid.source=none leaves that to shardcapctl inject";
}
