/* SPDX-License-Identifier: Apache-2.0
 * Any bytes as a frame of any linktype: no over-read (the sanitizer's business), offsets in order, the copy gives the
 * same key, and no byte behind the TCP header is ever in it. Input: linktype selector, wire length (2), frame. */
#include <string.h>

#include "shared/frame.h"
#include "tests/fuzz/fuzz.h"

static const int linktypes[] = {LINKTYPE_ETHERNET, LINKTYPE_RAW, LINKTYPE_LINUX_SLL, LINKTYPE_LINUX_SLL2, LINKTYPE_NULL,
                                LINKTYPE_LOOP,     LINKTYPE_PPP, LINKTYPE_IPV4,      LINKTYPE_IPV6};
#define LINKTYPES (sizeof(linktypes) / sizeof(*linktypes))

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 3 || size - 3 > FRAME_MAX_CAPLEN)
        return 0;
    uint32_t caplen = (uint32_t)size - 3;
    uint32_t wire = caplen + (uint32_t)(data[1] << 8 | data[2]);
    int linktype = linktypes[data[0] % LINKTYPES];
    struct frame f, g;
    enum cause cause = frame_parse(data + 3, caplen, wire, linktype, &f);
    FUZZ_CHECK(cause <= CAUSE_NONE);
    if (cause != CAUSE_NONE)
        return 0;
    FUZZ_CHECK(f.l3_off < f.l4_off && f.l4_off + 20 <= f.clean_len && f.clean_len <= f.hdr_len && f.hdr_len <= caplen);
    FUZZ_CHECK(f.hdr_len <= f.l4_off + FRAME_TCP_MAX);
    uint8_t *copy = malloc(f.hdr_len);
    FUZZ_CHECK(copy);
    frame_copy_header(&f, data + 3, copy);
    FUZZ_CHECK(memcmp(copy, data + 3, f.clean_len) == 0);
    for (uint32_t i = f.clean_len; i < f.hdr_len; i++)
        FUZZ_CHECK(copy[i] == 0);
    FUZZ_CHECK(frame_from_copy(copy, f.hdr_len, f.l3_off, f.l4_off, &g));
    FUZZ_CHECK(flowkey_equal(&f.key, &g.key) && f.from_low == g.from_low && f.tcp_flags == g.tcp_flags);
    free(copy);
    return 0;
}

static const uint8_t ethernet_ip4[] = {0,    0,    0, 2,  0,    0,  0,  0, 1, 2, 0,   0, 0,    0,    2,   8,  0,   0x45,
                                       0,    52,   0, 1,  0x40, 0,  64, 6, 0, 0, 192, 0, 2,    1,    198, 51, 100, 7,
                                       0x30, 0x39, 0, 80, 0,    0,  0,  1, 0, 0, 0,   2, 0x80, 0x18, 1,   0,  0,   0,
                                       0,    0,    1, 1,  8,    10, 0,  0, 0, 1, 0,   0, 0,    2,    'x', 'y'};
static const uint8_t raw_ip6_chain[] = {
    1, 0,    0, 0x60, 0,    0,    0,    0,    60, 0,   64,   0x20, 1, 0xd, 0xb8, 0, 0, 0,    0, 0, 0, 0, 0, 0, 0, 0,
    1, 0x20, 1, 0xd,  0xb8, 0,    1,    0,    0,  0,   0,    0,    0, 0,   0,    0, 2, 43,   0, 1, 4, 0, 0, 0, 0, 44,
    2, 0,    1, 0,    0,    0,    0,    0x20, 1,  0xd, 0xb8, 0,    2, 0,   0,    0, 0, 0,    0, 0, 0, 0, 3, 6, 0, 0,
    0, 0,    0, 0,    9,    0x1f, 0x90, 0,    80, 0,   0,    0,    1, 0,   0,    0, 0, 0x50, 2, 1, 0, 0, 0, 0, 0};
static const uint8_t sll2[] = {3, 0, 0,    8, 0,  0, 0, 0, 0, 0,  1, 0, 1,    0,    6, 2, 0, 0,  0, 0, 1,
                               0, 0, 0x45, 0, 40, 0, 1, 0, 0, 64, 6, 0, 0,    10,   0, 0, 1, 10, 0, 0, 2,
                               1, 2, 3,    4, 0,  0, 0, 1, 0, 0,  0, 0, 0x50, 0x10, 1, 0, 0, 0,  0, 0};
static const uint8_t qinq_mpls[] = {0, 0, 9,    2,    0, 0, 0, 0,  1, 2, 0, 0,  0,    0, 2, 0x88, 0xa8, 0, 5, 0x81, 0,
                                    0, 6, 0x88, 0x47, 0, 0, 0, 64, 0, 0, 1, 64, 0x45, 0, 0, 40,   0,    1, 0, 0,    64,
                                    6, 0, 0,    10,   0, 0, 1, 10, 0, 0, 2, 1,  2,    3, 4, 0,    0,    0, 1, 0,    0,
                                    0, 0, 0x50, 0x10, 1, 0, 0, 0,  0, 0};

size_t fuzz_seed(unsigned i, uint8_t out[FUZZ_SEED_MAX])
{
    static const struct {
        const uint8_t *bytes;
        size_t len;
    } seeds[] = {{ethernet_ip4, sizeof(ethernet_ip4)},
                 {raw_ip6_chain, sizeof(raw_ip6_chain)},
                 {sll2, sizeof(sll2)},
                 {qinq_mpls, sizeof(qinq_mpls)}};
    if (i >= sizeof(seeds) / sizeof(*seeds))
        return 0;
    memcpy(out, seeds[i].bytes, seeds[i].len);
    return seeds[i].len;
}
