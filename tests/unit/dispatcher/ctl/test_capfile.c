/* SPDX-License-Identifier: Apache-2.0
 * Capture files, plain and gzip'd, whole and cut at every byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>
#include <zlib.h>

#include "dispatcher/ctl/capfile.h"
#include "shared/frame.h"

#define PACKETS 3
#define FRAME 60

static uint8_t plain[24 + PACKETS * (16 + FRAME)];

static void put32(uint8_t *p, uint32_t v)
{
    memcpy(p, &v, 4); /* the order of this machine: its magic tells */
}

static int make_plain(void **state)
{
    (void)state;
    put32(plain, 0xa1b23c4d);
    plain[4] = 2;
    plain[6] = 4;
    put32(plain + 16, 256);
    put32(plain + 20, LINKTYPE_ETHERNET);
    for (uint32_t i = 0; i < PACKETS; i++) {
        uint8_t *p = plain + 24 + i * (16 + FRAME);
        put32(p, 1700000000);
        put32(p + 4, i + 1);
        put32(p + 8, FRAME);
        put32(p + 12, 1500);
        memset(p + 16, (int)i, FRAME);
    }
    return 0;
}

static size_t compress_to(uint8_t *out, size_t cap, const uint8_t *bytes, size_t n)
{
    z_stream z = {0};
    assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_in = (Bytef *)bytes;
    z.avail_in = (uInt)n;
    z.next_out = out;
    z.avail_out = (uInt)cap;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    size_t made = cap - z.avail_out;
    assert_int_equal(deflateEnd(&z), Z_OK);
    return made;
}

/* A file of these bytes in memory. */
static int file_of(const uint8_t *bytes, size_t n)
{
    int fd = memfd_create("capfile", MFD_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, n), n);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    return fd;
}

/* Reads to the end; the number of packets, and SC_EOF or SC_EFORMAT in *end (also for a file that cannot be opened). */
static unsigned count(const uint8_t *bytes, size_t n, int *end)
{
    char error[CAPFILE_ERROR] = "";
    struct capfile_packet p;
    unsigned got = 0;
    struct capfile *f = capfile_open_fd(file_of(bytes, n), "the-name", error);
    *end = SC_EFORMAT;
    while (f && (*end = capfile_next(f, &p, error)) == SC_OK) {
        assert_int_equal(p.ts.ns, 1700000000 * NS_PER_SEC + got + 1);
        assert_int_equal(p.caplen, FRAME);
        assert_int_equal(p.wire_len, 1500);
        assert_int_equal(p.bytes[FRAME - 1], got);
        got++;
    }
    if (f) {
        assert_int_equal(capfile_linktype(f), LINKTYPE_ETHERNET);
        assert_int_equal(capfile_snaplen(f), 256);
    }
    capfile_close(f);
    if (*end == SC_EFORMAT)
        assert_non_null(strstr(error, "the-name"));
    return got;
}

static void whole(void **state)
{
    (void)state;
    uint8_t packed[sizeof plain + 256];
    int end;
    assert_int_equal(count(plain, sizeof plain, &end), PACKETS);
    assert_int_equal(end, SC_EOF);
    size_t n = compress_to(packed, sizeof packed, plain, sizeof plain);
    assert_int_equal(count(packed, n, &end), PACKETS);
    assert_int_equal(end, SC_EOF);
    /* Two members, as `cat a.gz b.gz` makes them; the first ends inside a record. */
    n = compress_to(packed, sizeof packed, plain, 70);
    n += compress_to(packed + n, sizeof packed - n, plain + 70, sizeof plain - 70);
    assert_int_equal(count(packed, n, &end), PACKETS);
    assert_int_equal(end, SC_EOF);
}

static void cut(void **state)
{
    (void)state;
    uint8_t packed[sizeof plain + 256];
    size_t n = compress_to(packed, sizeof packed, plain, sizeof plain);
    int end;
    for (size_t keep = 0; keep < sizeof plain; keep++) {
        bool between = keep >= 24 && (keep - 24) % (16 + FRAME) == 0;
        assert_int_equal(count(plain, keep, &end), keep < 24 ? 0 : (keep - 24) / (16 + FRAME));
        assert_int_equal(end, between ? SC_EOF : SC_EFORMAT);
    }
    for (size_t keep = 0; keep < n; keep++) {
        (void)count(packed, keep, &end);
        assert_int_equal(end, SC_EFORMAT);
    }
}

static void damaged(void **state)
{
    (void)state;
    uint8_t packed[sizeof plain + 256];
    size_t n = compress_to(packed, sizeof packed, plain, sizeof plain);
    int end;
    packed[n - 5] ^= 1; /* its checksum */
    (void)count(packed, n, &end);
    assert_int_equal(end, SC_EFORMAT);
}

static void another_link_type(void **state)
{
    (void)state;
    char error[CAPFILE_ERROR];
    uint8_t copy[sizeof plain];
    memcpy(copy, plain, sizeof copy);
    put32(copy + 20, 105); /* 802.11 */
    assert_null(capfile_open_fd(file_of(copy, sizeof copy), "wifi.pcap", error));
    assert_non_null(strstr(error, "wifi.pcap"));
    assert_non_null(strstr(error, "IEEE802_11"));
}

/* Seconds are unsigned in a file, beyond 2038, too; a fraction that is none counts as 0. */
static void late_times(void **state)
{
    (void)state;
    char error[CAPFILE_ERROR];
    uint8_t copy[sizeof plain];
    struct capfile_packet p;
    memcpy(copy, plain, sizeof copy);
    put32(copy + 24, 0x80000005);
    put32(copy + 28, 500000000);
    put32(copy + 24 + 16 + FRAME, 0xffffffff);
    put32(copy + 28 + 16 + FRAME, 0x80000000);
    struct capfile *f = capfile_open_fd(file_of(copy, sizeof copy), "late.pcap", error);
    assert_int_equal(capfile_next(f, &p, error), SC_OK);
    assert_int_equal(p.ts.ns, INT64_C(0x80000005) * NS_PER_SEC + 500000000);
    assert_int_equal(capfile_next(f, &p, error), SC_OK);
    assert_int_equal(p.ts.ns, INT64_C(0xffffffff) * NS_PER_SEC);
    capfile_close(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole),      cmocka_unit_test(cut),
        cmocka_unit_test(damaged),    cmocka_unit_test(another_link_type),
        cmocka_unit_test(late_times),
    };
    return cmocka_run_group_tests_name("ctl/capfile", tests, make_plain, NULL);
}
