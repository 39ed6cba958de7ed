/* SPDX-License-Identifier: Apache-2.0
 * Looks at a file that a predecessor left in staging: is it whole, can it be ended after the last whole chunk, or is
 * there nothing in it? Trusts no byte of it. */
#ifndef SHARD_SALVAGE_H
#define SHARD_SALVAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "shared/err.h"

struct salvage {
    bool gzip;
    bool whole;       /* as it is one valid file */
    uint64_t packets; /* in what can be kept */
    uint64_t bytes;   /* of the file */
    uint64_t keep;    /* its first bytes that make whole records; < bytes, or without an end, when it is cut */
    uint8_t tail[10]; /* what has to follow them */
    uint8_t tail_len;
};

/* Reads fd (from its begin, by pread; stays the caller's). SC_OK: there are packets to keep; SC_EFORMAT: there is
 * nothing to be made of it; SC_ENOMEM; SC_ESYS. */
int salvage_read(int fd, struct salvage *out) SC_MUST_CHECK;

#endif
