/* SPDX-License-Identifier: Apache-2.0
 * The one packet parser: a captured frame in, FlowKey and offsets out; and the copy of its header bytes.
 * Pure, allocates nothing, reads only through the bounded cursor. Failure policy: every frame that cannot be
 * keyed is given one cause of shared/cause.h. */
#ifndef SHARED_FRAME_H
#define SHARED_FRAME_H

#include <stdbool.h>
#include <stdint.h>

#include "shared/cause.h"
#include "shared/flowkey.h"

/* LINKTYPE_ values as in a savefile header (tcpdump.org/linktypes.html), not the DLT_ values of this system. */
enum linktype {
    LINKTYPE_NULL = 0,
    LINKTYPE_ETHERNET = 1,
    LINKTYPE_PPP = 9,
    LINKTYPE_RAW = 101,
    LINKTYPE_LOOP = 108,
    LINKTYPE_LINUX_SLL = 113,
    LINKTYPE_IPV4 = 228,
    LINKTYPE_IPV6 = 229,
    LINKTYPE_LINUX_SLL2 = 276,
};

/* True for the linktypes that frame_parse knows. Others are refused by name before the first packet. */
bool frame_linktype_known(int linktype);

#define FRAME_MAX_CAPLEN 65535 /* snaplen ceiling: hdr_len fits 16 bits */
#define FRAME_TCP_MAX 60

enum { TCP_FIN = 1, TCP_SYN = 2, TCP_RST = 4, TCP_ACK = 16 };

struct frame {
    struct flowkey key;
    bool from_low;      /* the sender is key.addr[0] */
    uint16_t l3_off;    /* first byte of the IP header that carries TCP */
    uint16_t l4_off;    /* first byte of the TCP header; l4_off + 60 is the header length of a flow it opens */
    uint16_t hdr_len;   /* l4_off + TCP header up to its data offset; all of it lies within caplen */
    uint16_t clean_len; /* header bytes from here to hdr_len are to be written as zeros: after a bad TCP option, or
                         * after end-of-options; l4_off + 20 <= clean_len <= hdr_len */
    uint8_t tcp_flags;
    uint32_t tcp_seq;
    uint32_t payload_len; /* TCP payload bytes on the wire by the IP length (0 if unknown, as with TSO) */
};

/* Parses one frame. `bytes` has caplen readable bytes (caplen already cut to snaplen, <= FRAME_MAX_CAPLEN, and
 * <= wire_len). Returns CAUSE_NONE and fills *out, or the cause of the drop (*out then undefined). Source of the
 * rules: the table of hostile inputs in tests/unit/shared/test_frame_hostile.c. */
enum cause frame_parse(const uint8_t *bytes, uint32_t caplen, uint32_t wire_len, int linktype, struct frame *out);

/* Writes exactly out->hdr_len bytes to dst: the header copy of an allow-list, with zeros from clean_len on and in
 * every byte that is neither link, IP, extension nor TCP header. No payload, no trailer. */
void frame_copy_header(const struct frame *f, const uint8_t *bytes, uint8_t *dst);

/* Rebuilds the key from a header copy that another process made (ring record): reads the IP version nibble and
 * addresses at l3_off, ports at l4_off. Returns false if the offsets do not lie in hdr_len in that order with room
 * for an IP and a TCP header. Fills key, from_low, flags, seq and the offsets. */
bool frame_from_copy(const uint8_t *hdr, uint32_t hdr_len, uint32_t l3_off, uint32_t l4_off, struct frame *out);

#endif
