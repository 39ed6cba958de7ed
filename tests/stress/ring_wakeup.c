/* SPDX-License-Identifier: Apache-2.0
 * The sleep and wake handshake: in every round the consumer goes to sleep without a time limit while the producer
 * publishes one record. A lost wake-up is a round that never ends; an alarm turns that into exit 1.
 * Usage: ring_wakeup [rounds] [alarm seconds]. The default is for every test run; ten million rounds for the proof. */
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "shared/ring.h"

struct run {
    void *map;
    size_t bytes;
    struct ring_peer *peer;
    uint64_t rounds;
    int bell[2]; /* producer's end, consumer's end */
    uint64_t rung, slept;
};

static _Noreturn void fail(const char *what)
{
    fprintf(stderr, "ring_wakeup: %s\n", what);
    exit(1);
}

static void on_alarm(int signo)
{
    static const char text[] = "ring_wakeup: a wake-up was lost: both sides wait\n";
    (void)signo;
    (void)!write(STDERR_FILENO, text, sizeof text - 1);
    _exit(1);
}

/* Waits for the consumer to have taken a record before it makes the next, so that it is always about to sleep. */
static void *produce(void *arg)
{
    struct run *run = arg;
    struct ring_producer p;
    uint64_t spin = 0;
    if (ring_producer_attach(&p, run->map, run->bytes, run->peer) != SC_OK)
        fail("no producer");
    for (uint64_t n = 0; n < run->rounds; n++) {
        struct ring_record *r = ring_reserve(&p, 0);
        if (!r)
            fail("no room in an empty ring");
        r->kind = RING_TICK;
        r->ts_ns = (int64_t)n;
        ring_commit(&p);
        if (ring_publish(&p, (struct instant){0}, (struct instant){0})) {
            doorbell_ring(run->bell[0]);
            run->rung++;
        }
        while (ring_fill(&p) > 0)
            if (++spin % 64 == 0)
                sched_yield();
        /* A varying pause shifts the store against the consumer's two. */
        for (volatile unsigned i = (unsigned)(n * 7 % 97); i > 0; i--)
            ;
    }
    return NULL;
}

static void wait_for_bell(struct run *run)
{
    struct pollfd p = {.fd = run->bell[1], .events = POLLIN};
    run->slept++;
    while (poll(&p, 1, -1) <= 0)
        ;
    if (doorbell_drain(run->bell[1]) != SC_OK)
        fail("the doorbell is gone");
}

static void *consume(void *arg)
{
    struct run *run = arg;
    struct ring_consumer c;
    struct ring_record r;
    const uint8_t *payload;
    uint64_t lost;
    if (ring_consumer_attach(&c, run->map, run->bytes, run->peer, 0, 0) != SC_OK)
        fail("no consumer");
    for (uint64_t n = 0; n < run->rounds;) {
        int rc = ring_next(&c, &r, &payload, &lost);
        if (rc == SC_EFORMAT || (rc == SC_OK && r.ts_ns != (int64_t)n))
            fail("a wrong record");
        if (rc == SC_OK) {
            n++;
            ring_release(&c);
        } else if (ring_consumer_will_sleep(&c)) {
            wait_for_bell(run);
            ring_consumer_woke(&c);
        }
    }
    return NULL;
}

int main(int argc, char **argv)
{
    struct run run = {.rounds = argc > 1 ? strtoull(argv[1], NULL, 0) : 50000};
    unsigned limit = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 0) : 60;
    struct ring_peer *peer = aligned_alloc(128, sizeof *peer);
    pthread_t threads[2];
    run.bytes = ring_map_bytes(RING_MIN_SIZE);
    run.map = aligned_alloc(RING_PAGE, run.bytes);
    if (!run.map || !peer || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, run.bell) != 0)
        fail("out of memory or fds");
    memset(run.map, 0, run.bytes);
    memset(peer, 0, sizeof *peer);
    run.peer = peer;
    if (ring_format(run.map, RING_MIN_SIZE, 1, 0) != SC_OK)
        fail("no ring");
    signal(SIGALRM, on_alarm);
    alarm(limit);
    if (pthread_create(&threads[0], NULL, produce, &run) != 0 || pthread_create(&threads[1], NULL, consume, &run) != 0)
        fail("no thread");
    pthread_join(threads[0], NULL);
    pthread_join(threads[1], NULL);
    printf("ring_wakeup: %" PRIu64 " rounds, slept %" PRIu64 ", rung %" PRIu64 ": ok\n", run.rounds, run.slept,
           run.rung);
    free(peer);
    free(run.map);
    return 0;
}
