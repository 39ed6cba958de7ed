/* SPDX-License-Identifier: Apache-2.0
 * What one capture file tells of its connection: packets and bytes by direction, round-trip times, retransmissions.
 * Pure: packets in, numbers out.
 *
 * A retransmission is a segment all of whose bytes (SYN and FIN count as one) were seen before; a segment that lies
 * below what was seen and fills a gap is out of order. A round trip is the time from a segment to the first packet of
 * the other side that echoes its TCP timestamp, or for the handshake, from SYN to SYN-ACK to ACK; it is measured from
 * where the capture stood, so that the whole path is the sum of both sides'. */
#ifndef CTL_FLOWSTAT_H
#define CTL_FLOWSTAT_H

#include <stdbool.h>
#include <stdint.h>

#include "shared/clock.h"
#include "shared/frame.h"

#define FLOWSTAT_GAPS 64       /* more holes at once in one direction are forgotten, the oldest first */
#define FLOWSTAT_TIMESTAMPS 64 /* segments of one direction whose echo is waited for */

struct flowstat_rtt {
    uint64_t samples;
    int64_t min_ns, max_ns, sum_ns;
};

enum flowstat_kind { FLOWSTAT_EMPTY, FLOWSTAT_NEW, FLOWSTAT_RETRANSMISSION, FLOWSTAT_OUT_OF_ORDER };

/* One direction. */
struct flowstat_side {
    uint64_t packets, wire_bytes, payload_bytes;
    uint64_t syn, fin, rst, retransmissions, out_of_order;
    struct flowstat_rtt rtt; /* of what this side sent, until the other side answered */
    /* private */
    bool begun;
    uint64_t base, top; /* sequence numbers, unrolled: the first, and past the last */
    unsigned gaps;
    struct {
        uint64_t from, to;
    } gap[FLOWSTAT_GAPS];
    uint32_t last_tsval;
    unsigned waiting;
    struct {
        uint32_t tsval;
        struct wall at;
    } sent[FLOWSTAT_TIMESTAMPS];
};

struct flowstat {
    struct flowkey key;
    bool client_low;               /* the client, who sent the SYN, else the first packet, is key.addr[0] */
    uint64_t packets, cut, others; /* cut: by the file's snaplen before the ports; others: of another connection */
    struct wall first, last;
    int64_t handshake_ns[2];      /* SYN to SYN-ACK, SYN-ACK to ACK; -1 = not seen */
    struct flowstat_side side[2]; /* 0 = from the client */
    /* private */
    struct wall syn_at, synack_at;
};

/* What a packet was, for those who draw. */
struct flowstat_packet {
    bool mine; /* of this connection, and all of what follows is set */
    unsigned side;
    enum flowstat_kind kind;
    int64_t seq; /* relative to the first of this side; negative: it was under way before */
    uint64_t len;
    bool has_ack;
    int64_t ack; /* relative to the first of the other side */
};

/* Zero-initialise but for handshake_ns = {-1, -1}. bytes: caplen of them, as flowstat's parser needs them. */
void flowstat_add(struct flowstat *s, const uint8_t *bytes, uint32_t caplen, uint32_t wire_len, int linktype,
                  struct wall ts, struct flowstat_packet *what);

#endif
