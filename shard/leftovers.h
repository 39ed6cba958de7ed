/* SPDX-License-Identifier: Apache-2.0
 * Hands a predecessor's files that outfile_sweep found to the file thread, one at a time, while the shard already
 * works. Failure policy: what fails is logged and left for the next start. */
#ifndef SHARD_LEFTOVERS_H
#define SHARD_LEFTOVERS_H

#include <stdbool.h>

#include "shard/outfile.h"
#include "shared/counters.h"

struct leftovers {
    /* set by the owner */
    struct outfile *out;
    struct shard_counters *c;
    uint32_t count; /* what outfile_sweep said */

    /* private */
    uint32_t next;
    bool under_way;
    uint64_t files, packets, aside;
};

/* Hands out the next one. True if it did. */
bool leftovers_step(struct leftovers *l);
/* Takes the result of an OUTFILE_SALVAGE job. */
void leftovers_result(struct leftovers *l, const struct outfile_result *r);

#endif
