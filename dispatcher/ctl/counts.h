/* SPDX-License-Identifier: Apache-2.0
 * The counters of a run, out of the JSON of a live instance (`status`) or of a saved -summary. */
#ifndef CTL_COUNTS_H
#define CTL_COUNTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shared/err.h"

struct counts {
    uint64_t dispatchers; /* threads that capture, or 0: it is told at rest */
    uint64_t delivered, saved, buffered, in_ring, lost, limits;
    uint64_t drops;                            /* sum over the causes: lost + limits */
    uint64_t files, bytes;                     /* published */
    double started, ended;                     /* Unix seconds; ended 0 = it still runs */
    uint64_t salvaged_files, salvaged_packets; /* a predecessor's, published at the start; not in files and saved */
    uint64_t removed_files;                    /* published ones that -keep or -maxdisk has removed */
};

#define COUNTS_ERROR 256
/* SC_OK; SC_EFORMAT with a text for people in error: it is not what shardcap writes. */
int counts_parse(const char *json, size_t len, struct counts *out, char error[COUNTS_ERROR]) SC_MUST_CHECK;

#endif
