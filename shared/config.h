/* SPDX-License-Identifier: Apache-2.0
 * All settings of a run as one flat struct: made by the supervisor from flags and environment (flags.h), checked before
 * anything is created, handed read-only to every child in a sealed memfd. No pointers, so it can be mapped. */
#ifndef SHARED_CONFIG_H
#define SHARED_CONFIG_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "shared/anonymize.h"
#include "shared/counters.h"
#include "shared/cpus.h"
#include "shared/log.h"
#include "shared/sandbox.h"
#include "shared/siphash.h"
#include "shared/uuid.h"

#define CONFIG_MAGIC 0x53434346u
#define CONFIG_LAYOUT 4
#define CONFIG_PATH 4096
#define CONFIG_FILTER 4096
#define SAVEFILES_MAX 256

enum { UUID_SOURCE_EVENTSOCKET = 1, UUID_SOURCE_KERNEL = 2, UUID_SOURCE_HASH = 4, UUID_SOURCE_EVENTS = 8 };
enum gzip_mode { GZIP_AUTO, GZIP_SMALL, GZIP_FAST, GZIP_ZLIB, GZIP_NONE };

struct config {
    uint32_t magic, layout;
    uint64_t bytes; /* sizeof(struct config) */

    /* reference.md section 2 */
    char datadir[CONFIG_PATH];    /* real path, absolute once the supervisor has opened it */
    char stagingdir[CONFIG_PATH]; /* likewise */
    bool staging_inside;          /* staging is <datadir>/.staging: names get a leading dot */
    int64_t captureduration_ns, uuidwaitduration_ns, flowtimeout_ns, sigtermwait_ns;
    uint32_t maxheadersize; /* snaplen, 1..FRAME_MAX_CAPLEN */
    bool stream;
    uint32_t maxflows; /* 0 = off */
    /* limits of our own, 0 = off */
    uint32_t maxpackets;  /* saved of a flow */
    uint64_t maxfilesize; /* bytes of a flow's savefile before compression */
    uint32_t sample;      /* save one flow of so many */
    bool dedup;           /* a packet that crosses two interfaces is saved once */
    uint32_t interface_count;
    char interfaces[INTERFACES_MAX][INTERFACE_NAME]; /* empty = all that are up */
    uint64_t maxidleram, maxheap;                    /* bytes; maxheap after lowering */
    uint64_t maxheap_asked;                          /* as given, for the log line */
    struct anonymizer anonymizer;  /* mode and -anonymize.exempt; local addresses come by RING_ADDRESSES */
    char eventsocket[CONFIG_PATH]; /* "" = none */
    char serve[CONFIG_PATH];       /* -events.serve; "" = none */
    char listen_address[256];      /* "" = no HTTP */

    /* our own */
    uint32_t savefile_count; /* > 0: -read */
    bool savefile_stdin;     /* one of them is "-" */
    char savefiles[SAVEFILES_MAX][CONFIG_PATH];
    uint32_t shards;
    uint32_t dispatchers;  /* threads that capture; 1 with -read */
    bool shards_external;  /* other supervisors start them */
    struct cpu_list cpus;  /* of both; empty = the system chooses */
    uint32_t uuid_sources; /* UUID_SOURCE_ bits, `auto` resolved; 0 = none */
    char uuid_events[CONFIG_PATH];
    struct uuid uuid_prefix;            /* of -uuid-prefix-file; empty = none was given */
    bool kernel_lookup, kernel_destroy; /* parts of UUID_SOURCE_KERNEL: questions, and the feed of ended sockets */
    struct uuid kernel_prefix;          /* of names from socket cookies; empty: to be learned from tcp-info's UUIDs */
    char rundir[CONFIG_PATH];
    uint64_t ringsize; /* power of two */
    uint64_t capturebuffer;
    char filter[CONFIG_FILTER]; /* "" = none */
    bool filter_raw;
    enum gzip_mode gzip;
    int64_t syncinterval_ns;      /* 0 = no sync */
    uint32_t mindiskfree_percent; /* new flows pause below it; 0 = see mindiskfree */
    uint64_t mindiskfree;         /* likewise, in bytes; 0 = off */
    uint64_t maxdisk;             /* bytes below datadir; 0 = off */
    int64_t keep_ns;              /* published files older than that are removed; 0 = never */
    uid_t uid;                    /* of hub and shards, and owner of what is created */
    gid_t gid;
    bool user_switch; /* we are root and uid/gid are to be taken on */
    char summary[CONFIG_PATH];
    enum log_level log_level;
    enum log_format log_format;
    enum sandbox_mode seccomp;
    int64_t started_ns;          /* struct wall at the start, for people and `shardcapctl verify` */
    bool report_files;           /* shards send PROTO_SAVED: a person watches */
    struct siphash_key hash_key; /* getrandom; of tables and shard choice */
    mode_t umask;                /* of the caller */
};

static inline bool config_reads_files(const struct config *c)
{
    return c->savefile_count > 0;
}

static inline unsigned config_dispatchers(const struct config *c)
{
    return c->dispatchers > 1 && c->dispatchers <= DISPATCHERS_MAX && !config_reads_files(c) ? c->dispatchers : 1;
}

/* Of all rings of one shard: each thread of -dispatchers has its own. */
static inline uint64_t config_ring_bytes(const struct config *c)
{
    return c->ringsize * config_dispatchers(c);
}

/* All zero but magic, layout and bytes. */
void config_init(struct config *c);

/* Maps a config that the supervisor sent: SC_EVERSION if another build made it, SC_ESYS. *out is read-only, never
 * unmapped, and NULL on failure. fd stays the caller's. */
int config_map(int fd, const struct config **out) SC_MUST_CHECK;

#endif
