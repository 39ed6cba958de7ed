/* SPDX-License-Identifier: Apache-2.0
 * Where packets come from: a network interface or a savefile. The only user of libpcap in the house. */
#ifndef CAPTURE_CAPTURE_H
#define CAPTURE_CAPTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "shared/clock.h"
#include "shared/err.h"

struct capture;

struct captured {
    const uint8_t *bytes;
    uint32_t caplen, wire_len;
    struct wall ts;
};
typedef void capture_cb(void *ctx, const struct captured *p);

#define CAPTURE_ERROR 512 /* bytes of an error text: one line, already safe to print */

/* The kernel hands packets over when a block of its ring is full, or so long after the block's first packet: few wakes
 * at any load. What it costs is time until a flow can be asked for, and what dies with a dispatcher. */
#define CAPTURE_TIMEOUT_MS 50
#define CAPTURE_DELAY_NS (2 * CAPTURE_TIMEOUT_MS * NS_PER_MS) /* a packet reaches us at most so long after its time */

/* Opens an interface: not promiscuous, ring of buffer_bytes, nanoseconds, non-blocking. Until capture_filter succeeds
 * nothing must be read: snaplen works only through the filter. SC_OK, or with a text in error:
 *   SC_EPERM (CAP_NET_RAW is missing), SC_ENOENT (no such interface), SC_EAGAIN (it is down; comes by itself),
 *   SC_EVERSION (frame.h does not know its linktype; named in the text), SC_ESYS (anything else). */
int capture_open_interface(const char *name, uint32_t snaplen, uint64_t buffer_bytes, struct capture **out,
                           char error[CAPTURE_ERROR]) SC_MUST_CHECK;

/* Shares the interface's packets with the other captures of a group, each flow with the same one (PACKET_FANOUT_HASH,
 * which is symmetric). *group < 0: makes a group and returns its number; else joins it. Packets that came before belong
 * to nobody: whoever reads them leaves them out. SC_OK, or SC_ESYS with a text. */
int capture_fanout(struct capture *c, int *group, char error[CAPTURE_ERROR]) SC_MUST_CHECK;

/* How a savefile is read: like read(2); 0 = end. */
typedef ssize_t capture_read_fn(void *ctx, void *buf, size_t n);

/* Opens a savefile (pcap or pcapng) through a reader that must live until capture_close. SC_OK; SC_EVERSION (unknown
 * linktype), SC_EFORMAT (not a savefile, or broken), SC_ENOMEM, with a text. */
int capture_open_savefile(capture_read_fn *reader, void *ctx, struct capture **out,
                          char error[CAPTURE_ERROR]) SC_MUST_CHECK;
void capture_close(struct capture *c); /* NULL is fine */

int capture_linktype(const struct capture *c); /* LINKTYPE_ value */
int capture_fd(const struct capture *c);       /* to wait on; -1 with a savefile */

/* Compiles text and, if the capture is an interface, hands it to the kernel; for a savefile it is kept for
 * capture_matches. It holds from one packet to the next: none is lost by the change. SC_OK, SC_EFORMAT (does not
 * compile), SC_ETOOLONG (the kernel does not take it, alone or beside the one it has: too many instructions, or
 * net.core.optmem_max), SC_ESYS, with a text. The old filter stays on failure. */
int capture_filter(struct capture *c, const char *text, char error[CAPTURE_ERROR]) SC_MUST_CHECK;

/* Whether text compiles for this capture. SC_OK or SC_EFORMAT. */
int capture_filter_check(struct capture *c, const char *text, char error[CAPTURE_ERROR]) SC_MUST_CHECK;

/* Does the text compile, for Ethernet, without any interface? SC_OK, SC_ENOMEM, or SC_EFORMAT with a text in error. */
int capture_filter_text(const char *text, char error[CAPTURE_ERROR]) SC_MUST_CHECK;

/* True if the filter lets the packet through; without one, always. */
bool capture_matches(const struct capture *c, const struct captured *p);

/* Calls cb for at most max packets that are there. Returns how many there were (0: none now, or the end of a savefile),
 * SC_EFORMAT (a savefile is cut or corrupt; whole packets before that were delivered) or SC_ESYS (the interface has
 * failed: close it), with a text. */
int capture_dispatch(struct capture *c, int max, capture_cb *cb, void *ctx, char error[CAPTURE_ERROR]) SC_MUST_CHECK;

/* Kernel counts since opening, 64 bit. Call at least once an hour (they are widened from 32 bit); the last good values
 * if the interface is gone. */
struct capture_stats {
    uint64_t received, dropped, if_dropped;
};
struct capture_stats capture_stats(struct capture *c);

/* LINKTYPE_ value of a DLT_ value of this system. */
int capture_linktype_of(int dlt);

#endif
