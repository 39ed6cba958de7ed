/* SPDX-License-Identifier: Apache-2.0
 * What a shard tells the hub of single flows, for those who watch: one fixed message each over a SOCK_SEQPACKET pair
 * that the supervisor made. Best effort: a shard never waits for the hub; what finds no room is left out and counted.
 */
#ifndef SHARED_REPORT_H
#define SHARED_REPORT_H

#include <stdint.h>

#include "shared/cause.h"
#include "shared/err.h"
#include "shared/flowkey.h"
#include "shared/uuid.h"

#define REPORT_PATH 192 /* bytes of a path below datadir with its NUL: YYYY/MM/DD/<uuid>.N.pcap.gz */

enum report_kind {
    REPORT_SAVED = 1, /* uuid, path, packets, bytes (of the file); key as the file shows it */
    REPORT_LOST,      /* cause, packets; key as a file would show it; uuid may be empty */
    REPORT_NAMED,     /* the kernel gave this flow its name: uuid, cookie, local; key with whole addresses */
};

struct report {
    uint32_t magic;
    uint16_t kind;
    uint16_t cause;
    struct flowkey key;
    uint64_t packets, bytes;
    uint64_t cookie;
    int64_t first_ns;  /* REPORT_NAMED: struct wall of the first packet */
    uint64_t left_out; /* reports of this shard that were left out so far, over all its lives */
    uint32_t zero;
    uint32_t local; /* which end of the key is this machine's: 0 or 1 */
    struct uuid uuid;
    char path[REPORT_PATH];
};

/* Sets the magic number and sends without waiting. SC_OK; SC_EFULL: no room; SC_EOF; SC_ESYS. */
int report_send(int fd, struct report *r) SC_MUST_CHECK;

/* Takes one message and checks every field. SC_OK, SC_EAGAIN, SC_EOF, SC_EFORMAT (the message is gone), SC_ESYS. */
int report_recv(int fd, struct report *out) SC_MUST_CHECK;

#endif
