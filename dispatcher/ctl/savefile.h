/* SPDX-License-Identifier: Apache-2.0
 * A strict reader of one published file: nothing passes that is not exactly one gzip member (or, as *.pcap, none) with
 * exactly one classic nanosecond savefile of one TCP connection. */
#ifndef CTL_SAVEFILE_H
#define CTL_SAVEFILE_H

#include <stdbool.h>
#include <stdint.h>

#include "shared/err.h"

struct savefile {
    uint64_t packets;
    uint64_t bytes;   /* of the file */
    uint64_t unkeyed; /* of the packets: cut by the file's snaplen before a key could be read */
};

#define SAVEFILE_ERROR 256
/* Reads the file to its end. fd: open for reading, at its begin; stays the caller's. gzip: it must be compressed. SC_OK
 * with *out; SC_EFORMAT or SC_ESYS with a text for people in error. */
int savefile_read(int fd, bool gzip, struct savefile *out, char error[SAVEFILE_ERROR]) SC_MUST_CHECK;

#endif
