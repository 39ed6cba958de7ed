/* SPDX-License-Identifier: Apache-2.0
 * Single-producer single-consumer ring of packet records between two processes that do not trust each other.
 * Memory: a 4 KiB header page (struct ring_shared, written by the producer only) and a power of two of data, in one
 * memfd that the consumer maps read-only; the consumer's index lives in the shard page (counters.h). Indices are
 * free-running 64 bit. Records are contiguous: a PAD record fills the end before a wrap.
 * Failure policy: the producer never computes an address from a foreign index; an index that is not within
 * prod - cons <= size, or went back, is SC_EFORMAT and the shard is to be killed. The consumer checks each field
 * before use; what does not check is one bad_record event, and it resynchronises at the published end. */
#ifndef SHARED_RING_H
#define SHARED_RING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shared/clock.h"
#include "shared/err.h"

#ifndef RING_LAYOUT /* a test builds programs that differ */
#define RING_LAYOUT 2
#endif
#define RING_PAGE 4096u
#define RING_MIN_SIZE 65536u
#define RING_ALIGN 16u

enum ring_kind {
    RING_PACKET = 1,
    RING_TICK,      /* the clock moved; no payload */
    RING_ADDRESSES, /* payload: struct ring_address[n]: the local addresses that are not masked */
    RING_END,       /* nothing follows; finish, publish, exit */
    RING_PAD,       /* skip to the start of the data area; only the library sees it */
};

/* Start of every record, aligned to RING_ALIGN; `len - sizeof` payload bytes follow: hdr_len, rounded up to RING_ALIGN
 * (checked, so that a flipped len cannot swallow the next record). */
struct ring_record {
    uint32_t len; /* whole record, multiple of RING_ALIGN */
    uint16_t kind;
    uint16_t linktype;
    uint32_t if_index;
    uint32_t caplen;   /* bytes captured, cut to snaplen; hdr_len <= caplen <= wire_len */
    uint32_t wire_len; /* original length */
    uint16_t l3_off;
    uint16_t l4_off;
    uint16_t hdr_len; /* payload bytes, as reserved */
    uint8_t tcp_flags;
    uint8_t from_low; /* sender is key.addr[0] */
    uint8_t zero[4];
    int64_t ts_ns;    /* struct wall of the packet */
    int64_t clock_ns; /* struct instant: see clock.h */
    uint64_t flow_hash;
    uint32_t tcp_seq;
    uint32_t payload_len; /* TCP payload bytes on the wire */
};
_Static_assert(sizeof(struct ring_record) == 64, "the contract between two processes");

struct ring_address {
    uint8_t len; /* 4 or 16 */
    uint8_t zero[3];
    uint8_t bytes[16];
};
_Static_assert(sizeof(struct ring_address) == 20, "the contract between two processes");

/* {prod, packets} as one: two slots written in turn, prod stored last (release); the slot with the larger prod is
 * current. So a new producer knows exactly how many packets are in. */
struct ring_slot {
    _Atomic uint64_t prod;    /* bytes published, free-running */
    _Atomic uint64_t packets; /* RING_PACKET records below prod, counted from 0 */
};

struct ring_shared {
    uint32_t magic;
    uint32_t layout;
    uint64_t size; /* data bytes */
    uint32_t generation;
    uint32_t zero;
    uint8_t pad0[128 - 24];
    struct ring_slot slot[2];          /* single writer: producer */
    _Atomic int64_t captured_until_ns; /* instant: every packet captured up to here is published */
    _Atomic int64_t clock_ns;          /* instant of the last publish */
    _Atomic uint64_t flows_global;     /* sum over the shards, for maxflows */
    uint8_t pad1[128 - 56];
};

/* The consumer's side, part of the shard page. Single writer: the shard. */
struct ring_peer {
    _Atomic uint64_t cons; /* bytes consumed, free-running */
    uint8_t pad0[128 - 8];
    _Atomic uint32_t sleeping; /* 1 = wants the doorbell */
    uint8_t pad1[128 - 4];
};

/* Bytes of memfd for a data size. */
size_t ring_map_bytes(uint64_t size);

/* Writes the header of a new, zeroed ring with both indices at `start` (0, or near 2^64 in tests; a multiple of
 * RING_ALIGN). size: power of two >= RING_MIN_SIZE, else SC_EINVAL. */
int ring_format(void *map, uint64_t size, uint32_t generation, uint64_t start) SC_MUST_CHECK;

/* ---- producer ---- */

struct ring_producer {
    struct ring_shared *shared;
    const struct ring_peer *peer;
    uint8_t *data;
    uint64_t size;
    uint64_t prod;      /* private: end of the last committed record */
    uint64_t published; /* private copy of what the consumer may see */
    uint64_t packets;   /* private: RING_PACKET records committed */
    uint64_t cons_seen; /* the foreign index as last accepted */
    uint64_t reserved;  /* bytes of the open reservation, PAD included */
    bool peer_bad;      /* the foreign index broke the rule; cleared by the next look that finds a good one */
};

/* Takes over a formatted ring where the last producer published. map stays the caller's. SC_EVERSION, SC_EFORMAT. */
int ring_producer_attach(struct ring_producer *p, void *map, size_t map_bytes,
                         const struct ring_peer *peer) SC_MUST_CHECK;

/* False for a payload that can never go in (more than half the ring with its head): drop it, do not wait for room. */
bool ring_can_hold(const struct ring_producer *p, uint32_t payload_len);

/* Room for a record with payload_len bytes. Returns the record to fill (len is set, the rest zero except payload),
 * payload at (uint8_t *)(rec + 1); NULL if it does not fit now (full, or peer_bad). Never blocks. */
struct ring_record *ring_reserve(struct ring_producer *p, uint32_t payload_len);

/* Accepts the reserved record. Not visible before ring_publish. */
void ring_commit(struct ring_producer *p);

/* Makes all committed records visible and stores captured_until and clock. Returns true if the consumer sleeps and
 * the doorbell should ring (seq_cst fence between the store of prod and the load of sleeping; pairs with
 * ring_consumer_will_sleep). */
bool ring_publish(struct ring_producer *p, struct instant captured_until, struct instant clock);

/* Bytes in the ring as the producer knows it after one fresh look at the foreign index. */
uint64_t ring_fill(struct ring_producer *p);

/* ---- consumer ---- */

struct ring_consumer {
    const struct ring_shared *shared;
    struct ring_peer *peer;
    const uint8_t *data;
    uint64_t size;
    uint64_t pos;       /* private: next record */
    uint64_t prod_seen; /* what was published at the last look */
    uint64_t packets;   /* private: RING_PACKET records passed, incl. those lost to a resync */
};

/* Starts at position pos having passed `packets` packets (0, start on a new ring; the arena's `applied` on adoption).
 * SC_EVERSION, SC_EFORMAT (also: pos outside [prod - size, prod]). */
int ring_consumer_attach(struct ring_consumer *c, const void *map, size_t map_bytes, struct ring_peer *peer,
                         uint64_t pos, uint64_t packets) SC_MUST_CHECK;

/* Starts at the published end, for a consumer whose position is lost or was refused: *lost says how many packets are
 * skipped, counted from `packets` already passed. SC_EVERSION, SC_EFORMAT. */
int ring_consumer_attach_end(struct ring_consumer *c, const void *map, size_t map_bytes, struct ring_peer *peer,
                             uint64_t packets, uint64_t *lost) SC_MUST_CHECK;

/* The next record. SC_OK: *rec (a private, checked copy of the head) and *payload (in the ring, valid until
 * ring_release covers it) are set, and pos/packets have moved past it. SC_EAGAIN: nothing. SC_EFORMAT: the record did
 * not check; pos is now at the published end and *lost says how many packets were skipped. */
int ring_next(struct ring_consumer *c, struct ring_record *rec, const uint8_t **payload, uint64_t *lost) SC_MUST_CHECK;

/* Gives the space below pos back to the producer. */
void ring_release(struct ring_consumer *c);

/* Bytes published and not consumed. */
uint64_t ring_backlog(struct ring_consumer *c);

/* Call before sleeping on the doorbell: stores sleeping = 1, fences (seq_cst), looks again. Returns false (and clears
 * the flag) if there is work after all. */
bool ring_consumer_will_sleep(struct ring_consumer *c);
void ring_consumer_woke(struct ring_consumer *c);

/* ---- doorbell: a non-blocking socketpair ---- */

/* One byte with MSG_DONTWAIT | MSG_NOSIGNAL; a full or dead peer is ignored (it is awake or gone). */
void doorbell_ring(int fd);
/* Reads away what is there. Returns SC_OK, or SC_EOF if the other end is closed. */
int doorbell_drain(int fd);

#endif
