/* SPDX-License-Identifier: Apache-2.0
 * The journal of published events, in memory that the supervisor holds: it outlives the hub, so a shard can ask for
 * what it missed, and the next hub goes on with the same epoch and the same numbers.
 * A ring of entries {shard, seq, time, line}; the oldest are overwritten. Numbers are per shard and start at 1. */
#ifndef HUB_JOURNAL_H
#define HUB_JOURNAL_H

#define JOURNAL_LAYOUT 2u /* of all that hubs hand to one another in the journal's memory */

#include <stddef.h>
#include <stdint.h>

#include "shared/bus.h"
#include "shared/clock.h"
#include "shared/err.h"

/* A smaller memory is SC_EINVAL: an entry with the longest line must fit twice. */
#define JOURNAL_BYTES_MIN (4096 + 4 * BUS_PAGE_MAX)

struct journal;

enum journal_origin {
    JOURNAL_NEW,       /* the memory was all zero */
    JOURNAL_CONTINUED, /* taken over: same epoch, same numbers */
    JOURNAL_BROKEN,    /* did not check, or was made for another number of shards: a new epoch */
};

/* Takes over the journal in map (bytes long, stays the caller's, nobody else writes it). A new epoch is named
 * new_epoch, or new_epoch + 1 if that is the name of the one before. NULL: no memory, or bytes too small. */
struct journal *journal_open(void *map, size_t bytes, unsigned shards, uint64_t new_epoch,
                             enum journal_origin *origin_r);
void journal_close(struct journal *j); /* NULL is fine; the content stays */

uint64_t journal_epoch(const struct journal *j);
/* The number that the shard's next event will get. */
uint64_t journal_next_seq(const struct journal *j, unsigned shard);

/* Stores one line (no newline, at most BUS_LINE_MAX bytes, else SC_ETOOLONG) and returns its number in *seq_r. When
 * this returns SC_OK the event survives the death of the process. */
int journal_append(struct journal *j, unsigned shard, struct mono now, const char *line, size_t len,
                   uint64_t *seq_r) SC_MUST_CHECK;

/* Writes one bus page (BUS_PAGE_MAX bytes are enough) for a shard that has seen everything below `from` of `epoch`:
 * as many events as fit, beginning with the first that is still there and not older than `oldest`; a heartbeat if
 * there is none. With another epoch than the current one `from` is taken as 1. Returns the length. */
size_t journal_page(const struct journal *j, unsigned shard, uint64_t epoch, uint64_t from, struct mono oldest,
                    char *out);

#endif
