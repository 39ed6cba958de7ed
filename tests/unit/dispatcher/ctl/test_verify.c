/* SPDX-License-Identifier: Apache-2.0
 * The judge itself: files that are not whole, files of two connections, and counters that do not fit must not pass. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

#include "dispatcher/ctl/counts.h"
#include "dispatcher/ctl/savefile.h"
#include "dispatcher/ctl/verify.h"

static char dir[64];
static uint8_t raw[4096];
static size_t raw_len;

static void put32(uint32_t v)
{
    for (int i = 0; i < 4; i++)
        raw[raw_len++] = (uint8_t)(v >> (8 * i));
}

static void begin(void)
{
    raw_len = 0;
    put32(0xa1b23c4d);
    put32(4u << 16 | 2);
    put32(0);
    put32(0);
    put32(94);
    put32(1);
}

/* Ethernet, IPv4, TCP; port tells connections apart. */
static void add(uint32_t nsec, uint32_t caplen, uint32_t wire_len, uint16_t port)
{
    uint8_t h[94] = {[12] = 8, [14] = 0x45, [17] = 40, [22] = 64, [23] = 6, [29] = 1, [33] = 2, [46] = 0x50, [47] = 16};
    h[34] = (uint8_t)(port >> 8);
    h[35] = (uint8_t)port;
    h[37] = 80;
    put32(1700000000);
    put32(nsec);
    put32(caplen);
    put32(wire_len);
    memcpy(raw + raw_len, h, caplen < sizeof h ? caplen : sizeof h);
    raw_len += caplen;
}

static void two_packets(void)
{
    begin();
    add(1, 54, 54, 1000);
    add(2, 54, 54, 1000);
}

static size_t compress_to(uint8_t *out, size_t size)
{
    z_stream z = {.next_in = raw, .avail_in = (uInt)raw_len, .next_out = out, .avail_out = (uInt)size};
    assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY), Z_OK);
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    assert_int_equal(deflateEnd(&z), Z_OK);
    return size - z.avail_out;
}

static void write_file(const char *name, const void *bytes, size_t n)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, n), (ssize_t)n);
    close(fd);
}

static int read_file(const char *name, bool gzip, struct savefile *out, char *error)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    int rc = savefile_read(fd, gzip, out, error);
    close(fd);
    return rc;
}

/* As plain and as gzip the same verdict. */
static void judged(int want, uint64_t packets, const char *word)
{
    uint8_t packed[8192];
    struct savefile f;
    char error[SAVEFILE_ERROR] = "";
    write_file("f", raw, raw_len);
    assert_int_equal(read_file("f", false, &f, error), want);
    write_file("f", packed, compress_to(packed, sizeof packed));
    int rc = read_file("f", true, &f, error);
    assert_int_equal(rc, want);
    if (rc == SC_OK)
        assert_int_equal(f.packets, packets);
    else
        assert_non_null(strstr(error, word));
}

static void test_records(void **state)
{
    (void)state;
    two_packets();
    judged(SC_OK, 2, "");
    raw_len--;
    judged(SC_EFORMAT, 0, "last record is cut");
    begin();
    judged(SC_EFORMAT, 0, "no packet");
    raw_len = 20;
    judged(SC_EFORMAT, 0, "no savefile head");
    two_packets();
    add(3, 54, 54, 1001);
    judged(SC_EFORMAT, 0, "another connection");
    begin();
    add(1000000000, 54, 54, 1000);
    judged(SC_EFORMAT, 0, "nsec");
    begin();
    add(1, 54, 53, 1000);
    judged(SC_EFORMAT, 0, "wire length 53");
    begin();
    add(1, 95, 95, 1000);
    judged(SC_EFORMAT, 0, "snaplen 94");
    begin();
    add(1, 40, 54, 1000);
    judged(SC_EFORMAT, 0, "tcp_short");
    begin();
    raw[0] = 0xd4;
    add(1, 54, 54, 1000);
    judged(SC_EFORMAT, 0, "magic");
    two_packets();
    raw[16] = 40; /* a snaplen that cuts before the ports */
    raw_len = 24;
    add(1, 40, 54, 1000);
    judged(SC_OK, 1, "");
}

static void test_members(void **state)
{
    uint8_t packed[8192] = {0};
    struct savefile f;
    char error[SAVEFILE_ERROR];
    (void)state;
    two_packets();
    size_t n = compress_to(packed, sizeof packed);
    for (size_t cut = 0; cut < n; cut++) {
        write_file("f", packed, cut);
        assert_int_equal(read_file("f", true, &f, error), SC_EFORMAT);
    }
    write_file("f", packed, n + 1);
    assert_int_equal(read_file("f", true, &f, error), SC_EFORMAT);
    assert_non_null(strstr(error, "bytes follow"));
    memmove(packed + n, packed, n); /* two members */
    write_file("f", packed, 2 * n);
    assert_int_equal(read_file("f", true, &f, error), SC_EFORMAT);
    packed[n - 6] ^= 1; /* crc */
    write_file("f", packed, n);
    assert_int_equal(read_file("f", true, &f, error), SC_EFORMAT);
    write_file("f", raw, raw_len);
    assert_int_equal(read_file("f", true, &f, error), SC_EFORMAT);
}

static void make(const char *name)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    assert_int_equal(mkdir(path, 0755), 0);
}

static void walk(double started, double ended, struct verify_files *v, const char *word)
{
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);
    assert_non_null(out);
    assert_int_equal(verify_files(dir, started, ended, out, v), SC_OK);
    (void)fclose(out);
    assert_non_null(strstr(text, word));
    free(text);
}

static void test_tree(void **state)
{
    struct verify_files v;
    char path[256];
    (void)state;
    make("2024");
    make("2024/11");
    make("2024/11/19");
    make("lost+found");
    two_packets();
    write_file("2024/11/19/a.pcap", raw, raw_len);
    write_file("2024/11/19/b.1.pcap", raw, raw_len);
    walk(1, 0, &v, "");
    assert_int_equal(v.files, 2);
    assert_int_equal(v.packets, 4);
    assert_int_equal(v.bytes, 2 * raw_len);
    assert_int_equal(v.bad, 0);
    assert_int_equal(v.others, 0);
    walk((double)time(NULL) + 100, 0, &v, ""); /* a run that starts later */
    assert_int_equal(v.others, 2);
    assert_int_equal(v.files, 0);
    walk(1, 1000, &v, ""); /* one that ended long ago */
    assert_int_equal(v.others, 2);
    write_file("2024/11/19/.c.pcap", raw, raw_len);
    walk(1, 0, &v, "bad file 2024/11/19/.c.pcap");
    write_file("2024/11/x", raw, raw_len);
    walk(1, 0, &v, "bad file 2024/11/x");
    snprintf(path, sizeof path, "%s/2024/11/19/d.pcap", dir);
    assert_int_equal(symlink("a.pcap", path), 0);
    walk(1, 0, &v, "bad file 2024/11/19/d.pcap");
    write_file("2024/11/19/e.pcap.gz", raw, raw_len);
    walk(1, 0, &v, "e.pcap.gz: it is no gzip member");
    assert_int_equal(v.bad, 4);
    assert_int_equal(v.files, 2);
}

static bool agree(const struct counts *a, const struct counts *b, const struct verify_files *v, const char *word)
{
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);
    assert_non_null(out);
    bool fine = verify_judge(a, b, v, out);
    (void)fclose(out);
    assert_non_null(strstr(text, word));
    free(text);
    return fine;
}

static const struct counts rest = {
    .delivered = 100, .saved = 80, .lost = 5, .limits = 15, .drops = 20, .files = 3, .bytes = 999, .started = 1};
static const struct verify_files three = {.files = 3, .packets = 80, .bytes = 999};

static void test_at_rest(void **state)
{
    struct counts c = rest;
    struct verify_files v = three;
    (void)state;
    assert_true(agree(&c, &c, &v, "ok: exactly"));
    v.packets = 79;
    assert_false(agree(&c, &c, &v, "are in no file"));
    v.packets = 81;
    assert_false(agree(&c, &c, &v, "more packets"));
    v = three;
    v.files = 4;
    assert_false(agree(&c, &c, &v, "number of files"));
    v = three;
    v.bytes = 998;
    assert_false(agree(&c, &c, &v, "the bytes"));
    v = three;
    v.bad = 1;
    assert_false(agree(&c, &c, &v, "bad files"));
    c.delivered++;
    assert_false(agree(&c, &c, &three, "do not balance"));
    c = rest;
    c.salvaged_files = 2;
    c.salvaged_packets = 7;
    assert_false(agree(&c, &c, &three, "are in no file"));
    v = (struct verify_files){.files = 5, .packets = 87, .bytes = 1234};
    assert_true(agree(&c, &c, &v, "salvaged 7"));
    c = rest;
    c.removed_files = 1;
    v = (struct verify_files){.files = 2, .packets = 50, .bytes = 500};
    assert_true(agree(&c, &c, &v, "removed"));
    v.files = 1;
    assert_false(agree(&c, &c, &v, "do not fit"));
}

static void test_under_way(void **state)
{
    struct counts a = rest, b = rest;
    (void)state;
    b.delivered = 300;
    b.saved = 120;
    b.buffered = 100;
    b.in_ring = 60;
    struct verify_files v = {.files = 4, .packets = 120};
    assert_true(agree(&a, &b, &v, "packets in flight"));
    v.packets = 80;
    assert_true(agree(&a, &b, &v, ""));
    v.packets = 79;
    assert_false(agree(&a, &b, &v, "farther apart"));
    v.packets = 220;
    assert_true(agree(&a, &b, &v, ""));
    v.packets = 221;
    assert_false(agree(&a, &b, &v, "farther apart"));
    v.packets = 120;
    b.in_ring += 64; /* counted before `delivered` moved */
    assert_true(agree(&a, &b, &v, ""));
    b.in_ring++;
    assert_false(agree(&a, &b, &v, "counters are farther apart"));
    b.dispatchers = 2; /* each of them */
    b.in_ring += 63;
    assert_true(agree(&a, &b, &v, ""));
    b.in_ring++;
    assert_false(agree(&a, &b, &v, "counters are farther apart"));
    b.in_ring = 0;
    b.saved = 80;
    b.buffered = 0;
    b.delivered = 200; /* all that had been delivered before must have a fate now */
    a.delivered = 101;
    assert_false(agree(&a, &b, &v, "counters are farther apart"));
}

static void test_counts(void **state)
{
    static const char good[] =
        "{\"packets\":{\"delivered\":5120,\"saved\":5000,\"lost\":70},\"drops\":{\"ring_full\":70,"
        "\"not_tcp\":50},\"files\":9,\"bytes\":123456,\"salvaged\":{\"files\":2,\"packets\":30},"
        "\"removed\":4,\"dispatchers\":3,\"started\":1700000000.500,\"ended\":1700000013.000}";
    struct counts c;
    char error[COUNTS_ERROR];
    (void)state;
    assert_int_equal(counts_parse(good, strlen(good), &c, error), SC_OK);
    assert_int_equal(c.delivered, 5120);
    assert_int_equal(c.saved, 5000);
    assert_int_equal(c.drops, 120);
    assert_int_equal(c.limits, 50);
    assert_int_equal(c.buffered, 0);
    assert_int_equal(c.salvaged_packets, 30);
    assert_int_equal(c.removed_files, 4);
    assert_int_equal(c.dispatchers, 3);
    assert_true(c.started > 1700000000.4 && c.ended > 1700000012.9);
    for (size_t cut = 0; cut < strlen(good); cut++)
        assert_int_equal(counts_parse(good, cut, &c, error), SC_EFORMAT);
    assert_int_equal(counts_parse("{}", 2, &c, error), SC_EFORMAT);
    assert_non_null(strstr(error, "packets.delivered"));
}

static int make_dir(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/shardcap-test-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
    char cmd[128];
    (void)state;
    snprintf(cmd, sizeof cmd, "rm -rf %s", dir);
    return system(cmd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_records, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(test_members, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(test_tree, make_dir, remove_dir),
        cmocka_unit_test(test_at_rest),
        cmocka_unit_test(test_under_way),
        cmocka_unit_test(test_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
