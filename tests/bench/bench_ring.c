/* SPDX-License-Identifier: Apache-2.0
 * The ring alone: a producer and a consumer thread, records of 64 to 128 bytes of payload and head together as the
 * dispatcher makes them, published in batches. Counts only if every record arrived.
 * Usage: bench_ring [packets] [batch] [ring bytes]. Prints one line of JSON. */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "shared/ring.h"
#include "tests/bench/frames.h"

struct run {
    void *map;
    size_t bytes;
    struct ring_peer *peer;
    uint64_t packets, batch, sum;
};

static void *produce(void *arg)
{
    struct run *run = arg;
    struct ring_producer p;
    if (ring_producer_attach(&p, run->map, run->bytes, run->peer) != SC_OK)
        return NULL;
    for (uint64_t n = 0; n < run->packets;) {
        for (uint64_t i = 0; i < run->batch && n < run->packets; n++, i++) {
            uint16_t len = (uint16_t)(54 + (n & 1) * 10); /* 128 bytes with the head; nothing smaller carries TCP */
            struct ring_record *r = ring_reserve(&p, len);
            if (!r)
                break;
            r->kind = RING_PACKET;
            r->hdr_len = len;
            r->caplen = r->wire_len = len;
            r->l3_off = 14;
            r->l4_off = 34;
            r->flow_hash = n;
            memset(r + 1, (int)n, len);
            ring_commit(&p);
        }
        (void)ring_publish(&p, (struct instant){0}, (struct instant){0});
        if (ring_fill(&p) > p.size - p.size / 8)
            sched_yield();
    }
    return run;
}

static void *consume(void *arg)
{
    struct run *run = arg;
    struct ring_consumer c;
    struct ring_record r;
    const uint8_t *payload;
    uint64_t lost, sum = 0;
    if (ring_consumer_attach(&c, run->map, run->bytes, run->peer, 0, 0) != SC_OK)
        return NULL;
    for (uint64_t n = 0; n < run->packets;) {
        int rc = SC_OK;
        for (int i = 0; i < 32; i++) {
            rc = ring_next(&c, &r, &payload, &lost);
            if (rc != SC_OK)
                break;
            sum += r.flow_hash + payload[0] - (n & 0xff);
            n++;
        }
        ring_release(&c);
        if (rc == SC_EFORMAT)
            return NULL;
        if (rc == SC_EAGAIN)
            sched_yield();
    }
    run->sum = sum;
    return run;
}

int main(int argc, char **argv)
{
    struct run run = {.packets = bench_arg(argc, argv, 1, 5000000), .batch = bench_arg(argc, argv, 2, 64)};
    uint64_t size = bench_arg(argc, argv, 3, 16u << 20);
    pthread_t threads[2];
    void *results[2];
    run.bytes = ring_map_bytes(size);
    run.map = bench_memory(run.bytes);
    run.peer = bench_memory(4096);
    if (ring_format(run.map, size, 1, 0) != SC_OK)
        return 2;
    int64_t start = bench_now(), cpu = bench_cpu();
    if (pthread_create(&threads[0], NULL, produce, &run) != 0 || pthread_create(&threads[1], NULL, consume, &run) != 0)
        return 1;
    pthread_join(threads[0], &results[0]);
    pthread_join(threads[1], &results[1]);
    double ns = (double)(bench_now() - start), cpu_ns = (double)(bench_cpu() - cpu), n = (double)run.packets;
    if (!results[0] || !results[1] || run.sum != run.packets * (run.packets - 1) / 2) {
        fprintf(stderr, "bench_ring: records were lost or damaged\n");
        return 1;
    }
    printf("{\"packets\": %llu, \"ns_per_packet\": %.3f, \"cpu_ns_per_packet\": %.3f}\n",
           (unsigned long long)run.packets, ns / n, cpu_ns / n);
    return 0;
}
