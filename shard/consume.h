/* SPDX-License-Identifier: Apache-2.0
 * Ring records to flows: checks each record again, finds its generation, or opens one.
 * Failure policy: what does not check is counted as bad_record; ring data never decides an address. */
#ifndef SHARD_CONSUME_H
#define SHARD_CONSUME_H

#include <stdbool.h>

#include "shard/kernel_names.h"
#include "shard/saver.h"
#include "shard/uuid_intake.h"
#include "shared/ring.h"

#define CONSUME_BATCH 16u

/* A record that was taken out of the ring and is not in the flows yet. */
struct taken {
    struct ring_record rec;
    const uint8_t *payload;
    struct arena_applied applied; /* behind it */
    uint64_t at;                  /* ring position where it was looked for, and in its low bits which ring */
    uint64_t lost;                /* > 0, or rec.kind == 0: no record, but so many packets that did not check */
    uint32_t guess;               /* for prefetching only: the slot of its flow, most likely */
};

/* A time that far ahead of our own clock was never read from it. */
#define CONSUME_SLACK_NS NS_PER_SEC

struct consumer {
    /* set by the owner */
    struct savers *savers;
    struct intake *intake;
    struct ring_consumer *rings;      /* one of each dispatcher */
    unsigned ring_count;              /* 1 .. DISPATCHERS_MAX */
    const struct ring_shared *shared; /* flows_global */
    struct kernel_names *kernel;      /* NULL: not a source */
    const struct clock *clock;        /* bounds what records say of the time; NULL: packet time, which nothing bounds */
    struct shard_page *page;          /* its stage word, and the local addresses beyond the arena's life */
    uint64_t skip;                    /* position + 1 of a record that is left out, and counted as poison; 0 = none */
    bool careful;                     /* records are taken one by one, until the ring is empty */
    bool closing;                     /* finish the batch, take no other */
    bool ticked;                      /* a TICK came since the owner last looked */

    /* private */
    unsigned at; /* the ring of the batch; the next one is from the next ring that has something */
    struct taken batch[CONSUME_BATCH];
    unsigned batch_next, batch_count;
    int64_t latest_ns; /* no record of the batch can be later than this */
};

/* Once after adoption: a predecessor may have died after it opened a flow and before it gave it the name that waited.
 */
void consume_resume(struct consumer *c);

/* Has every ring ended, and is nothing left in one? A dispatcher that is killed behind its RING_END has a successor,
 * which writes more: a RING_END is the last word only while nothing follows it. */
bool consume_ended(struct consumer *c);

/* Takes at most `most` records, and stops once `sealed` raw bytes have been compressed. Returns how many there were.
 * The caller releases the ring. */
unsigned consume(struct consumer *c, unsigned most, uint64_t sealed);

/* True if everything that was taken out of the ring is in the flows. */
bool consume_batch_done(const struct consumer *c);

#endif
