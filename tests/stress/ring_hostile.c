/* SPDX-License-Identifier: Apache-2.0
 * A producer beside a consumer that scribbles over everything it can write: index, sleeping flag, doorbell. The
 * producer must go on, never step over what it has not been given back, and never block. Usage: ring_hostile [records].
 * Exit 0 if the rules held to the end. */
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "shared/ring.h"

struct run {
    void *map;
    size_t bytes;
    struct ring_peer *peer;
    uint64_t tries;
    int bell[2];
    _Atomic uint64_t published; /* lets the liar lie well */
    _Atomic bool over;
};

static _Noreturn void fail(const char *what)
{
    fprintf(stderr, "ring_hostile: %s\n", what);
    exit(1);
}

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* Never reads the doorbell, writes into its own end, and puts indices that are wild, near, odd, or true. */
static void *scribble(void *arg)
{
    struct run *run = arg;
    uint64_t random = 362436069;
    while (!atomic_load_explicit(&run->over, memory_order_relaxed)) {
        uint64_t x = next_random(&random), true_end = atomic_load_explicit(&run->published, memory_order_relaxed);
        uint64_t lie = x % 5 == 0   ? x
                       : x % 5 == 1 ? true_end + x % 4096
                       : x % 5 == 2 ? true_end - x % (RING_MIN_SIZE * 2)
                                    : true_end;
        atomic_store_explicit(&run->peer->cons, lie, memory_order_relaxed);
        atomic_store_explicit(&run->peer->sleeping, (uint32_t)(x >> 40), memory_order_relaxed);
        (void)send(run->bell[1], &x, sizeof x, MSG_DONTWAIT | MSG_NOSIGNAL);
    }
    return NULL;
}

static void produce(struct run *run)
{
    struct ring_producer p;
    uint64_t seen, in = 0, bad = 0, random = 521288629;
    if (ring_producer_attach(&p, run->map, run->bytes, run->peer) != SC_OK)
        fail("no producer");
    seen = p.cons_seen;
    for (uint64_t n = 0; n < run->tries; n++) {
        uint16_t len = (uint16_t)(54 + next_random(&random) % 200);
        struct ring_record *r = ring_reserve(&p, len);
        if (p.cons_seen - seen > p.size || p.published - p.cons_seen > p.size)
            fail("an index was accepted that went back or beyond the published end");
        seen = p.cons_seen;
        if (r) {
            if (p.prod + p.reserved - p.cons_seen > p.size)
                fail("a record was laid over bytes that were not given back");
            r->kind = RING_PACKET;
            memset(r + 1, 1, len);
            ring_commit(&p);
            in++;
        }
        bad += p.peer_bad;
        if (n % 16 == 0 && ring_publish(&p, (struct instant){0}, (struct instant){0}))
            doorbell_ring(run->bell[0]);
        atomic_store_explicit(&run->published, p.published, memory_order_relaxed);
    }
    if (bad == 0 || in == 0)
        fail("the liar was never caught, or the producer never got through");
    printf("ring_hostile: %" PRIu64 " of %" PRIu64 " records in, %" PRIu64 " times caught lying: ok\n", in, run->tries,
           bad);
}

int main(int argc, char **argv)
{
    struct run run = {.tries = argc > 1 ? strtoull(argv[1], NULL, 0) : 8000000};
    pthread_t thread;
    run.bytes = ring_map_bytes(RING_MIN_SIZE);
    run.map = aligned_alloc(RING_PAGE, run.bytes);
    run.peer = aligned_alloc(128, sizeof *run.peer);
    if (!run.map || !run.peer || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, run.bell) != 0)
        fail("out of memory or fds");
    memset(run.map, 0, run.bytes);
    memset(run.peer, 0, sizeof *run.peer);
    if (ring_format(run.map, RING_MIN_SIZE, 1, 0) != SC_OK || pthread_create(&thread, NULL, scribble, &run) != 0)
        fail("no ring or thread");
    produce(&run);
    atomic_store_explicit(&run.over, true, memory_order_relaxed);
    pthread_join(thread, NULL);
    free(run.peer);
    free(run.map);
    return 0;
}
