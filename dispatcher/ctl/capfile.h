/* SPDX-License-Identifier: Apache-2.0
 * Packets of a capture file: classic pcap or pcapng, also gzip'd. The only user of libpcap in this program. */
#ifndef CTL_CAPFILE_H
#define CTL_CAPFILE_H

#include <stdint.h>

#include "shared/clock.h"
#include "shared/err.h"

#define CAPFILE_ERROR 512

struct capfile;

struct capfile_packet {
    struct wall ts;
    uint32_t caplen, wire_len; /* caplen <= FRAME_MAX_CAPLEN and <= wire_len */
    const uint8_t *bytes;      /* until the next call */
};

/* path "-" is standard input. NULL with a text for people, which names the path, in error: it cannot be opened, is no
 * capture file, or of a link type that the packet parser does not know. */
struct capfile *capfile_open(const char *path, char error[CAPFILE_ERROR]);
/* The same of an open file, which is taken over and closed; path is for texts. */
struct capfile *capfile_open_fd(int fd, const char *path, char error[CAPFILE_ERROR]);
void capfile_close(struct capfile *s); /* NULL is fine */

int capfile_linktype(const struct capfile *s); /* enum linktype */
uint32_t capfile_snaplen(const struct capfile *s);

/* SC_OK, SC_EOF, or SC_EFORMAT (cut or damaged; what came before is good) with a text in error. */
int capfile_next(struct capfile *s, struct capfile_packet *out, char error[CAPFILE_ERROR]) SC_MUST_CHECK;

#endif
