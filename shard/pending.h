/* SPDX-License-Identifier: Apache-2.0
 * UUIDs whose connection has shown no packet yet: a bounded table by FlowKey, first in first out per key.
 * Failure policy: when it is full the oldest makes room, and is told to the caller. */
#ifndef SHARD_PENDING_H
#define SHARD_PENDING_H

#include <stdbool.h>
#include <stdint.h>

#include "shared/clock.h"
#include "shared/err.h"
#include "shared/flowkey.h"
#include "shared/uuid.h"

#define PENDING_MAX 65536u
#define PENDING_PER_KEY 8u

/* A UUID that waits for a flow. */
struct claim {
    struct flowkey key;
    uint64_t hash; /* of the key */
    struct uuid uuid;
    uint64_t cookie; /* of the event; 0 = none */
    uint32_t yyyymmdd;
    bool date_ok;         /* the date is to be taken as it is */
    bool repeat;          /* a live flow has the name: another socket's (one that begins with a SYN) is not meant */
    struct instant at;    /* when the event happened: what is consumed up to here may still change its target */
    struct instant until; /* last first packet it may name */
};

struct pending;

struct pending *pending_new(void);    /* NULL: no memory */
void pending_free(struct pending *p); /* NULL is fine */

/* Keeps a claim. Returns how many older ones made room for it. The same UUID for the same key again only lasts longer.
 */
unsigned pending_put(struct pending *p, const struct claim *claim);

/* Takes the oldest claim on the key that is still good at `now`; with `fresh_socket` none that is a repeat. False if
 * there is none. */
bool pending_take(struct pending *p, const struct flowkey *key, uint64_t hash, struct instant now, bool fresh_socket,
                  struct claim *out);

/* Takes the oldest of all claims if it has expired at `now`. False if it has not, or there is none. */
bool pending_take_expired(struct pending *p, struct instant now, struct claim *out);

uint32_t pending_count(const struct pending *p);

#endif
