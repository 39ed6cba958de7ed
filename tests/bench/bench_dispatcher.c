/* SPDX-License-Identifier: Apache-2.0
 * The dispatcher's work on a packet, from memory: parse, FlowKey, hash, choice of the shard, header copy into that
 * shard's ring, publish per batch. The consumer's index is moved on by this program, so that no ring is ever full.
 * Counts only if every frame became a record.
 * Usage: bench_dispatcher [packets] [flows] [shards] [batch]. Prints one line of JSON. */
#include <stdio.h>
#include <string.h>

#include "shared/frame.h"
#include "shared/ring.h"
#include "tests/bench/frames.h"

#define POOL 65536u
#define SHARDS 4u
#define RING_SIZE (16u << 20)

static struct ring_producer rings[SHARDS];
static struct ring_peer peers[SHARDS];

static int put(const struct siphash_key *secret, unsigned shards, const struct bench_frame *in, int64_t now)
{
    struct frame f;
    if (frame_parse(in->bytes, in->caplen, in->wire_len, LINKTYPE_ETHERNET, &f) != CAUSE_NONE)
        return 0;
    uint64_t hash = flowkey_hash(&f.key, secret);
    struct ring_producer *ring = &rings[flowkey_shard(hash, shards)];
    struct ring_record *r = ring_reserve(ring, f.hdr_len);
    if (!r)
        return 0;
    r->kind = RING_PACKET;
    r->linktype = LINKTYPE_ETHERNET;
    r->caplen = in->caplen;
    r->wire_len = in->wire_len;
    r->l3_off = f.l3_off;
    r->l4_off = f.l4_off;
    r->hdr_len = f.hdr_len;
    r->tcp_flags = f.tcp_flags;
    r->from_low = f.from_low;
    r->ts_ns = r->clock_ns = now;
    r->flow_hash = hash;
    r->tcp_seq = f.tcp_seq;
    r->payload_len = f.payload_len;
    frame_copy_header(&f, in->bytes, (uint8_t *)(r + 1));
    ring_commit(ring);
    return 1;
}

int main(int argc, char **argv)
{
    uint64_t packets = bench_arg(argc, argv, 1, 5000000), done = 0;
    uint32_t flows = (uint32_t)bench_arg(argc, argv, 2, 1000);
    unsigned shards = (unsigned)bench_arg(argc, argv, 3, 2), batch = (unsigned)bench_arg(argc, argv, 4, 64);
    const struct siphash_key secret = {0x0706050403020100, 0x0f0e0d0c0b0a0908};
    struct bench_frame *pool = bench_memory(POOL * sizeof *pool);
    for (uint32_t i = 0; i < POOL; i++)
        frame_make(&pool[i], i % flows, i / flows, i * INT64_C(1000), FRAME_MSS);
    for (unsigned i = 0; i < shards && i < SHARDS; i++) {
        size_t bytes = ring_map_bytes(RING_SIZE);
        void *map = bench_memory(bytes);
        if (ring_format(map, RING_SIZE, 1, 0) != SC_OK ||
            ring_producer_attach(&rings[i], map, bytes, &peers[i]) != SC_OK)
            return 1;
    }
    if (shards == 0 || shards > SHARDS || flows == 0 || batch == 0)
        return 2;
    int64_t start = bench_thread_cpu();
    for (uint64_t n = 0; n < packets;) {
        for (unsigned i = 0; i < batch && n < packets; i++, n++)
            done += (uint64_t)put(&secret, shards, &pool[n % POOL], (int64_t)n);
        for (unsigned i = 0; i < shards; i++) {
            (void)ring_publish(&rings[i], (struct instant){(int64_t)n}, (struct instant){(int64_t)n});
            atomic_store_explicit(&peers[i].cons, rings[i].published, memory_order_relaxed); /* no other thread */
        }
    }
    double ns = (double)(bench_thread_cpu() - start);
    if (done != packets) {
        fprintf(stderr, "bench_dispatcher: %llu of %llu packets got in\n", (unsigned long long)done,
                (unsigned long long)packets);
        return 1;
    }
    printf("{\"packets\": %llu, \"ns_per_packet\": %.3f}\n", (unsigned long long)packets, ns / (double)packets);
    return 0;
}
