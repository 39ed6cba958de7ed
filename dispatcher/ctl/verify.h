/* SPDX-License-Identifier: Apache-2.0
 * `shardcapctl verify`: counts the packets in all published files and holds them against the counters, so that the law
 * "every packet has one fate" is proved by something that the capture does not control: the files. */
#ifndef CTL_VERIFY_H
#define CTL_VERIFY_H

#include <stdint.h>
#include <stdio.h>

#include "dispatcher/ctl/args.h"
#include "dispatcher/ctl/counts.h"
#include "shared/err.h"

/* What lies below a datadir. */
struct verify_files {
    uint64_t files, packets, bytes; /* of the run that is looked at, and whole */
    uint64_t unkeyed;               /* of the packets */
    uint64_t others;                /* whole files of other runs */
    uint64_t bad;                   /* files and names that must not be there; each is told to `out` */
};

/* Reads all files below datadir. Those whose last rename lies within [started, ended] (Unix seconds; ended 0 = open)
 * are the run's. SC_OK; SC_ESYS: datadir cannot be read, told to stderr. */
int verify_files(const char *datadir, double started, double ended, FILE *out, struct verify_files *v) SC_MUST_CHECK;

/* Prints both sides and judges. before, after: the counters around the reading of the files (of a run that is over: the
 * same). Returns true if they agree: exactly at rest; of a capture under way, up to what was in flight. */
bool verify_judge(const struct counts *before, const struct counts *after, const struct verify_files *v, FILE *out);

extern const struct command verify_command;

#endif
