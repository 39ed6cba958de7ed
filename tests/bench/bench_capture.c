/* SPDX-License-Identifier: Apache-2.0
 * What the dispatcher adds to libpcap: the packets of a savefile to a callback that only counts, and the same packets
 * by the dispatcher's own way (capture.c, feed.c) into the rings of 4 shards, whose consumers this program plays. CPU
 * time of the thread, both within one run. Counts only if every packet became a record. Usage: bench_capture SAVEFILE.
 * Prints one line of JSON. */
#include <fcntl.h>
#include <pcap/pcap.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dispatcher/capture/capture.h"
#include "dispatcher/capture/feed.h"
#include "tests/bench/frames.h"

#define SHARDS 4u
#define RING_SIZE (16u << 20)
#define BURST 4096

static struct dispatcher_page page;
static struct shard_page shards[SHARDS];
static void *rings[SHARDS];

struct way {
    struct feed *feed;
    int linktype;
};

static _Noreturn void fail(const char *what)
{
    fprintf(stderr, "bench_capture: %s\n", what);
    exit(1);
}

static void count(u_char *user, const struct pcap_pkthdr *h, const u_char *bytes)
{
    (void)h;
    (void)bytes;
    ++*(uint64_t *)(void *)user;
}

/* Returns packets; adds the CPU time to *ns_r. */
static uint64_t bare(const char *path, int64_t *ns_r)
{
    char error[PCAP_ERRBUF_SIZE];
    uint64_t packets = 0;
    pcap_t *p = pcap_open_offline_with_tstamp_precision(path, PCAP_TSTAMP_PRECISION_NANO, error);
    if (!p)
        fail(error);
    int64_t start = bench_thread_cpu();
    while (pcap_dispatch(p, BURST, count, (u_char *)(void *)&packets) > 0)
        ;
    *ns_r += bench_thread_cpu() - start;
    pcap_close(p);
    return packets;
}

static ptrdiff_t read_file(void *ctx, void *buffer, size_t n)
{
    return read(*(int *)ctx, buffer, n);
}

static void on_packet(void *ctx, const struct captured *c)
{
    struct way *w = ctx;
    struct feed_packet p = {.bytes = c->bytes,
                            .caplen = c->caplen,
                            .wire_len = c->wire_len,
                            .if_index = 1,
                            .linktype = w->linktype,
                            .ts = c->ts};
    feed_packet(w->feed, &p);
}

/* The consumers have taken everything. */
static void consume(void)
{
    for (unsigned i = 0; i < SHARDS; i++) {
        const struct ring_shared *r = rings[i];
        uint64_t a = r->slot[0].prod, b = r->slot[1].prod;
        atomic_store_explicit(&shards[i].ring.cons, a > b ? a : b, memory_order_relaxed);
    }
}

static bool no_kill(void *ctx, unsigned shard)
{
    (void)ctx;
    (void)shard;
    fail("a ring is out of order");
}

static bool wait_for_room(void *ctx)
{
    (void)ctx;
    consume();
    return true;
}

static struct feed *open_feed(void)
{
    struct feed_settings s = {.snaplen = 65535,
                              .shards = SHARDS,
                              .secret = {1, 2},
                              .tick_ns = 1000000000,
                              .page = &page,
                              .kill = no_kill,
                              .wait = wait_for_room};
    struct feed *f = feed_new(&s);
    memset(&page, 0, sizeof page);
    memset(shards, 0, sizeof shards);
    for (unsigned i = 0; f && i < SHARDS; i++) {
        if (!rings[i])
            rings[i] = bench_memory(ring_map_bytes(RING_SIZE));
        if (ring_format(rings[i], RING_SIZE, 1, 0) != SC_OK ||
            feed_add_ring(f, i, rings[i], ring_map_bytes(RING_SIZE), &shards[i], -1) != SC_OK)
            fail("no ring");
    }
    if (!f)
        fail("no memory");
    return f;
}

static uint64_t ours(const char *path, int64_t *ns_r)
{
    char error[CAPTURE_ERROR];
    struct capture *c;
    struct way w = {.feed = open_feed()};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || capture_open_savefile(read_file, &fd, &c, error) != SC_OK)
        fail("the savefile cannot be read");
    w.linktype = capture_linktype(c);
    int64_t start = bench_thread_cpu();
    while (capture_dispatch(c, BURST, on_packet, &w, error) > 0) {
        feed_flush(w.feed, (struct instant){0});
        consume();
    }
    *ns_r += bench_thread_cpu() - start;
    capture_close(c);
    close(fd);
    feed_free(w.feed);
    uint64_t drops = 0;
    for (unsigned i = 0; i < CAUSE_COUNT; i++)
        drops += counter_get(&page.drops[i]);
    if (drops > 0)
        fail("packets were dropped");
    return counter_get(&page.delivered);
}

int main(int argc, char **argv)
{
    int64_t bare_ns = 0, our_ns = 0;
    uint64_t packets = 0;
    if (argc < 2) {
        fprintf(stderr, "usage: bench_capture SAVEFILE\n");
        return 2;
    }
    for (unsigned i = 0; i < 3; i++) { /* in turn, so that both meet the same machine */
        uint64_t n = bare(argv[1], &bare_ns);
        if (n == 0 || ours(argv[1], &our_ns) != n)
            fail("packets were lost");
        packets += n;
    }
    printf("{\"packets\": %llu, \"bare_ns_per_packet\": %.2f, \"ns_per_packet\": %.2f}\n", (unsigned long long)packets,
           (double)bare_ns / (double)packets, (double)our_ns / (double)packets);
    return 0;
}
