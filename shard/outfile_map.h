/* SPDX-License-Identifier: Apache-2.0
 * The file calls behind the queue: shared by outfile.c (queue and thread) and outfile_calls.c. Nothing else includes
 * this. */
#ifndef SHARD_OUTFILE_MAP_H
#define SHARD_OUTFILE_MAP_H

#include "shard/outfile.h"

/* Belongs to the thread that does the jobs. */
struct outfile_calls {
    const struct sysops *sys;
    const struct config *config;
    uint32_t shard;
    int datadir, staging;
    int sync_fd;  /* staging again, opened for syncfs; -1 = not yet */
    uint32_t day; /* whose directory is open; 0 = none */
    int day_fd;   /* -1 = none */
    struct retention retention;
    char **left; /* names that the sweep found; fixed before the first job */
    uint32_t left_count;
};

/* Does one job; fills everything of *out but the job itself. */
void outfile_do(struct outfile_calls *c, const struct outfile_job *job, struct outfile_result *out);

/* The staging name of a job's file. */
#define OUTFILE_STAGED (1 + 9 + UUID_MAX + 1 + 11 + 21 + 8)
void outfile_staged_name(char out[OUTFILE_STAGED], const struct outfile_calls *c, const struct outfile_job *job);

/* Moves the staged file `name` to the first free name of the UUID, as *.pcap.gz if gzip, else *.pcap. False: *out says
 * why (was_published: the staged name is gone). */
bool outfile_publish_as(struct outfile_calls *c, uint32_t yyyymmdd, const struct uuid *uuid, bool gzip,
                        const char *name, struct outfile_result *out);

/* ---- outfile_salvage.c ---- */

/* outfile_sweep. */
int outfile_sweep_calls(struct outfile_calls *c, bool (*wanted)(void *ctx, uint32_t idx, uint32_t generation),
                        void *ctx);
/* Does OUTFILE_SALVAGE of left[index]. */
void outfile_salvage(struct outfile_calls *c, uint32_t index, struct outfile_result *out);

#endif
