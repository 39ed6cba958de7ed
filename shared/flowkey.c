/* SPDX-License-Identifier: Apache-2.0
 * FlowKey: made once per packet and once per UUID event, so it is kept straight. Cannot fail but on foreign text. */
#include "shared/flowkey.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "shared/err.h"

bool ipaddr_is_mapped(const uint8_t addr[16])
{
    static const uint8_t prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    return memcmp(addr, prefix, sizeof(prefix)) == 0;
}

/* Inlined with a constant length: a packet's key is made of a few moves, without a call. */
static inline bool make(struct flowkey *out, unsigned len, const uint8_t *src, uint16_t sport, const uint8_t *dst,
                        uint16_t dport)
{
    int order = memcmp(src, dst, len);
    bool src_low = order < 0 || (order == 0 && sport <= dport);
    memset(out, 0, sizeof(*out));
    memcpy(out->addr[0], src_low ? src : dst, len);
    memcpy(out->addr[1], src_low ? dst : src, len);
    out->port[0] = src_low ? sport : dport;
    out->port[1] = src_low ? dport : sport;
    out->addr_len = (uint8_t)len;
    return src_low;
}

bool flowkey_make(struct flowkey *out, unsigned addr_len, const uint8_t *src, uint16_t sport, const uint8_t *dst,
                  uint16_t dport)
{
    if (addr_len == 4)
        return make(out, 4, src, sport, dst, dport);
    if (ipaddr_is_mapped(src) && ipaddr_is_mapped(dst))
        return make(out, 4, src + 12, sport, dst + 12, dport);
    return make(out, 16, src, sport, dst, dport);
}

bool flowkey_equal(const struct flowkey *a, const struct flowkey *b)
{
    return memcmp(a, b, sizeof(*a)) == 0;
}

uint64_t flowkey_hash(const struct flowkey *key, const struct siphash_key *secret)
{
    /* Both lengths differ, so the two forms never collide by construction. */
    uint8_t bytes[36];
    if (key->addr_len == 4) {
        memcpy(bytes, key->addr[0], 4);
        memcpy(bytes + 4, key->addr[1], 4);
        memcpy(bytes + 8, key->port, 4);
        return siphash_1_3(secret, bytes, 12);
    }
    memcpy(bytes, key->addr, 32);
    memcpy(bytes + 32, key->port, 4);
    return siphash_1_3(secret, bytes, 36);
}

const char *flowkey_format(const struct flowkey *key, char out[FLOWKEY_TEXT])
{
    char low[INET6_ADDRSTRLEN], high[INET6_ADDRSTRLEN];
    int family = key->addr_len == 4 ? AF_INET : AF_INET6;
    inet_ntop(family, key->addr[0], low, sizeof(low));
    inet_ntop(family, key->addr[1], high, sizeof(high));
    snprintf(out, FLOWKEY_TEXT, "%s:%u<->%s:%u", low, key->port[0], high, key->port[1]);
    return out;
}

void ipaddr_set(struct ipaddr *out, const uint8_t *bytes, unsigned len)
{
    if (len == 16 && ipaddr_is_mapped(bytes)) {
        bytes += 12;
        len = 4;
    }
    memset(out, 0, sizeof(*out));
    memcpy(out->bytes, bytes, len);
    out->len = (uint8_t)len;
}

int ipaddr_parse(const char *text, struct ipaddr *out)
{
    uint8_t bytes[16];
    memset(out, 0, sizeof(*out));
    if (inet_pton(AF_INET, text, bytes) == 1)
        ipaddr_set(out, bytes, 4);
    else if (inet_pton(AF_INET6, text, bytes) == 1)
        ipaddr_set(out, bytes, 16);
    else
        return SC_EFORMAT;
    return SC_OK;
}

bool ipaddr_equal(const struct ipaddr *a, const struct ipaddr *b)
{
    return a->len == b->len && memcmp(a->bytes, b->bytes, a->len) == 0;
}
