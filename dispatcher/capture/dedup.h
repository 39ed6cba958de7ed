/* SPDX-License-Identifier: Apache-2.0
 * -dedup: a packet that crosses two captured interfaces is saved once. Two sightings are of one packet if all that a
 * router leaves alone is equal: addresses, IPv4 identification or IPv6 flow label, length, and the TCP header but for
 * its checksum (which is not yet made where a packet is seen before its interface makes it). The interface that showed
 * it first keeps it: a retransmission is seen there again and is no duplicate. Fixed memory; of more packets than fit,
 * those longest not seen are forgotten, and a duplicate of theirs is saved as one more packet. */
#ifndef CAPTURE_DEDUP_H
#define CAPTURE_DEDUP_H

#include <stdbool.h>
#include <stdint.h>

#include "shared/clock.h"
#include "shared/frame.h"
#include "shared/siphash.h"

#define DEDUP_WINDOW_NS NS_PER_SEC /* how long after its last sighting a packet is remembered */

struct dedup;

/* 4 MiB. NULL: out of memory. */
struct dedup *dedup_new(const struct siphash_key *secret);
void dedup_free(struct dedup *d); /* NULL is fine */

/* Was this packet seen within the window on another interface than if_index? Remembers it. bytes: the frame that f was
 * parsed from; flow_hash: of its FlowKey; now: never goes back. */
bool dedup_seen(struct dedup *d, const struct frame *f, const uint8_t *bytes, uint64_t flow_hash, uint32_t if_index,
                struct instant now);

#endif
