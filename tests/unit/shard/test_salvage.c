/* SPDX-License-Identifier: Apache-2.0
 * What a predecessor left in staging: whole files are published, cut ones ended after their last whole chunk, the rest
 * is set aside; wherever it was cut, and whatever stands in it. */
#include "rig.h"
#include "shard/salvage.h"

#define SEC NS_PER_SEC
#define PACKETS 1500u

static struct rig_packet packet(unsigned i)
{
    return (struct rig_packet){
        .flow = 7, .at = i * 1000, .seq = i * 77777, .wire_len = 60 + i % 1400, .flags = TCP_ACK};
}

/* The published file of PACKETS packets, as it lies on disk. The caller frees. */
static uint8_t *a_file(enum gzip_mode mode, size_t *len_r)
{
    char path[256];
    struct rig *r = rig_new();
    r->config.uuid_sources = UUID_SOURCE_EVENTS;
    r->config.gzip = mode;
    rig_event_line(r, 7, "u", 0);
    rig_start(r);
    for (unsigned i = 0; i < PACKETS; i++) {
        struct rig_packet p = packet(i);
        rig_send(r, &p);
        if (i % 100 == 0)
            rig_run(r);
    }
    rig_end(r, SEC);
    snprintf(path, sizeof path, "%s/data/" RIG_DAY "/u.pcap%s", r->root, mode == GZIP_NONE ? "" : ".gz");
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    uint8_t *bytes = malloc(RIG_FILE_MAX);
    ssize_t n = read(fd, bytes, RIG_FILE_MAX);
    assert_true(n > 0);
    close(fd);
    rig_free(r);
    *len_r = (size_t)n;
    return bytes;
}

static int temp_file(const uint8_t *bytes, size_t n)
{
    int fd = memfd_create("salvage", MFD_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, bytes, n, 0), (ssize_t)n);
    return fd;
}

/* Ends the file as it was told and looks at it again: it must be whole now, with as many packets. */
static void ends_well(int fd, const struct salvage *v)
{
    struct salvage again;
    assert_true(v->keep <= v->bytes);
    if (!v->whole) {
        assert_int_equal(ftruncate(fd, (off_t)v->keep), 0);
        assert_int_equal(pwrite(fd, v->tail, v->tail_len, (off_t)v->keep), v->tail_len);
    }
    assert_int_equal(salvage_read(fd, &again), SC_OK);
    assert_true(again.whole);
    assert_int_equal(again.packets, v->packets);
}

/* Its content is a beginning of what the whole file held. */
static void is_a_beginning(int fd, uint64_t packets)
{
    struct rig_packet *p = malloc(PACKETS * sizeof *p);
    uint8_t *got = malloc(RIG_FILE_MAX);
    size_t want_len;
    for (unsigned i = 0; i < packets; i++)
        p[i] = packet(i);
    uint8_t *want = rig_expect(p, packets, &want_len);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    gzFile f = gzdopen(dup(fd), "rb");
    assert_non_null(f);
    assert_int_equal(gzread(f, got, RIG_FILE_MAX), (int)want_len);
    assert_memory_equal(got, want, want_len);
    assert_int_equal(gzclose(f), Z_OK);
    free(want);
    free(got);
    free(p);
}

static void cut_anywhere(void **state)
{
    (void)state;
    const enum gzip_mode modes[] = {GZIP_ZLIB, GZIP_AUTO, GZIP_FAST, GZIP_SMALL, GZIP_NONE};
    for (size_t m = 0; m < sizeof modes / sizeof modes[0]; m++) {
        size_t len;
        uint64_t most = 0;
        unsigned tried = 0, kept = 0, places = 0;
        uint8_t *bytes = a_file(modes[m], &len);
        for (size_t cut = 0; cut <= len; cut += cut + 40 < len ? 37 : 1) {
            struct salvage v;
            int fd = temp_file(bytes, cut);
            int err = salvage_read(fd, &v);
            tried++;
            assert_true(err == SC_OK || err == SC_EFORMAT);
            if (err == SC_OK) {
                kept++;
                ends_well(fd, &v);
                assert_true(v.packets >= most); /* more bytes, not less */
                places += v.packets > most;
                if (v.packets > most || cut == len)
                    is_a_beginning(fd, v.packets);
                most = v.packets;
            }
            assert_int_equal(err == SC_OK && v.whole,
                             modes[m] == GZIP_NONE ? err == SC_OK && v.keep == cut : cut == len);
            close(fd);
        }
        assert_int_equal(most, PACKETS);
        assert_true(kept > tried / 2);
        assert_true(places > 3); /* several chunks */
        free(bytes);
    }
}

static void damaged_anywhere(void **state)
{
    (void)state;
    for (int mode = 0; mode < 2; mode++) {
        size_t len;
        uint8_t *bytes = a_file(mode ? GZIP_NONE : GZIP_ZLIB, &len);
        for (size_t at = 0; at < len; at += 1 + len / 3000) {
            struct salvage v;
            bytes[at] ^= 0x55;
            int fd = temp_file(bytes, len);
            if (salvage_read(fd, &v) == SC_OK)
                ends_well(fd, &v);
            close(fd);
            bytes[at] ^= 0x55;
        }
        int fd = temp_file(bytes, len);
        struct salvage v;
        assert_int_equal(pwrite(fd, "x", 1, (off_t)len), 1); /* a byte too many */
        if (!mode) {
            assert_int_equal(salvage_read(fd, &v), SC_OK);
            assert_false(v.whole);
            ends_well(fd, &v);
        }
        close(fd);
        free(bytes);
    }
}

static void plant(const struct rig *r, const char *name, const uint8_t *bytes, size_t n)
{
    int fd = openat(r->staging, name, O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, n), (ssize_t)n);
    close(fd);
}

static uint64_t packets_in(const struct rig *r, const char *path)
{
    char full[256];
    struct salvage v;
    snprintf(full, sizeof full, "%s/data/%s", r->root, path);
    int fd = open(full, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(salvage_read(fd, &v), SC_OK);
    assert_true(v.whole);
    close(fd);
    return v.packets;
}

static void staging_is_swept(void **state)
{
    (void)state;
    size_t len;
    uint8_t *bytes = a_file(GZIP_ZLIB, &len);
    struct rig *r = rig_new();
    r->config.syncinterval_ns = 1;
    plant(r, "20231114.whole.0.4294967296.part", bytes, len);
    plant(r, ".20231115.part.left.x.0.7.part", bytes, len); /* a UUID like our own endings, of a hidden staging */
    plant(r, "20231114.whole.3.7.part", bytes, len / 2);    /* the same name again; of a shard that is no more */
    plant(r, "20231114.empty.0.8.part", bytes, 0);
    plant(r, "20231114.e.left.f.0.11.part", bytes, 0);
    plant(r, "20231114.u..v.0.9.part", bytes, len); /* no UUID */
    plant(r, "20231114.before.0.10.part.left", bytes, len);
    plant(r, "20231114.before.0.10.part.left.3", bytes, len);
    plant(r, "notes.txt", bytes, 5);
    rig_start(r);
    rig_run(r);
    rig_end(r, 0);
    const struct shard_counters *c = &r->page->c;
    assert_int_equal(packets_in(r, "2023/11/14/whole.pcap.gz") + packets_in(r, "2023/11/14/whole.1.pcap.gz"),
                     counter_get(&c->salvaged_packets) - 3 * PACKETS);
    assert_int_equal(packets_in(r, "2023/11/15/part.left.x.pcap.gz"), PACKETS);
    assert_int_equal(packets_in(r, "2023/11/14/before.pcap.gz"), PACKETS);
    assert_int_equal(packets_in(r, "2023/11/14/before.1.pcap.gz"), PACKETS);
    assert_int_equal(counter_get(&c->salvaged_files), 5);
    assert_int_equal(counter_get(&c->aside_files), 2);
    assert_true(rig_exists(r, "staging/20231114.empty.0.8.part.aside"));
    assert_true(rig_exists(r, "staging/20231114.e.left.f.0.11.part.aside"));
    assert_true(rig_exists(r, "staging/20231114.u..v.0.9.part")); /* not ours */
    assert_true(rig_exists(r, "staging/notes.txt"));
    assert_int_equal(rig_count_files(r, "staging"), 4);
    assert_int_equal(rig_count_files(r, "data"), 5);
    assert_int_equal(counter_get(&c->files), 0); /* not this run's */
    assert_int_equal(counter_get(&c->published), 0);
    rig_check_balance(r);
    rig_free(r);
    free(bytes);
}

/* Each call fails once: the file is published all the same, by this shard or the next. */
static void every_call_fails(void **state)
{
    (void)state;
    size_t len;
    unsigned tried = 0;
    uint8_t *bytes = a_file(GZIP_ZLIB, &len);
    const int errors[] = {ENOSPC, EDQUOT, EIO, EROFS, EMFILE, EINTR, 0};
    for (size_t e = 0; e < sizeof errors / sizeof errors[0]; e++) {
        for (unsigned n = 1; n < 100; n++) {
            struct rig *r = rig_new();
            r->config.syncinterval_ns = 1;
            r->fail_errno = errors[e];
            r->fail_kinds = errors[e] == 0 ? FAIL_WRITE : FAIL_ALL;
            plant(r, "20231114.u.0.7.part", bytes, len - 1);
            rig_start(r); /* the sweep itself: without it nothing starts */
            r->fail_at = n;
            rig_run(r);
            bool failed = r->calls >= n;
            r->fail_at = 0;
            rig_crash(r);
            rig_start(r);
            rig_end(r, 0);
            assert_int_equal(packets_in(r, "2023/11/14/u.pcap.gz"), PACKETS);
            assert_int_equal(rig_count_files(r, "staging"), 0);
            assert_int_equal(rig_count_files(r, "data"), 1);
            rig_free(r);
            if (!failed)
                break;
            tried++;
        }
    }
    print_message("salvage: failed each of %u calls\n", tried);
    assert_true(tried > 20);
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cut_anywhere),
        cmocka_unit_test(damaged_anywhere),
        cmocka_unit_test(staging_is_swept),
        cmocka_unit_test(every_call_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
