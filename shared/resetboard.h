/* SPDX-License-Identifier: Apache-2.0
 * A socket that its own side aborts is told by the kernel without the peer's port, so no one can say which flow, of
 * which shard, it was. Each shard therefore tells the hub here, in its own page, which flows were reset by which of
 * their ends, and how far it has got; the hub adds up (dispatcher/hub/aborts.h).
 * Single writer: the shard. The last RESET_NOTES notes stand on the board; a reader that was slower learns so.
 * Failure policy: a note that is being written over while it is read is as good as missed. */
#ifndef SHARED_RESETBOARD_H
#define SHARED_RESETBOARD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "shared/clock.h"
#include "shared/flowkey.h"

#define RESET_NOTES 4096u /* a power of two */

/* Side `side` of the key (0: addr[0]) has sent a RST. Told again when the flow gets its name. */
struct reset_note {
    uint32_t flow, generation; /* together they tell flows of one shard apart */
    struct mono at;            /* of the packet */
    uint64_t cookie;           /* of the flow's name; 0: it has none, or one of another kind */
    unsigned side;
    struct flowkey key;
};

struct reset_board {
    _Atomic int64_t settled_ns; /* struct mono: whatever was captured up to here has been told */
    _Atomic uint64_t told;      /* notes so far */
    struct {
        _Atomic uint64_t number; /* 1 + that of the note, 0 while it is being written */
        _Atomic uint64_t words[9];
    } slot[RESET_NOTES];
};

void reset_board_tell(struct reset_board *b, const struct reset_note *note);
void reset_board_settle(struct reset_board *b, struct mono settled);
struct mono reset_board_settled(const struct reset_board *b);

/* The note with number *next, or the oldest behind it that still stands; moves *next behind it and adds to *missed
 * those that were passed over. False if there is none yet. */
bool reset_board_read(const struct reset_board *b, uint64_t *next, uint64_t *missed, struct reset_note *out);

#endif
