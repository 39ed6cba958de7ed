/* SPDX-License-Identifier: Apache-2.0
 * Tells the hub which flows were saved, which were lost, and which the kernel has named (shared/report.h); the first
 * two go to the log as well, at debug, addresses masked as in the file. Failure policy: it never waits and nothing
 * depends on it. Lost flows may come as a flood, so they are limited to REPORTER_LOST_PER_SECOND; what is left out, by
 * that limit or because the hub does not keep up, is counted. */
#ifndef SHARD_REPORTER_H
#define SHARD_REPORTER_H

#include <stdint.h>

#include "shared/anonymize.h"
#include "shared/cause.h"
#include "shared/clock.h"
#include "shared/counters.h"
#include "shared/flowkey.h"
#include "shared/uuid.h"

#define REPORTER_LOST_PER_SECOND 500

struct reporter {
    /* set by the owner */
    int fd; /* -1 = nobody listens; stays the caller's */
    const struct clock *clock;
    const struct anonymizer
        *anonymizer; /* with the local addresses, which stand behind the first `given` exempt ones */
    uint32_t given;
    struct shard_counters *c;

    /* private */
    int64_t second; /* of `lost` */
    unsigned lost;
};

/* A file was published: path below datadir, bytes of the file. r may be NULL here and below. */
void reporter_saved(struct reporter *r, const struct flowkey *key, const struct uuid *uuid, const char *path,
                    uint64_t packets, uint64_t bytes);
/* The flow will have no file (or none of these packets). uuid NULL: it had no name. */
void reporter_lost(struct reporter *r, const struct flowkey *key, const struct uuid *uuid, enum cause cause,
                   uint64_t packets);
/* The kernel gave the flow, first seen at `first`, its name. */
void reporter_named(struct reporter *r, const struct flowkey *key, const struct uuid *uuid, uint64_t cookie,
                    struct wall first);

#endif
