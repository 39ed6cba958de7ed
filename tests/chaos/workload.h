/* SPDX-License-Identifier: Apache-2.0
 * Twenty records that take a shard through everything it does with a flow, and what must come of them, on top of the
 * rig of the unit tests: ring, arena and page in memfds, so that a process that is killed leaves them behind. Header
 * only, because each test is one program. */
#ifndef TESTS_CHAOS_WORKLOAD_H
#define TESTS_CHAOS_WORKLOAD_H

#include "shard/chunk.h"
#include "tests/unit/shard/rig.h"

#include <dirent.h>

#define WORKLOAD_RECORDS 20u
#define WORKLOAD_FILES 4u
#define WORKLOAD_BEFORE                                                                                                \
    ((CHUNK_WIDE_SMALL - 25u) / 110u - 1u) /* packets of flow 2 before the first record: two short of a chunk */

static const char *const workload_names[WORKLOAD_FILES] = {"one", "two", "reused", "three"};

/* ---- memory that can be shared with a process that dies, and seen as of its death ---- */

struct workload_memory {
    void *at;
    size_t bytes;
    int fd;
};
static struct workload_memory workload_memory[3];

static inline void workload_share(struct workload_memory *m, void *at, size_t bytes)
{
    *m = (struct workload_memory){at, bytes, memfd_create("workload", MFD_CLOEXEC)};
    assert_true(m->fd >= 0);
    assert_int_equal(ftruncate(m->fd, (off_t)bytes), 0);
    assert_int_equal(pwrite(m->fd, at, bytes, 0), (ssize_t)bytes);
    assert_ptr_equal(mmap(at, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, m->fd, 0), at);
}

/* From now on this process sees the memory as it is now, and what it writes is its own. */
static inline void workload_unshare(void)
{
    for (unsigned i = 0; i < 3; i++) {
        const struct workload_memory *m = &workload_memory[i];
        assert_ptr_equal(mmap(m->at, m->bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, m->fd, 0), m->at);
    }
}

static inline void workload_close(void)
{
    for (unsigned i = 0; i < 3; i++)
        close(workload_memory[i].fd);
}

/* ---- files ---- */

static inline void workload_copy_file(int from_dir, int to_dir, const char *name)
{
    char buffer[8192];
    int from = openat(from_dir, name, O_RDONLY | O_CLOEXEC);
    int to = openat(to_dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    ssize_t n;
    assert_true(from >= 0 && to >= 0);
    while ((n = read(from, buffer, sizeof(buffer))) > 0)
        assert_int_equal(write(to, buffer, (size_t)n), n);
    assert_int_equal(n, 0);
    close(from);
    close(to);
}

/* Copies what is below the directory `from`; closes both. */
static inline void workload_copy_tree(int from, int to)
{
    DIR *dir = fdopendir(from);
    assert_non_null(dir);
    assert_true(to >= 0);
    for (struct dirent *e; (e = readdir(dir)) != NULL;) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        if (e->d_type != DT_DIR) {
            workload_copy_file(dirfd(dir), to, e->d_name);
            continue;
        }
        assert_int_equal(mkdirat(to, e->d_name, 0777), 0);
        workload_copy_tree(openat(dirfd(dir), e->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC),
                           openat(to, e->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    }
    closedir(dir);
    close(to);
}

static inline int workload_dir(const char *root, const char *name)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/%s", root, name);
    int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

/* Memory and files as they are now become this process's own, so that the real ones stay for others. */
static inline void workload_private_copy(struct rig *r)
{
    char root[] = "/tmp/shardcap-test-XXXXXX", path[128];
    assert_non_null(mkdtemp(root));
    workload_copy_tree(open(r->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC),
                       open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    workload_unshare();
    snprintf(r->root, sizeof(r->root), "%s", root);
    r->datadir = workload_dir(root, "data");
    r->staging = workload_dir(root, "staging");
    snprintf(path, sizeof(path), "%s/events", root);
    r->events = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(r->events >= 0);
}

static inline void workload_remove(const struct rig *r)
{
    (void)nftw(r->root, rig_remove, 16, FTW_DEPTH | FTW_PHYS);
}

/* ---- records ---- */

#define WORKLOAD_LATE (40 * NS_PER_SEC) /* two GC ticks later */

static inline void workload_packet(struct rig *r, uint16_t flow, int64_t ms, uint8_t flags, uint32_t seq)
{
    rig_send(
        r, &(struct rig_packet){
               .flow = flow, .at = ms * NS_PER_MS, .seq = seq, .wire_len = 100 + (uint32_t)ms % 1000, .flags = flags});
}

static inline void workload_addresses(struct rig *r)
{
    struct ring_address a = {.len = 4, .bytes = {192, 0, 2, 77}};
    struct ring_record *rec = ring_reserve(&r->producer, sizeof(a));
    assert_non_null(rec);
    rec->kind = RING_ADDRESSES;
    rec->hdr_len = sizeof(a);
    memcpy(rec + 1, &a, sizeof(a));
    rec->clock_ns = rec->ts_ns = RIG_T0 + 3200 * NS_PER_MS;
    rig_commit(r, 3200 * NS_PER_MS);
}

/* A packet whose header bytes are no IP: bad_record. */
static inline void workload_garbage(struct rig *r)
{
    struct ring_record *rec = ring_reserve(&r->producer, 54);
    assert_non_null(rec);
    rec->kind = RING_PACKET;
    rec->linktype = 1;
    rec->caplen = rec->wire_len = 54;
    rec->l3_off = 14;
    rec->l4_off = 34;
    rec->hdr_len = 54;
    memset(rec + 1, 0xee, 54);
    rec->clock_ns = rec->ts_ns = RIG_T0 + 3400 * NS_PER_MS;
    rig_commit(r, 3400 * NS_PER_MS);
    r->sent++;
}

static inline void workload_send(struct rig *r, unsigned i)
{
    static const struct rig_packet other_link = {
        .flow = 3, .at = 3900 * NS_PER_MS, .linktype = 113, .flags = TCP_ACK, .wire_len = 200};
    int64_t ms = 2500 + (int64_t)i * 100;
    switch (i) {
    case 0:
    case 3: /* the chunk is full: the first seal */
    case 4:
    case 11:
        workload_packet(r, 2, ms, TCP_ACK, i);
        return;
    case 1: /* a new flow, whose name waits for it */
    case 8:
        workload_packet(r, 3, ms, TCP_ACK, i);
        return;
    case 2:
    case 9:
        rig_mark(r, RING_TICK, ms * NS_PER_MS);
        return;
    case 5:
        workload_packet(r, 1, ms, TCP_RST, i);
        return;
    case 6: /* a new connection: the file of the old one is published */
        workload_packet(r, 1, ms, TCP_SYN, 99);
        return;
    case 7:
        workload_addresses(r);
        return;
    case 10:
        workload_garbage(r);
        return;
    case 12:
        workload_packet(r, 1, ms, TCP_ACK, 100);
        return;
    case 13: /* of a flow that nobody names */
        workload_packet(r, 4, ms, TCP_ACK, i);
        return;
    case 14:
        rig_send(r, &other_link);
        return;
    case 15: /* all flows so far end */
        rig_mark(r, RING_TICK, WORKLOAD_LATE);
        return;
    case 19:
        rig_mark(r, RING_END, WORKLOAD_LATE + NS_PER_SEC);
        return;
    default: /* new connections, unnamed */
        workload_packet(r, (uint16_t)(1 + i % 2), WORKLOAD_LATE / NS_PER_MS + i, i < 18 ? TCP_SYN : TCP_ACK, i);
        return;
    }
}

/* What comes before the first record; nothing of it is consumed yet. */
static inline struct rig *workload_new(void)
{
    struct rig *r = rig_new();
    r->budget = ARENA_MIN_BUDGET;
    r->config.uuid_sources = UUID_SOURCE_EVENTS;
    r->config.flowtimeout_ns = 10 * NS_PER_SEC;
    r->config.captureduration_ns = 100 * NS_PER_SEC;
    r->config.syncinterval_ns = 1;
    rig_event_line(r, 1, "one", 0);
    rig_event_line(r, 2, "two", 0);
    rig_event_line(r, 1, "reused", 3050 * NS_PER_MS);
    rig_event_line(r, 3, "three", 3000 * NS_PER_MS);
    r->arena_bytes = arena_map_bytes(r->budget);
    r->arena_map = rig_map(r->arena_bytes);
    workload_share(&workload_memory[0], r->arena_map, r->arena_bytes);
    workload_share(&workload_memory[1], r->ring_map, r->ring_bytes);
    workload_share(&workload_memory[2], r->page, sizeof(*r->page));
    workload_packet(r, 1, 1, TCP_SYN, 1);
    workload_packet(r, 1, 2, TCP_ACK, 2);
    for (unsigned i = 0; i < WORKLOAD_BEFORE; i++)
        workload_packet(r, 2, 10 + i, TCP_ACK, i);
    assert_true(24 + (WORKLOAD_BEFORE + 1) * 110 < CHUNK_WIDE_SMALL &&
                24 + (WORKLOAD_BEFORE + 2) * 110 > CHUNK_WIDE_SMALL);
    return r;
}

/* Everything that END brings about. */
static inline void workload_rest(struct rig *r)
{
    for (int i = 0; i < 100 && rig_run(r) != SHARD_DONE; i++)
        r->mono += NS_PER_SEC;
    assert_int_equal(shard_step(r->shard), SHARD_DONE);
}

/* ---- what came of it ---- */

struct outcome {
    uint64_t consumed, published, drops[CAUSE_COUNT], missed;
    uint64_t files, flows_saved, flows_started, suffixed, starts, stops;
    uint8_t *file[WORKLOAD_FILES];
    size_t len[WORKLOAD_FILES];
};

static inline uint64_t workload_bytes(const struct rig *r)
{
    uint64_t sum = 0;
    struct stat st;
    char path[128];
    for (unsigned i = 0; i < WORKLOAD_FILES; i++) {
        snprintf(path, sizeof(path), RIG_DAY "/%s.pcap.gz", workload_names[i]);
        assert_int_equal(fstatat(r->datadir, path, &st, 0), 0);
        sum += (uint64_t)st.st_size;
    }
    return sum;
}

static inline unsigned workload_entries(int dir, const char *name)
{
    unsigned n = 0;
    DIR *d = fdopendir(openat(dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d)) != NULL;)
        n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

/* Of a shard that is done. */
static inline void take_outcome(const struct rig *r, struct outcome *o)
{
    const struct shard_counters *c = &r->page->c;
    rig_check_balance(r);
    o->consumed = counter_get(&c->consumed);
    o->published = counter_get(&c->published);
    for (unsigned i = 0; i < CAUSE_COUNT; i++)
        o->drops[i] = counter_get(&c->drops[i]);
    o->missed = 0; /* in which state depends on whether END comes before the next look at the deadlines */
    for (unsigned i = 0; i < SAVER_STATE_COUNT; i++)
        o->missed += counter_get(&c->missed_packets[i]);
    o->files = counter_get(&c->files);
    o->flows_saved = counter_get(&c->flows_saved);
    o->flows_started = counter_get(&c->flows_started);
    o->suffixed = counter_get(&c->suffixed);
    o->starts = counter_get(&c->saver_starts);
    o->stops = counter_get(&c->saver_stops);
    assert_int_equal(counter_get(&c->blocks_lost), 0);
    assert_int_equal(counter_get(&c->file_errors), 0);
    assert_int_equal(workload_entries(r->datadir, RIG_DAY), WORKLOAD_FILES);
    assert_int_equal(workload_entries(r->staging, "."), 0);
    /* Where chunks end may depend on the death, and the size of a file with it: it is held against the disk. */
    assert_int_equal(counter_get(&c->file_bytes), workload_bytes(r));
    for (unsigned i = 0; i < WORKLOAD_FILES; i++) {
        char path[64];
        snprintf(path, sizeof(path), RIG_DAY "/%s.pcap.gz", workload_names[i]);
        o->file[i] = rig_read(r, path, &o->len[i]);
    }
}

static inline void assert_same(const struct outcome *a, const struct outcome *b)
{
    assert_memory_equal(a, b, offsetof(struct outcome, file));
    for (unsigned i = 0; i < WORKLOAD_FILES; i++) {
        assert_int_equal(a->len[i], b->len[i]);
        assert_memory_equal(a->file[i], b->file[i], a->len[i]);
    }
}

static inline void free_outcome(struct outcome *o)
{
    for (unsigned i = 0; i < WORKLOAD_FILES; i++)
        free(o->file[i]);
}

/* The run that nobody disturbs; it must be worth the comparison. */
static inline void workload_undisturbed(struct outcome *o)
{
    struct rig *r = workload_new();
    rig_start(r);
    rig_run(r);
    for (unsigned i = 0; i < WORKLOAD_RECORDS; i++) {
        workload_send(r, i);
        rig_run(r);
    }
    workload_rest(r);
    take_outcome(r, o);
    assert_int_equal(o->published, 11 + WORKLOAD_BEFORE);
    assert_int_equal(o->drops[CAUSE_BAD_RECORD], 1);
    assert_int_equal(o->drops[CAUSE_LINKTYPE_CHANGED], 1);
    assert_int_equal(o->drops[CAUSE_NO_UUID], 4);
    workload_close();
    rig_free(r);
}

#endif
