/* SPDX-License-Identifier: Apache-2.0
 * Two frames that differ only in bits that netblock masks must be the same after anonymization: nothing in what is kept
 * depends on a masked bit. The checksums are made right for each of the two first, as on a real wire. Input: linktype
 * selector (raw or Ethernet), 10 bytes for the masked parts, frame. */
#include <string.h>

#include "shared/anonymize.h"
#include "shared/frame.h"
#include "tests/fuzz/fuzz.h"

#define FRAME_MAX 2048

static uint16_t sum16(const uint8_t *p, uint32_t n)
{
    uint32_t s = 0;
    for (uint32_t i = 0; i < n; i++)
        s += i % 2 ? p[i] : (uint32_t)p[i] << 8;
    while (s >> 16)
        s = (s & 0xffff) + (s >> 16);
    return (uint16_t)~s;
}

static void fix_ip4_sum(uint8_t *ip)
{
    uint32_t len = (uint32_t)(ip[0] & 15) * 4;
    ip[10] = ip[11] = 0;
    uint16_t s = sum16(ip, len);
    ip[10] = (uint8_t)(s >> 8);
    ip[11] = (uint8_t)s;
}

/* Header copy of a frame, anonymized; returns its length. */
static uint32_t masked(const uint8_t *frame, int linktype, const struct frame *f, uint8_t *out)
{
    static const struct anonymizer a = {.mode = ANONYMIZE_NETBLOCK};
    frame_copy_header(f, frame, out);
    anonymize_header(&a, linktype, out, f->hdr_len, f->l3_off, f->l4_off);
    return f->hdr_len;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t one[FRAME_MAX], two[FRAME_MAX], out1[FRAME_MAX], out2[FRAME_MAX];
    if (size < 11 || size - 11 > FRAME_MAX)
        return 0;
    uint32_t len = (uint32_t)size - 11;
    int linktype = data[0] & 1 ? LINKTYPE_ETHERNET : LINKTYPE_RAW;
    struct frame f, g;
    memcpy(one, data + 11, len);
    if (frame_parse(one, len, len, linktype, &f) != CAUSE_NONE)
        return 0;
    memcpy(two, one, len);
    if (linktype == LINKTYPE_ETHERNET) /* MACs of masked ends tell of them */
        memcpy(two, data, 6);
    uint8_t *ip = two + f.l3_off;
    bool v4 = ip[0] >> 4 == 4;
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    if (v4) {
        ip[15] = data[1];
        ip[19] = data[2];
        fix_ip4_sum(one + f.l3_off);
        fix_ip4_sum(ip);
    } else {
        if (memcmp(ip + 8, mapped, 12) == 0 || memcmp(ip + 24, mapped, 12) == 0)
            return 0; /* masked as IPv4: other bytes are free there */
        memcpy(ip + 14, data + 1, 10);
        memcpy(ip + 30, data + 1, 10);
        if (memcmp(ip + 8, mapped, 12) == 0 || memcmp(ip + 24, mapped, 12) == 0)
            return 0;
    }
    FUZZ_CHECK(frame_parse(two, len, len, linktype, &g) == CAUSE_NONE);
    uint32_t n = masked(one, linktype, &f, out1);
    FUZZ_CHECK(n == masked(two, linktype, &g, out2));
    FUZZ_CHECK(memcmp(out1, out2, n) == 0);
    FUZZ_CHECK(frame_from_copy(out1, n, f.l3_off, f.l4_off, &g));
    return 0;
}

static const uint8_t ip4_options[] = {
    0, 1, 2,   3,  4,   5,    6,    7,  8, 9,   10, 0x48, 0, 0,  52 + 12, 0,    1, 0,   0, 64, 6, 0, 0, 192, 0,
    2, 9, 198, 51, 100, 8,    7,    11, 4, 192, 0,  2,    9, 10, 0,       0,    1, 0,   1, 2,  3, 4, 0, 0,   0,
    1, 0, 0,   0,  0,   0x80, 0x10, 1,  0, 0,   0,  0,    0, 30, 8,       0x30, 1, 192, 0, 2,  9, 1, 0, 0,   0};
static const uint8_t ip6_routing[] = {0,    1, 2,    3,    4,   5,    6, 7, 8, 9, 10, 0x60, 0, 0, 0, 0, 44,   43, 64,
                                      0x20, 1, 0xd,  0xb8, 0,   0,    0, 0, 0, 0, 0,  0,    0, 0, 0, 1, 0x20, 1,  0xd,
                                      0xb8, 0, 1,    0,    0,   0,    0, 0, 0, 0, 0,  0,    2, 6, 2, 0, 1,    0,  0,
                                      0,    0, 0x20, 1,    0xd, 0xb8, 0, 2, 0, 0, 0,  0,    0, 0, 0, 0, 0,    3,  0x1f,
                                      0x90, 0, 80,   0,    0,   0,    1, 0, 0, 0, 0,  0x50, 2, 1, 0, 0, 0,    0,  0};

size_t fuzz_seed(unsigned i, uint8_t out[FUZZ_SEED_MAX])
{
    if (i == 0) {
        memcpy(out, ip4_options, sizeof(ip4_options));
        return sizeof(ip4_options);
    }
    if (i == 1) {
        memcpy(out, ip6_routing, sizeof(ip6_routing));
        return sizeof(ip6_routing);
    }
    return 0;
}
