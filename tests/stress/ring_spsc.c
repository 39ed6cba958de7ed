/* SPDX-License-Identifier: Apache-2.0
 * Ring under load: one producer and one consumer thread, records of random size and batches of random length, contents
 * and order checked by a checksum and a number in every record. Build with SANITIZE=thread for the memory order.
 * Usage: ring_spsc [records] [ring bytes] [start index]. Exit 0 if every record came once, whole and in order. */
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shared/ring.h"

struct run {
    void *map;
    size_t bytes;
    struct ring_peer *peer;
    uint64_t records, start;
};

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static _Noreturn void fail(const char *what, uint64_t n)
{
    fprintf(stderr, "ring_spsc: %s at record %" PRIu64 "\n", what, n);
    exit(1);
}

/* Both sides know from the number alone what record n looks like. */
static uint16_t payload_len(uint64_t n)
{
    uint64_t x = n * UINT64_C(0x9e3779b97f4a7c15) >> 32;
    return (uint16_t)(54 + x % (n % 1000 == 0 ? 9000 : 80));
}

static void *produce(void *arg)
{
    const struct run *run = arg;
    struct ring_producer p;
    uint64_t random = 88172645463325252u;
    if (ring_producer_attach(&p, run->map, run->bytes, run->peer) != SC_OK)
        fail("no producer", 0);
    for (uint64_t n = 0; n < run->records;) {
        uint64_t batch = 1 + next_random(&random) % 64;
        for (uint64_t i = 0; i < batch && n < run->records; i++) {
            uint16_t len = payload_len(n);
            struct ring_record *r = ring_reserve(&p, len);
            if (!r) {
                if (p.peer_bad)
                    fail("an honest index was refused", n);
                break;
            }
            r->kind = RING_PACKET;
            r->hdr_len = len;
            r->caplen = r->wire_len = len;
            r->l3_off = 14;
            r->l4_off = 34;
            r->flow_hash = n;
            memset(r + 1, (int)(n % 251), len);
            ring_commit(&p);
            n++;
        }
        (void)ring_publish(&p, (struct instant){(int64_t)n}, (struct instant){(int64_t)n});
        if (ring_fill(&p) > p.size / 2)
            sched_yield();
    }
    return NULL;
}

static void check(const struct ring_record *r, const uint8_t *payload, uint64_t n)
{
    uint16_t len = payload_len(n);
    if (r->flow_hash != n || r->hdr_len != len)
        fail("wrong record", n);
    for (unsigned i = 0; i < len; i++)
        if (payload[i] != n % 251)
            fail("wrong contents", n);
}

static void *consume(void *arg)
{
    const struct run *run = arg;
    struct ring_consumer c;
    struct ring_record r;
    const uint8_t *payload;
    uint64_t lost, random = 362436069, n = 0;
    if (ring_consumer_attach(&c, run->map, run->bytes, run->peer, run->start, 0) != SC_OK)
        fail("no consumer", 0);
    while (n < run->records) {
        uint64_t batch = 1 + next_random(&random) % 200;
        /* acquire: pairs with the store in ring_publish; all up to this time must be there */
        int64_t until = atomic_load_explicit(&c.shared->captured_until_ns, memory_order_acquire);
        (void)ring_backlog(&c);
        int rc = SC_OK;
        for (uint64_t i = 0; i < batch && n < run->records && rc == SC_OK; i++) {
            rc = ring_next(&c, &r, &payload, &lost);
            if (rc == SC_OK)
                check(&r, payload, n++);
        }
        if (rc == SC_EFORMAT)
            fail("a good record was refused", n);
        if (rc == SC_EAGAIN && (int64_t)n < until)
            fail("captured_until ran ahead of the records", n);
        ring_release(&c);
        if (rc == SC_EAGAIN)
            sched_yield();
    }
    if (c.packets != n)
        fail("wrong count", n);
    return NULL;
}

int main(int argc, char **argv)
{
    struct run run = {.records = argc > 1 ? strtoull(argv[1], NULL, 0) : 300000};
    uint64_t size = argc > 2 ? strtoull(argv[2], NULL, 0) : RING_MIN_SIZE;
    run.start = argc > 3 ? strtoull(argv[3], NULL, 0) : UINT64_MAX - 1048575;
    struct ring_peer *peer = aligned_alloc(128, sizeof *peer);
    pthread_t threads[2];
    run.bytes = ring_map_bytes(size);
    run.map = aligned_alloc(RING_PAGE, run.bytes);
    if (!run.map || !peer)
        fail("out of memory", 0);
    memset(run.map, 0, run.bytes);
    memset(peer, 0, sizeof *peer);
    if (ring_format(run.map, size, 1, run.start) != SC_OK)
        fail("not a ring size or start index", 0);
    atomic_init(&peer->cons, run.start);
    run.peer = peer;
    if (pthread_create(&threads[0], NULL, produce, &run) != 0 || pthread_create(&threads[1], NULL, consume, &run) != 0)
        fail("no thread", 0);
    pthread_join(threads[0], NULL);
    pthread_join(threads[1], NULL);
    printf("ring_spsc: %" PRIu64 " records, ring of %" PRIu64 " bytes from index %#" PRIx64 ": ok\n", run.records, size,
           run.start);
    free(peer);
    free(run.map);
    return 0;
}
