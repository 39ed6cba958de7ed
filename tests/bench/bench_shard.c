/* SPDX-License-Identifier: Apache-2.0
 * One shard alone, in this process: a ring is filled (not timed), then the shard's own turns take it empty (timed), and
 * so on. All of it twice: memory that the system has not given yet costs more than anything that a shard does, and one
 * that runs for a while uses that of ended flows anew. So the first round ends with its flows' expiry, and its time is
 * told apart; at the end of the second the shard finishes and publishes (timed apart). Files go below DIR. Counts only
 * if every packet is in a published file or, with source `none`, counted as no_uuid.
 * Usage: bench_shard DIR [packets] [flows] [none|zlib|fast|small|auto] [hash|none]. Prints one line of JSON. */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shard/arena.h"
#include "shard/shard.h"
#include "shared/frame.h"
#include "shared/ring.h"
#include "shared/shm.h"
#include "tests/bench/frames.h"

#define RING_SIZE (16u << 20)
#define BUDGET (UINT64_C(6) << 30)
#define HOUR_NS (3600 * NS_PER_SEC)
#define TURNS_MAX (1u << 20)
#define START_NS (INT64_C(1732000000) * 1000000000)

struct bench {
    struct config *config;
    struct shard_page *page;
    struct ring_producer producer;
    struct shard *shard;
    uint64_t packets, flows, next;
    int64_t later_ns;                     /* added to the packets' times */
    int64_t fresh_ns, work_ns, finish_ns; /* the first two are CPU time of this thread: without the file thread's */
    int64_t *turns;                       /* how long each took */
    size_t turn_count;
};

static _Noreturn void fail(const char *what)
{
    fprintf(stderr, "bench_shard: %s\n", what);
    exit(1);
}

static enum gzip_mode gzip_of(const char *word)
{
    static const char *const words[] = {"auto", "small", "fast", "zlib", "none"};
    for (unsigned i = 0; i < 5; i++)
        if (strcmp(word, words[i]) == 0)
            return (enum gzip_mode)i;
    fail("the compression is one of auto small fast zlib none");
}

static int make_directory(const char *below, const char *name)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", below, name);
    int fd = mkdir(path, 0777) == 0 ? open(path, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
    if (fd < 0)
        fail("DIR must be an empty directory");
    return fd;
}

static void *new_memory(size_t bytes, size_t *bytes_r)
{
    int fd = shm_create("bench", bytes);
    void *map = fd < 0 ? NULL : shm_map(fd, true, bytes_r);
    if (!map)
        fail("no memory");
    close(fd);
    return map;
}

static void set_up(struct bench *b, const char *directory, const char *gzip, const char *source)
{
    size_t arena_bytes, ring_bytes, page_bytes, config_bytes;
    char error[SHARD_ERROR];
    b->config = new_memory(sizeof *b->config, &config_bytes);
    b->page = new_memory(sizeof *b->page, &page_bytes);
    b->config->captureduration_ns = b->config->uuidwaitduration_ns = b->config->flowtimeout_ns = HOUR_NS;
    b->config->maxheadersize = 256;
    b->config->savefile_count = 1;
    b->config->shards = 1;
    b->config->uuid_sources = strcmp(source, "hash") == 0 ? UUID_SOURCE_HASH : 0;
    b->config->ringsize = RING_SIZE;
    b->config->gzip = gzip_of(gzip);
    b->config->maxheap = BUDGET;
    b->config->hash_key = (struct siphash_key){1, 2};
    memcpy(b->config->uuid_prefix.text, "hash", 5);
    void *ring = new_memory(ring_map_bytes(RING_SIZE), &ring_bytes);
    void *arena = new_memory(arena_map_bytes(BUDGET), &arena_bytes);
    if (ring_format(ring, RING_SIZE, 1, 0) != SC_OK ||
        ring_producer_attach(&b->producer, ring, ring_bytes, &b->page->ring) != SC_OK)
        fail("no ring");
    struct shard_deps deps = {
        .config = b->config,
        .clock = clock_system(),
        .sys = sysops_system(),
        .generation = 1,
        .arena_map = arena,
        .arena_bytes = arena_bytes,
        .budget = BUDGET,
        .ring_map = ring,
        .ring_bytes = ring_bytes,
        .page = b->page,
        .datadir = make_directory(directory, "data"),
        .staging = make_directory(directory, "staging"),
        .events_file = -1,
        .reports = -1,
        .threaded = true,
    };
    b->shard = shard_new(&deps, error);
    if (!b->shard)
        fail(error);
}

static int64_t now_ns(const struct bench *b)
{
    return START_NS + b->later_ns + (int64_t)b->next * 1000;
}

/* The next packet of the traffic as the dispatcher would hand it over. False: no room. */
static bool put(struct bench *b)
{
    struct bench_frame in = {0};
    struct frame f;
    int64_t ns = now_ns(b);
    frame_make(&in, (uint32_t)(b->next % b->flows), 3 + (uint32_t)(b->next / b->flows), ns, FRAME_MSS);
    if (frame_parse(in.bytes, in.caplen, in.wire_len, LINKTYPE_ETHERNET, &f) != CAUSE_NONE)
        fail("a frame of ours is refused");
    struct ring_record *r = ring_reserve(&b->producer, f.hdr_len);
    if (!r)
        return false;
    r->kind = RING_PACKET;
    r->linktype = LINKTYPE_ETHERNET;
    r->caplen = in.caplen;
    r->wire_len = in.wire_len;
    r->l3_off = f.l3_off;
    r->l4_off = f.l4_off;
    r->hdr_len = f.hdr_len;
    r->tcp_flags = f.tcp_flags;
    r->from_low = f.from_low;
    r->ts_ns = r->clock_ns = ns;
    r->flow_hash = flowkey_hash(&f.key, &b->config->hash_key);
    r->tcp_seq = f.tcp_seq;
    r->payload_len = f.payload_len;
    frame_copy_header(&f, in.bytes, (uint8_t *)(r + 1));
    ring_commit(&b->producer);
    b->next++;
    return true;
}

static void publish(struct bench *b)
{
    int64_t ns = now_ns(b);
    (void)ring_publish(&b->producer, (struct instant){ns}, (struct instant){ns});
}

/* How often another process took the core away. */
static long taken_away(void)
{
    struct rusage u;
    return getrusage(RUSAGE_THREAD, &u) == 0 ? u.ru_nivcsw : 0;
}

/* Turns until the ring is empty. A turn's time is that of a hot loop's pause: on the clock, but by CPU time where the
 * machine gave the core to somebody else meanwhile. */
static void work(struct bench *b)
{
    int64_t start = bench_thread_cpu();
    while (ring_fill(&b->producer) > 0) {
        int64_t clock = bench_now(), cpu = bench_thread_cpu();
        long before = taken_away();
        (void)shard_step(b->shard);
        bool alone = taken_away() == before;
        if (b->turn_count < TURNS_MAX)
            b->turns[b->turn_count++] = alone ? bench_now() - clock : bench_thread_cpu() - cpu;
    }
    b->work_ns += bench_thread_cpu() - start;
}

static int by_length(const void *a, const void *b)
{
    int64_t x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return (x > y) - (x < y);
}

/* The turn that 99.9 % of the turns do not exceed, in microseconds. */
static double pause_us(struct bench *b)
{
    qsort(b->turns, b->turn_count, sizeof *b->turns, by_length);
    size_t outliers = b->turn_count / 1000;
    return b->turn_count == 0 ? 0 : (double)b->turns[b->turn_count - 1 - outliers] / 1e3;
}

static void put_other(struct bench *b, enum ring_kind kind)
{
    struct ring_record *r = ring_reserve(&b->producer, 0);
    if (!r)
        fail("no room in an empty ring");
    r->kind = (uint16_t)kind;
    r->ts_ns = r->clock_ns = now_ns(b);
    ring_commit(&b->producer);
    publish(b);
}

/* One turn. Waits for the file thread where there is nothing else to do. */
static enum shard_step_result turn(struct bench *b)
{
    enum shard_step_result step = shard_step(b->shard);
    struct pollfd file_thread = {.fd = shard_fd(b->shard), .events = POLLIN};
    if (step == SHARD_IDLE)
        (void)poll(&file_thread, 1, 1);
    return step;
}

/* All packets of a round. */
static void offer(struct bench *b, uint64_t up_to)
{
    while (b->next < up_to) {
        while (b->next < up_to && put(b))
            ;
        publish(b);
        work(b);
    }
}

static uint64_t decided(const struct bench *b)
{
    return counter_get(&b->page->c.published) + counter_get(&b->page->c.drops[CAUSE_NO_UUID]);
}

/* The first round and the end of all its flows. */
static void warm_up(struct bench *b)
{
    offer(b, b->packets);
    b->fresh_ns = b->work_ns;
    b->work_ns = 0;
    b->turn_count = 0;
    b->later_ns = 3 * HOUR_NS;
    put_other(b, RING_TICK);
    while (decided(b) < b->packets)
        (void)turn(b);
}

static void finish(struct bench *b)
{
    int64_t start = bench_now();
    put_other(b, RING_END);
    while (turn(b) != SHARD_DONE)
        ;
    b->finish_ns = bench_now() - start;
}

int main(int argc, char **argv)
{
    static struct bench b;
    if (argc < 2) {
        fprintf(stderr, "usage: bench_shard DIR [packets] [flows] [none|zlib|fast|small|auto] [hash|none]\n");
        return 2;
    }
    b.packets = bench_arg(argc, argv, 2, 2000000);
    b.flows = bench_arg(argc, argv, 3, 1000);
    b.turns = bench_memory(TURNS_MAX * sizeof *b.turns);
    set_up(&b, argv[1], argc > 4 ? argv[4] : "none", argc > 5 ? argv[5] : "hash");
    warm_up(&b);
    offer(&b, 2 * b.packets);
    uint64_t used = counter_get(&b.page->c.budget_used);
    finish(&b);
    const struct shard_counters *c = &b.page->c;
    if (counter_get(&c->consumed) != 2 * b.packets || decided(&b) != 2 * b.packets)
        fail("packets were lost");
    double n = (double)b.packets;
    printf("{\"packets\": %llu, \"ns_per_packet\": %.2f, \"fresh_ns_per_packet\": %.2f, \"finish_ns_per_packet\": "
           "%.2f, \"bytes_per_packet\": %.3f, "
           "\"budget_bytes_per_flow\": %.0f, \"pause_us\": %.0f}\n",
           (unsigned long long)b.packets, (double)b.work_ns / n, (double)b.fresh_ns / n, (double)b.finish_ns / n,
           (double)counter_get(&c->file_bytes) / n / 2, (double)used / (double)b.flows, pause_us(&b));
    shard_free(b.shard);
    return 0;
}
