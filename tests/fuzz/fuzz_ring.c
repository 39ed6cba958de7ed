/* SPDX-License-Identifier: Apache-2.0
 * Any bytes as the contents and indices of a ring: the consumer ends, skips what does not check, and hands out only
 * records that lie inside the data. Input: four 64-bit indices (two slots), then data. */
#include <string.h>

#include "shared/ring.h"
#include "tests/fuzz/fuzz.h"

#define SIZE RING_MIN_SIZE

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static _Alignas(64) uint8_t map[RING_PAGE + SIZE];
    static struct ring_peer peer;
    struct ring_consumer c;
    uint64_t words[4];
    if (size < sizeof(words))
        return 0;
    memset(map, 0, sizeof(map));
    memset(&peer, 0, sizeof(peer));
    FUZZ_CHECK(ring_format(map, SIZE, 1, 0) == SC_OK);
    memcpy(words, data, sizeof(words));
    data += sizeof(words);
    size -= sizeof(words);
    memcpy(map + RING_PAGE, data, size < SIZE ? size : SIZE);
    struct ring_shared *s = (struct ring_shared *)(void *)map;
    uint64_t start = words[0] & 0xffff ? 0 : words[0];
    s->slot[0].prod = words[0];
    s->slot[0].packets = words[1];
    s->slot[1].prod = words[2];
    s->slot[1].packets = words[3];
    if (ring_consumer_attach(&c, map, sizeof(map), &peer, start, 0) != SC_OK)
        return 0;
    for (unsigned n = 0; n < 2 * SIZE / RING_ALIGN; n++) {
        struct ring_record rec;
        const uint8_t *payload;
        uint64_t lost;
        int err = ring_next(&c, &rec, &payload, &lost);
        if (err == SC_EAGAIN)
            return 0;
        if (err == SC_EFORMAT) {
            FUZZ_CHECK(lost <= SIZE / sizeof(rec));
            continue;
        }
        FUZZ_CHECK(err == SC_OK);
        FUZZ_CHECK(payload >= map + RING_PAGE && payload + rec.hdr_len <= map + sizeof(map));
        ring_release(&c);
    }
    FUZZ_CHECK(false); /* the consumer must end */
    return 0;
}

size_t fuzz_seed(unsigned i, uint8_t out[FUZZ_SEED_MAX])
{
    struct ring_record rec = {.len = sizeof(rec) + 64,
                              .kind = RING_PACKET,
                              .linktype = 1,
                              .caplen = 60,
                              .wire_len = 60,
                              .l3_off = 14,
                              .l4_off = 34,
                              .hdr_len = 54};
    struct ring_record tick = {.len = sizeof(tick), .kind = RING_TICK};
    uint64_t words[4] = {rec.len + tick.len, 1, 0, 0};
    if (i > 0)
        return 0;
    memcpy(out, words, sizeof(words));
    memcpy(out + sizeof(words), &rec, sizeof(rec));
    memset(out + sizeof(words) + sizeof(rec), 0x45, 64);
    memcpy(out + sizeof(words) + rec.len, &tick, sizeof(tick));
    return sizeof(words) + rec.len + tick.len;
}
