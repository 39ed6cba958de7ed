/* SPDX-License-Identifier: Apache-2.0
 * SipHash-c-d with 64-bit output, after the paper's definition. Cannot fail. */
#include "shared/siphash.h"

#include <endian.h>
#include <string.h>

struct sip {
    uint64_t v0, v1, v2, v3;
};

static uint64_t rotl(uint64_t x, int bits)
{
    return x << bits | x >> (64 - bits);
}

static void sip_rounds(struct sip *s, int rounds)
{
    for (; rounds > 0; rounds--) {
        s->v0 += s->v1;
        s->v2 += s->v3;
        s->v1 = rotl(s->v1, 13) ^ s->v0;
        s->v3 = rotl(s->v3, 16) ^ s->v2;
        s->v0 = rotl(s->v0, 32);
        s->v2 += s->v1;
        s->v0 += s->v3;
        s->v1 = rotl(s->v1, 17) ^ s->v2;
        s->v3 = rotl(s->v3, 21) ^ s->v0;
        s->v2 = rotl(s->v2, 32);
    }
}

static uint64_t word(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof(v));
    return le64toh(v);
}

/* The last 0 to 7 bytes of len, under the length. */
static uint64_t last_word(const uint8_t *p, size_t left, size_t len)
{
    uint64_t v = (uint64_t)len << 56;
    if (left & 4) {
        uint32_t half;
        memcpy(&half, p, sizeof(half));
        v |= le32toh(half);
    }
    for (size_t i = left & 4; i < left; i++)
        v |= (uint64_t)p[i] << 8 * i;
    return v;
}

static inline uint64_t siphash(const struct siphash_key *key, const void *data, size_t len, int c, int d)
{
    const uint8_t *p = data;
    struct sip s = {key->k0 ^ UINT64_C(0x736f6d6570736575), key->k1 ^ UINT64_C(0x646f72616e646f6d),
                    key->k0 ^ UINT64_C(0x6c7967656e657261), key->k1 ^ UINT64_C(0x7465646279746573)};
    size_t left = len;
    for (; left >= 8; left -= 8, p += 8) {
        uint64_t m = word(p);
        s.v3 ^= m;
        sip_rounds(&s, c);
        s.v0 ^= m;
    }
    uint64_t m = last_word(p, left, len);
    s.v3 ^= m;
    sip_rounds(&s, c);
    s.v0 ^= m;
    s.v2 ^= 0xff;
    sip_rounds(&s, d);
    return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

uint64_t siphash_1_3(const struct siphash_key *key, const void *data, size_t len)
{
    return siphash(key, data, len, 1, 3);
}

uint64_t siphash_2_4(const struct siphash_key *key, const void *data, size_t len)
{
    return siphash(key, data, len, 2, 4);
}
