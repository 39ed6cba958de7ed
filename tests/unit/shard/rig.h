/* SPDX-License-Identifier: Apache-2.0
 * A shard without processes: ring, arena and page in plain memory, a clock that only the test moves, directories below
 * /tmp, and system calls that fail on demand. Header only, because each test is one program. */
#ifndef TESTS_SHARD_RIG_H
#define TESTS_SHARD_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "shard/arena.h"
#include "shard/shard.h"
#include "shared/config.h"
#include "shared/frame.h"
#include "shared/ring.h"

#define RIG_BUDGET (4u << 20)
#define RIG_RING (1u << 20)
#define RIG_T0 (INT64_C(1700000000) * NS_PER_SEC) /* 2023-11-14 22:13:20 UTC */
#define RIG_DAY "2023/11/14"
#define RIG_FILE_MAX (4u << 20)

struct rig {
    struct config config;
    struct clock clock;
    int64_t mono, wall;
    int64_t step; /* by which packets, and the wall clock of a test, are off RIG_T0 */
    struct sysops sys;
    char root[64];
    int datadir, staging, events, reports;
    void *arena_map, *ring_map;
    void *other_ring_map; /* of a second dispatcher; NULL = there is none */
    size_t arena_bytes, ring_bytes;
    uint64_t budget;
    struct shard_page *page;
    struct ring_producer producer;
    struct shard *shard;
    uint32_t generation;
    bool hold;
    int (*ask)(void *ctx, const struct flowkey *key, uint32_t if_index, struct uuid_answer *out); /* ctx: the rig */
    uint64_t sent;                                                                                /* packets */
    unsigned saved;
    char saved_path[256];
    /* faults: call number `fail_at` (from 1) of the kinds in fail_kinds fails with fail_errno; for_ever: all after it
     */
    unsigned calls, fail_at, fail_kinds;
    int fail_errno;
    bool fail_for_ever;
    unsigned free_blocks; /* of 1000 */
    unsigned free_files;  /* likewise */
};

enum { FAIL_OPEN = 1, FAIL_MKDIR = 2, FAIL_WRITE = 4, FAIL_RENAME = 8, FAIL_SYNC = 16, FAIL_CLOSE = 32, FAIL_ALL = 63 };

/* ---- system calls that fail on demand ---- */

static inline bool rig_fails(struct rig *r, unsigned kind)
{
    if (!(r->fail_kinds & kind) || r->fail_at == 0)
        return false;
    r->calls++;
    if (r->calls != r->fail_at && !(r->fail_for_ever && r->calls > r->fail_at))
        return false;
    errno = r->fail_errno;
    return true;
}
static inline int rig_openat(void *ctx, int dir, const char *path, int flags, mode_t mode)
{
    return rig_fails(ctx, FAIL_OPEN) ? -1 : openat(dir, path, flags, mode);
}
static inline int rig_mkdirat(void *ctx, int dir, const char *path, mode_t mode)
{
    return rig_fails(ctx, FAIL_MKDIR) ? -1 : mkdirat(dir, path, mode);
}
static inline ssize_t rig_pwritev(void *ctx, int fd, const struct iovec *iov, int n, off_t at)
{
    struct rig *r = ctx;
    if (rig_fails(r, FAIL_WRITE)) {
        if (r->fail_errno != 0)
            return -1;
        return pwrite(fd, iov[0].iov_base, (iov[0].iov_len + 1) / 2, at); /* a short write */
    }
    return pwritev(fd, iov, n, at);
}
static inline int rig_ftruncate(void *ctx, int fd, off_t len)
{
    return rig_fails(ctx, FAIL_WRITE) ? -1 : ftruncate(fd, len);
}
static inline int rig_close(void *ctx, int fd)
{
    bool fails = rig_fails(ctx, FAIL_CLOSE);
    int err = errno;
    int rc = close(fd);
    errno = err;
    return fails ? -1 : rc;
}
static inline int rig_renameat2(void *ctx, int d1, const char *p1, int d2, const char *p2, unsigned flags)
{
    return rig_fails(ctx, FAIL_RENAME) ? -1 : renameat2(d1, p1, d2, p2, flags);
}
static inline int rig_unlinkat(void *ctx, int dir, const char *path, int flags)
{
    (void)ctx;
    return unlinkat(dir, path, flags);
}
static inline int rig_fstatat(void *ctx, int dir, const char *path, struct stat *st, int flags)
{
    (void)ctx;
    return fstatat(dir, path, st, flags);
}
static inline int rig_syncfs(void *ctx, int fd)
{
    (void)fd;
    return rig_fails(ctx, FAIL_SYNC) ? -1 : 0;
}

static inline int rig_fstatvfs(void *ctx, int fd, struct statvfs *out)
{
    struct rig *r = ctx;
    (void)fd;
    *out = (struct statvfs){
        .f_frsize = 1000, .f_blocks = 1000, .f_bavail = r->free_blocks, .f_files = 1000, .f_favail = r->free_files};
    return 0;
}

static inline struct mono rig_mono(void *ctx)
{
    return (struct mono){((struct rig *)ctx)->mono};
}
static inline struct wall rig_wall(void *ctx)
{
    return (struct wall){((struct rig *)ctx)->wall};
}

/* ---- life ---- */

static inline void *rig_map(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(p != MAP_FAILED);
    return p;
}

static inline int rig_open_dir(const char *root, const char *name)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/%s", root, name);
    assert_int_equal(mkdir(path, 0777), 0);
    int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

static inline void rig_config(struct config *c)
{
    config_init(c);
    c->captureduration_ns = 30 * NS_PER_SEC;
    c->uuidwaitduration_ns = 5 * NS_PER_SEC;
    c->flowtimeout_ns = 30 * NS_PER_SEC;
    c->maxheadersize = 256;
    c->savefile_count = 1;
    c->shards = 1;
    c->uuid_sources = UUID_SOURCE_HASH;
    c->hash_key = (struct siphash_key){1, 2};
    c->gzip = GZIP_ZLIB;
}

/* A rig with savefile settings, not started: the test may change the config first. */
static inline struct rig *rig_new(void)
{
    struct rig *r = calloc(1, sizeof(*r));
    assert_non_null(r);
    (void)umask(022);
    rig_config(&r->config);
    r->budget = RIG_BUDGET;
    r->mono = NS_PER_SEC;
    r->free_blocks = r->free_files = 1000;
    r->wall = RIG_T0;
    r->clock = (struct clock){rig_mono, rig_wall, r};
    r->sys = (struct sysops){rig_openat,   rig_mkdirat, rig_pwritev, rig_ftruncate, rig_close, rig_renameat2,
                             rig_unlinkat, rig_fstatat, rig_syncfs,  rig_fstatvfs,  r};
    snprintf(r->root, sizeof(r->root), "/tmp/shardcap-test-XXXXXX");
    assert_non_null(mkdtemp(r->root));
    r->datadir = rig_open_dir(r->root, "data");
    r->staging = rig_open_dir(r->root, "staging");
    r->events = -1;
    r->reports = -1;
    r->ring_bytes = ring_map_bytes(RIG_RING);
    r->ring_map = rig_map(r->ring_bytes);
    r->page = rig_map(sizeof(*r->page));
    assert_int_equal(ring_format(r->ring_map, RIG_RING, 1, 0), SC_OK);
    assert_int_equal(ring_producer_attach(&r->producer, r->ring_map, r->ring_bytes, &r->page->ring), SC_OK);
    return r;
}

static inline void rig_saved(void *ctx, const char *path)
{
    struct rig *r = ctx;
    r->saved++;
    snprintf(r->saved_path, sizeof(r->saved_path), "%s", path);
}

/* False: it does not start, and error says why. */
static inline bool rig_try(struct rig *r, char error[SHARD_ERROR])
{
    if (!r->arena_map) {
        r->arena_bytes = arena_map_bytes(r->budget);
        r->arena_map = rig_map(r->arena_bytes);
    }
    struct shard_deps d = {.config = &r->config,
                           .clock = &r->clock,
                           .sys = &r->sys,
                           .generation = ++r->generation,
                           .arena_map = r->arena_map,
                           .arena_bytes = r->arena_bytes,
                           .budget = r->budget,
                           .ring_map = r->ring_map,
                           .more_ring_maps = {r->other_ring_map},
                           .ring_bytes = r->ring_bytes,
                           .page = r->page,
                           .datadir = r->datadir,
                           .staging = r->staging,
                           .events_file = r->events,
                           .reports = r->reports,
                           .hold = r->hold,
                           .ask = r->ask,
                           .ask_ctx = r,
                           .on_saved = rig_saved,
                           .ctx = r};
    r->shard = shard_new(&d, error);
    return r->shard != NULL;
}

static inline void rig_start(struct rig *r)
{
    char error[SHARD_ERROR];
    if (!rig_try(r, error))
        fail_msg("%s", error);
}

/* The process dies: handles go, memory and files stay. */
static inline void rig_crash(struct rig *r)
{
    shard_free(r->shard);
    r->shard = NULL;
}

/* Turns the shard until it is idle or done. */
static inline enum shard_step_result rig_run(struct rig *r)
{
    for (int i = 0; i < 1000000; i++) {
        enum shard_step_result result = shard_step(r->shard);
        if (result != SHARD_BUSY)
            return result;
    }
    fail_msg("the shard never comes to rest");
    return SHARD_DONE;
}

static inline int rig_remove(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    (void)st;
    (void)kind;
    (void)ftw;
    return remove(path);
}

static inline void rig_free(struct rig *r)
{
    shard_free(r->shard);
    (void)nftw(r->root, rig_remove, 16, FTW_DEPTH | FTW_PHYS);
    close(r->datadir);
    close(r->staging);
    if (r->events >= 0)
        close(r->events);
    if (r->arena_map)
        munmap(r->arena_map, r->arena_bytes);
    munmap(r->ring_map, r->ring_bytes);
    munmap(r->page, sizeof(*r->page));
    free(r);
}

/* ---- sending ---- */

struct rig_packet {
    uint16_t flow; /* host part of the client's address and its port */
    int64_t at;    /* ns after RIG_T0 */
    uint32_t seq;
    uint32_t wire_len; /* 0 = 54 */
    uint32_t caplen;   /* 0 = wire_len */
    uint16_t linktype; /* 0 = Ethernet */
    uint8_t flags;     /* TCP_ .. */
    bool back;         /* from the server */
};

static inline struct flowkey rig_key(uint16_t flow)
{
    const uint8_t client[4] = {10, 1, (uint8_t)(flow >> 8), (uint8_t)flow}, server[4] = {192, 0, 2, 77};
    struct flowkey key;
    (void)flowkey_make(&key, 4, client, (uint16_t)(1024 + flow % 60000), server, 443);
    return key;
}

/* Ethernet, IPv4, TCP without options: 54 bytes. */
static inline void rig_header(uint8_t h[54], const struct rig_packet *p)
{
    const uint8_t client[4] = {10, 1, (uint8_t)(p->flow >> 8), (uint8_t)p->flow}, server[4] = {192, 0, 2, 77};
    uint16_t cport = (uint16_t)(1024 + p->flow % 60000), sport = p->back ? 443 : cport, dport = p->back ? cport : 443;
    uint32_t wire = p->wire_len ? p->wire_len : 54, total = wire - 14, sum = 0;
    memset(h, 0, 54);
    memset(h, 2, 6);
    memset(h + 6, 4, 6);
    h[12] = 8;
    h[14] = 0x45;
    h[16] = (uint8_t)(total >> 8);
    h[17] = (uint8_t)total;
    h[22] = 64;
    h[23] = 6;
    memcpy(h + 26, p->back ? server : client, 4);
    memcpy(h + 30, p->back ? client : server, 4);
    for (int i = 14; i < 34; i += 2)
        sum += (uint32_t)(h[i] << 8 | h[i + 1]);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = ~((sum & 0xffff) + (sum >> 16));
    h[24] = (uint8_t)(sum >> 8);
    h[25] = (uint8_t)sum;
    h[34] = (uint8_t)(sport >> 8);
    h[35] = (uint8_t)sport;
    h[36] = (uint8_t)(dport >> 8);
    h[37] = (uint8_t)dport;
    h[38] = (uint8_t)(p->seq >> 24);
    h[39] = (uint8_t)(p->seq >> 16);
    h[40] = (uint8_t)(p->seq >> 8);
    h[41] = (uint8_t)p->seq;
    h[46] = 0x50;
    h[47] = p->flags;
    h[50] = 0xab; /* a checksum that is not checked */
}

static inline void rig_commit(struct rig *r, int64_t at)
{
    ring_commit(&r->producer);
    (void)ring_publish(&r->producer, (struct instant){RIG_T0 + at}, (struct instant){RIG_T0 + at});
}

static inline void rig_send(struct rig *r, const struct rig_packet *p)
{
    struct ring_record *rec = ring_reserve(&r->producer, 54);
    struct flowkey key = rig_key(p->flow);
    assert_non_null(rec);
    rec->kind = RING_PACKET;
    rec->linktype = p->linktype ? p->linktype : 1;
    rec->wire_len = p->wire_len ? p->wire_len : 54;
    rec->caplen = p->caplen ? p->caplen : rec->wire_len;
    rec->l3_off = 14;
    rec->l4_off = 34;
    rec->hdr_len = 54;
    rec->tcp_flags = p->flags;
    rec->clock_ns = RIG_T0 + p->at;
    rec->ts_ns = rec->clock_ns + r->step;
    rec->flow_hash = flowkey_hash(&key, &r->config.hash_key);
    rec->tcp_seq = p->seq;
    rec->payload_len = rec->wire_len - 54;
    rig_header((uint8_t *)(rec + 1), p);
    rig_commit(r, p->at);
    r->sent++;
}

static inline void rig_mark(struct rig *r, enum ring_kind kind, int64_t at)
{
    struct ring_record *rec = ring_reserve(&r->producer, 0);
    assert_non_null(rec);
    rec->kind = (uint16_t)kind;
    rec->ts_ns = rec->clock_ns = RIG_T0 + at;
    rig_commit(r, at);
}

/* END, and everything it brings about. */
static inline void rig_end(struct rig *r, int64_t at)
{
    rig_mark(r, RING_END, at);
    for (int i = 0; i < 100 && rig_run(r) != SHARD_DONE; i++)
        r->mono += NS_PER_SEC;
    assert_int_equal(shard_step(r->shard), SHARD_DONE);
}

static inline void rig_event(struct rig *r, uint16_t flow, const char *uuid, uint32_t yyyymmdd)
{
    struct flowevent ev = {.kind = FLOWEVENT_OPEN, .time = {RIG_T0}, .yyyymmdd = yyyymmdd, .has_id = true};
    ev.key = rig_key(flow);
    assert_int_equal(uuid_set(&ev.uuid, uuid, strlen(uuid)), SC_OK);
    shard_event(r->shard, &ev, false);
}

/* One line of an events file, at ns after RIG_T0. */
static inline void rig_event_line(struct rig *r, uint16_t flow, const char *uuid, int64_t at)
{
    char time[CLOCK_TEXT], line[512], path[128];
    clock_format((struct wall){RIG_T0 + at}, time);
    int n = snprintf(line, sizeof(line),
                     "{\"Event\":0,\"Timestamp\":\"%s\",\"UUID\":\"%s\",\"ID\":{\"SPort\":443,\"DPort\":%u,\"SrcIP\":"
                     "\"192.0.2.77\",\"DstIP\":\"10.1.%u.%u\",\"Interface\":0,\"Cookie\":1}}\n",
                     time, uuid, 1024u + flow % 60000u, (unsigned)flow >> 8, flow & 255u);
    if (r->events < 0) {
        snprintf(path, sizeof(path), "%s/events", r->root);
        r->events = open(path, O_RDWR | O_CREAT | O_APPEND, 0600);
        assert_true(r->events >= 0);
    }
    assert_int_equal(write(r->events, line, (size_t)n), n);
}

/* ---- looking ---- */

static inline uint64_t rig_sum_drops(const struct rig *r)
{
    uint64_t n = 0;
    for (unsigned i = 0; i < CAUSE_COUNT; i++)
        n += counter_get(&r->page->c.drops[i]);
    return n;
}

/* At the end every packet has one fate. */
static inline void rig_check_balance(const struct rig *r)
{
    const struct shard_counters *c = &r->page->c;
    assert_int_equal(counter_get(&c->consumed), r->sent);
    assert_int_equal(counter_get(&c->published) + rig_sum_drops(r), r->sent);
    assert_int_equal(counter_get(&c->flows_live), 0);
    assert_int_equal(counter_get(&c->flows_unnamed), 0);
    for (unsigned i = 0; i < SAVER_STATE_COUNT; i++)
        assert_int_equal(counter_get(&c->saver_states[i]), 0);
}

/* Reads a published file, decompressed. The caller frees. */
static inline uint8_t *rig_read(const struct rig *r, const char *path, size_t *len_r)
{
    char full[512];
    uint8_t *bytes = malloc(RIG_FILE_MAX);
    snprintf(full, sizeof(full), "%s/data/%s", r->root, path);
    gzFile f = gzopen(full, "rb");
    if (!f)
        print_error("%s is not there\n", full);
    assert_non_null(f);
    int n = gzread(f, bytes, RIG_FILE_MAX);
    assert_true(n >= 0);
    assert_int_equal(gzclose(f), Z_OK);
    *len_r = (size_t)n;
    return bytes;
}

static inline bool rig_exists(const struct rig *r, const char *path)
{
    char full[512];
    struct stat st;
    snprintf(full, sizeof(full), "%s/%s", r->root, path);
    return lstat(full, &st) == 0;
}

static inline size_t rig_put32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> (8 * i));
    return 4;
}

/* What the file of these packets must hold: written from the description of the format, not from the product. */
static inline uint8_t *rig_expect(const struct rig_packet *p, size_t count, size_t *len_r)
{
    uint8_t *out = calloc(1, 24 + count * (16 + 94)), *at = out;
    at += rig_put32(at, 0xa1b23c4d);
    at += rig_put32(at, 4u << 16 | 2);
    at += 8;
    at += rig_put32(at, 94);
    at += rig_put32(at, 1);
    for (size_t i = 0; i < count; i++) {
        uint32_t wire = p[i].wire_len ? p[i].wire_len : 54, cap = p[i].caplen ? p[i].caplen : wire;
        uint32_t incl = cap < 94 ? cap : 94;
        at += rig_put32(at, (uint32_t)((RIG_T0 + p[i].at) / NS_PER_SEC));
        at += rig_put32(at, (uint32_t)((RIG_T0 + p[i].at) % NS_PER_SEC));
        at += rig_put32(at, incl);
        at += rig_put32(at, wire);
        rig_header(at, &p[i]);
        at += incl;
    }
    *len_r = (size_t)(at - out);
    return out;
}

static inline void rig_check_file(const struct rig *r, const char *path, const struct rig_packet *p, size_t count)
{
    size_t got_len, want_len;
    uint8_t *got = rig_read(r, path, &got_len);
    uint8_t *want = rig_expect(p, count, &want_len);
    assert_int_equal(got_len, want_len);
    assert_memory_equal(got, want, want_len);
    free(got);
    free(want);
}

/* Files below a directory of the rig, not counting directories. */
static inline unsigned rig_count_files(const struct rig *r, const char *dir)
{
    char cmd[256];
    unsigned n = 0;
    snprintf(cmd, sizeof(cmd), "find %s/%s -type f | wc -l", r->root, dir);
    FILE *f = popen(cmd, "r");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%u", &n), 1);
    pclose(f);
    return n;
}

#endif
