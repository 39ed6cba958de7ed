/* SPDX-License-Identifier: Apache-2.0
 * A shard that dies anywhere, and a disk that refuses: same files, every packet counted once. */
#include "rig.h"

#define SEC NS_PER_SEC
#define PACKETS 600u
#define FLOWS 5u

/* A mixture: five flows, long enough to be sealed several times; a reuse; a pause; an unnamed one. */
static struct rig_packet packet(unsigned i)
{
    struct rig_packet p = {.flow = (uint16_t)(1 + i % FLOWS),
                           .at = (int64_t)i * SEC / 20,
                           .seq = i * 7919u,
                           .wire_len = 60 + i % 1400,
                           .flags = TCP_ACK};
    if (i == 301)
        p.flags = TCP_RST;
    if (i == 306)
        p.flags = TCP_SYN;
    return p;
}

static struct rig *mixture(bool stream)
{
    struct rig *r = rig_new();
    r->config.uuid_sources = UUID_SOURCE_EVENTS;
    r->config.stream = stream;
    r->config.captureduration_ns = 25 * SEC;
    r->config.flowtimeout_ns = 10 * SEC;
    rig_event_line(r, 1, "one", 0);
    rig_event_line(r, 2, "two", SEC);
    rig_event_line(r, 2, "reused", 15 * SEC + SEC / 2);
    rig_event_line(r, 3, "three", 4 * SEC);
    rig_event_line(r, 4, "four", 2 * SEC);
    return r;
}

struct outcome {
    uint64_t published, drops[CAUSE_COUNT], files, started;
    uint8_t *file[5];
    size_t len[5];
};

static const char *const names[5] = {"one", "two", "reused", "three", "four"};

static void take_outcome(const struct rig *r, struct outcome *o)
{
    const struct shard_counters *c = &r->page->c;
    rig_check_balance(r);
    o->published = counter_get(&c->published);
    o->files = counter_get(&c->files);
    o->started = counter_get(&c->flows_started);
    for (unsigned i = 0; i < CAUSE_COUNT; i++)
        o->drops[i] = counter_get(&c->drops[i]);
    for (int i = 0; i < 5; i++) {
        char path[64];
        snprintf(path, sizeof(path), RIG_DAY "/%s.pcap.gz", names[i]);
        o->file[i] = rig_read(r, path, &o->len[i]);
    }
    assert_int_equal(rig_count_files(r, "data"), 5);
    assert_int_equal(rig_count_files(r, "staging"), 0);
}

static void free_outcome(struct outcome *o)
{
    for (int i = 0; i < 5; i++)
        free(o->file[i]);
}

static void assert_same(const struct outcome *a, const struct outcome *b)
{
    assert_int_equal(a->published, b->published);
    assert_int_equal(a->files, b->files);
    assert_int_equal(a->started, b->started);
    assert_memory_equal(a->drops, b->drops, sizeof(a->drops));
    for (int i = 0; i < 5; i++) {
        assert_int_equal(a->len[i], b->len[i]);
        assert_memory_equal(a->file[i], b->file[i], a->len[i]);
    }
}

/* every: the shard is abandoned after so many packets, again and again; 0 = never. */
static void run_mixture(bool stream, unsigned every, struct outcome *o)
{
    struct rig *r = mixture(stream);
    rig_start(r);
    for (unsigned i = 0; i < PACKETS; i++) {
        struct rig_packet p = packet(i);
        if (i % 20 == 0)
            rig_mark(r, RING_TICK, p.at);
        rig_send(r, &p);
        if (every > 0 && i % every == every - 1) {
            (void)shard_step(r->shard);
            rig_crash(r);
            rig_start(r);
        }
    }
    rig_end(r, PACKETS * SEC / 20);
    take_outcome(r, o);
    rig_free(r);
}

static void adoption_at_every_record(void **state)
{
    (void)state;
    for (int stream = 0; stream < 2; stream++) {
        struct outcome want, got;
        run_mixture(stream, 0, &want);
        assert_true(want.published > 400);
        assert_true(want.drops[CAUSE_NO_UUID] > 0);
        assert_true(want.drops[CAUSE_CAPTURE_LIMIT] > 0);
        for (unsigned every = 1; every <= 3; every++) {
            run_mixture(stream, every, &got);
            assert_same(&want, &got);
            free_outcome(&got);
        }
        free_outcome(&want);
    }
}

/* Dies at the n-th system call: the call fails, and so does every later one until the successor starts. */
static void death_at_every_call(void **state)
{
    (void)state;
    for (int stream = 0; stream < 2; stream++) {
        struct outcome want, got;
        run_mixture(stream, 0, &want);
        for (unsigned n = 1; n < 200; n += stream ? 5 : 1) {
            struct rig *r = mixture(stream);
            r->config.syncinterval_ns = 1;
            r->fail_kinds = FAIL_ALL & ~(unsigned)FAIL_CLOSE;
            r->fail_errno = EIO;
            r->fail_for_ever = true;
            rig_start(r);
            r->calls = 0;
            r->fail_at = n;
            for (unsigned i = 0; i < PACKETS; i++) {
                struct rig_packet p = packet(i);
                if (i % 20 == 0)
                    rig_mark(r, RING_TICK, p.at);
                rig_send(r, &p);
                r->mono += 5;
                rig_run(r);
            }
            bool failed = r->calls >= n;
            r->fail_at = 0;
            rig_crash(r);
            rig_start(r);
            rig_end(r, PACKETS * SEC / 20);
            take_outcome(r, &got);
            rig_free(r);
            assert_same(&want, &got);
            free_outcome(&got);
            if (!failed)
                break;
        }
        free_outcome(&want);
    }
}

static void one_flow(struct rig *r)
{
    rig_start(r);
    for (unsigned i = 0; i < 100; i++)
        rig_send(r, &(struct rig_packet){.flow = 1, .at = i, .wire_len = 100});
    rig_mark(r, RING_TICK, 80 * SEC);
}

/* Each call fails once, for all calls and all sorts of errors: the shard recovers by itself. */
static void every_call_fails_once(void **state)
{
    (void)state;
    const int errors[] = {ENOSPC, EDQUOT, EIO, EROFS, EMFILE, EINTR, 0};
    unsigned tried = 0;
    for (size_t e = 0; e < sizeof(errors) / sizeof(errors[0]); e++) {
        for (unsigned n = 1; n < 100; n++) {
            struct rig *r = rig_new();
            r->config.syncinterval_ns = 1;
            r->fail_errno = errors[e];
            r->fail_kinds = errors[e] == 0 ? FAIL_WRITE : FAIL_ALL;
            one_flow(r);
            r->fail_at = n;
            for (int i = 0; i < 5; i++) {
                rig_run(r);
                r->mono += SEC;
            }
            assert_int_equal(rig_count_files(r, "data"), 1);
            assert_int_equal(rig_count_files(r, "staging"), 0);
            bool failed = r->calls >= n;
            r->fail_at = 0;
            rig_end(r, 81 * SEC);
            assert_int_equal(rig_sum_drops(r), 0);
            rig_check_balance(r);
            rig_free(r);
            if (!failed)
                break;
            tried++;
        }
    }
    print_message("once: failed each of %u calls\n", tried);
    assert_true(tried >= 7);
}

/* Every call from the n-th on fails for ever: the end comes all the same, and the packets are counted. */
static bool fails_for_ever_from(unsigned n, int error, bool stream)
{
    struct rig *r = rig_new();
    r->config.syncinterval_ns = 1;
    r->config.stream = stream;
    r->fail_errno = error;
    r->fail_kinds = FAIL_OPEN | FAIL_MKDIR | FAIL_WRITE | FAIL_RENAME | FAIL_SYNC;
    one_flow(r);
    r->fail_for_ever = true;
    r->fail_at = n;
    rig_end(r, 81 * SEC);
    bool failed = r->calls >= n;
    const struct shard_counters *c = &r->page->c;
    bool full = error == ENOSPC || error == EDQUOT;
    uint64_t lost = counter_get(&c->drops[full ? CAUSE_DISK_FULL : CAUSE_DISK_ERROR]);
    assert_int_equal(counter_get(&c->published) + lost, 100);
    assert_int_equal(rig_count_files(r, "data"), lost == 0);
    assert_int_equal(rig_count_files(r, "staging"), 0);
    assert_true(!failed || counter_get(&c->file_errors) > 0);
    rig_check_balance(r);
    rig_free(r);
    return failed;
}

static void every_call_fails_for_ever(void **state)
{
    (void)state;
    const int errors[] = {ENOSPC, EDQUOT, EIO, EROFS, EMFILE};
    unsigned tried = 0;
    for (int stream = 0; stream < 2; stream++)
        for (size_t e = 0; e < sizeof(errors) / sizeof(errors[0]); e++)
            for (unsigned n = 1; n < 100 && fails_for_ever_from(n, errors[e], stream); n++)
                tried++;
    print_message("for ever: failed from each of %u calls on\n", tried);
    assert_true(tried >= 10);
}

static void a_full_disk_keeps_the_flow_and_recovers(void **state)
{
    (void)state;
    struct rig *r = rig_new();
    r->fail_errno = ENOSPC;
    r->fail_kinds = FAIL_WRITE;
    r->fail_for_ever = true;
    one_flow(r);
    r->fail_at = 1;
    for (int i = 0; i < 10; i++) {
        rig_run(r);
        r->mono += SEC;
    }
    assert_int_equal(counter_get(&r->page->c.file_errors), 10);
    assert_int_equal(rig_sum_drops(r), 0);
    r->fail_at = 0;
    rig_run(r);
    assert_int_equal(rig_count_files(r, "data"), 1);
    rig_end(r, 81 * SEC);
    rig_check_balance(r);
    rig_free(r);
}

static void a_full_disk_gives_way_to_new_packets(void **state)
{
    (void)state;
    struct rig *r = rig_new();
    r->budget = ARENA_MIN_BUDGET;
    r->fail_errno = ENOSPC;
    r->fail_kinds = FAIL_WRITE;
    r->fail_for_ever = true;
    rig_start(r);
    r->fail_at = 1;
    for (unsigned i = 0; i < 20000; i++) {
        rig_send(r, &(struct rig_packet){.flow = (uint16_t)(i % 5000), .at = (int64_t)i * 31 * SEC / 1000});
        if (i % 16 == 0) {
            rig_run(r);
            r->mono += SEC;
        }
    }
    r->fail_at = 0;
    r->mono += SEC;
    rig_end(r, 20000 * 31 * (SEC / 1000));
    assert_true(counter_get(&r->page->c.drops[CAUSE_DISK_FULL]) > 0);
    assert_true(counter_get(&r->page->c.published) > 0);
    rig_check_balance(r);
    rig_free(r);
}

static void symlinks_are_not_followed(void **state)
{
    (void)state;
    struct rig *r = rig_new();
    assert_int_equal(mkdirat(r->staging, "elsewhere", 0777), 0);
    assert_int_equal(symlinkat("../staging/elsewhere", r->datadir, "2023"), 0);
    one_flow(r);
    rig_run(r);
    rig_end(r, 81 * SEC);
    assert_int_equal(counter_get(&r->page->c.drops[CAUSE_DISK_ERROR]), 100);
    assert_int_equal(counter_get(&r->page->c.saver_errors[SAVER_MKDIR_ERROR - SAVER_ERROR_FIRST]), 1);
    assert_int_equal(rig_count_files(r, "staging"), 0);
    rig_check_balance(r);
    rig_free(r);
}

static void a_lost_arena_is_counted(void **state)
{
    (void)state;
    struct rig *r = rig_new();
    rig_start(r);
    for (unsigned i = 0; i < 10; i++)
        rig_send(r, &(struct rig_packet){.flow = 1, .at = i});
    rig_run(r);
    rig_crash(r);
    munmap(r->arena_map, r->arena_bytes);
    r->arena_map = NULL;
    rig_start(r);
    rig_send(r, &(struct rig_packet){.flow = 1, .at = 11});
    rig_end(r, 12);
    assert_int_equal(counter_get(&r->page->c.drops[CAUSE_ARENA_LOST]), 10);
    rig_check_balance(r);
    rig_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(adoption_at_every_record),
        cmocka_unit_test(death_at_every_call),
        cmocka_unit_test(every_call_fails_once),
        cmocka_unit_test(every_call_fails_for_ever),
        cmocka_unit_test(a_full_disk_keeps_the_flow_and_recovers),
        cmocka_unit_test(a_full_disk_gives_way_to_new_packets),
        cmocka_unit_test(symlinks_are_not_followed),
        cmocka_unit_test(a_lost_arena_is_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
