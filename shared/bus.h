/* SPDX-License-Identifier: Apache-2.0
 * The event bus: nanomsg behind one door, and the form of a bus page. Used by hub, shard and shardcapctl.
 * Confine the process first: nanomsg's worker thread keeps the capabilities it started with. Never after fork.
 *
 * A page: "<epoch> <seq> <count>\n", then count FlowEvent lines, each ended by "\n"; the first line has number seq, the
 * next seq + 1 .. An epoch is one life of the journal. A heartbeat is a page with count 0 whose seq is the number that
 * the next event will get. Numbers are per shard and start at 1. */
#ifndef SHARED_BUS_H
#define SHARED_BUS_H

#include <stddef.h>
#include <stdint.h>

#include "shared/err.h"

#define BUS_LAYOUT 2 /* of pages, requests and answers below -rundir */
#define BUS_PAGE_MAX 65536
#define BUS_PAGE_HEAD 64                                /* no head of a page is longer */
#define BUS_LINE_MAX (BUS_PAGE_MAX - BUS_PAGE_HEAD - 1) /* without its newline */
#define BUS_JOURNAL_BYTES                                                                                              \
    (16u * 1024 * 1024)                    /* memory that the supervisor keeps for hubs: journal, halfline, prefix     \
                                            */
#define BUS_MESSAGE_MAX (16 * 1024 * 1024) /* NN_RCVMAXSIZE: nanocat --file sends a file as one message */

enum bus_kind { BUS_PUB, BUS_SUB, BUS_REP, BUS_REQ, BUS_PULL, BUS_PUSH };

struct bus;

/* Opens a socket and binds (PUB, REP, PULL) to the ipc path with umask 0117 (0660) or, for mode0600, 0177. A leftover
 * socket file is removed first. NULL on failure with a text in error. */
#define BUS_ERROR 256
struct bus *bus_bind(enum bus_kind kind, const char *path, int mode0600, char error[BUS_ERROR]);
/* Opens and connects (SUB to all topics, REQ, PUSH); works before the other side is there. */
struct bus *bus_connect(enum bus_kind kind, const char *path, char error[BUS_ERROR]);
/* Connects anew. nanomsg does that by itself, but was seen to stop trying for good when the peer was killed while this
 * process stood still. bus_fd stays the same; what was received stays to be taken. SC_OK or SC_ESYS (try again). */
int bus_reconnect(struct bus *b) SC_MUST_CHECK;
void bus_close(struct bus *b); /* NULL is fine */

/* How many peers are connected. */
unsigned bus_peers(const struct bus *b);

/* Readable when a message waits; -1 for kinds that only send. */
int bus_fd(const struct bus *b);

/* Sends without blocking. SC_OK, SC_EAGAIN (no peer or no room), SC_ESYS. */
int bus_send(struct bus *b, const void *bytes, size_t len) SC_MUST_CHECK;
/* Receives without blocking. SC_OK: *bytes_r of *len_r are to be freed by bus_free. SC_EAGAIN, SC_ESYS. */
int bus_recv(struct bus *b, void **bytes_r, size_t *len_r) SC_MUST_CHECK;
/* Receives, waiting at most ms. */
int bus_recv_wait(struct bus *b, int ms, void **bytes_r, size_t *len_r) SC_MUST_CHECK;
void bus_free(void *bytes);

struct bus_page {
    uint64_t epoch, seq;
    uint32_t count;
    const char *lines; /* inside the message */
    size_t lines_len;
};
/* Writes the head into out (BUS_PAGE_HEAD bytes are enough); returns its length. */
size_t bus_page_head(char *out, uint64_t epoch, uint64_t seq, uint32_t count);
/* SC_OK or SC_EFORMAT (also when count and the number of newlines differ). */
int bus_page_parse(const void *bytes, size_t len, struct bus_page *out) SC_MUST_CHECK;

/* Paths below rundir. Return SC_OK or SC_ETOOLONG (a unix socket path has 107 bytes). */
#define BUS_PATH 108
int bus_shard_path(char out[BUS_PATH], const char *rundir, unsigned shard); /* bus/NN.sock */
int bus_replay_path(char out[BUS_PATH], const char *rundir);                /* bus/replay.sock */
int bus_path(char out[BUS_PATH], const char *rundir, const char *name);     /* ctl.sock, events.sock, inject.sock */

#endif
