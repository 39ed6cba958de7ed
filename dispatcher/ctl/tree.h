/* SPDX-License-Identifier: Apache-2.0
 * The tree of published files: <datadir>/YYYY/MM/DD/<UUID>[.N].pcap[.gz]. */
#ifndef CTL_TREE_H
#define CTL_TREE_H

#include <stdbool.h>
#include <stdint.h>

#include "shared/clock.h"
#include "shared/err.h"

#define TREE_PATH 4352
#define TREE_UUID 160

struct tree_file {
    char path[TREE_PATH]; /* datadir and all below it */
    char uuid[TREE_UUID]; /* the name without .N and suffix */
    uint32_t yyyymmdd;    /* of the directory */
    struct wall changed;  /* last modification; no packet in it is later */
};

/* Splits a file name into its UUID; false if it is none of ours. ".1" of a second file is no part of the UUID. */
bool tree_uuid(const char *name, char uuid[TREE_UUID]);

/* Hands over all files in the order of their dates, then of names, until take returns false. Other names are passed
 * over. SC_OK; SC_ESYS: datadir cannot be read; SC_EPERM: something below it could not, which was told on stderr;
 * SC_ENOENT: no year stands below it, so it is no tree of ours, or a new one. */
int tree_walk(const char *datadir, bool (*take)(void *ctx, const struct tree_file *f), void *ctx) SC_MUST_CHECK;

/* Where files are looked for: given (-datadir), else the environment's DATADIR as shardcap reads it, else ".". */
const char *tree_datadir(const char *given);

#endif
