/* SPDX-License-Identifier: Apache-2.0
 * FlowKey: a TCP connection without direction. The lower (address bytes, port) stands first. IPv4 has 4 bytes;
 * two IPv4-mapped IPv6 addresses make an IPv4 key. */
#ifndef SHARED_FLOWKEY_H
#define SHARED_FLOWKEY_H

#include <stdbool.h>
#include <stdint.h>

#include "shared/siphash.h"

struct ipaddr {
    uint8_t len;       /* 4 or 16 */
    uint8_t bytes[16]; /* bytes past len are zero */
};

struct flowkey {
    uint8_t addr[2][16]; /* bytes past addr_len are zero, so keys compare with memcmp */
    uint16_t port[2];    /* host order */
    uint8_t addr_len;    /* 4 or 16 */
    uint8_t zero[3];
};
_Static_assert(sizeof(struct flowkey) == 40, "stored in ring, arena and journal");

/* Makes the key of (src, sport, dst, dport); addresses are addr_len bytes (4 or 16). Returns true if src became
 * addr[0] (with both ends equal: true). *out is fully initialised. */
bool flowkey_make(struct flowkey *out, unsigned addr_len, const uint8_t *src, uint16_t sport, const uint8_t *dst,
                  uint16_t dport);

bool flowkey_equal(const struct flowkey *a, const struct flowkey *b);

/* SipHash-1-3 over the significant bytes only. High bits choose the shard, low bits the table slot. */
uint64_t flowkey_hash(const struct flowkey *key, const struct siphash_key *secret);

/* Shard of a hash, 0..shards-1, from the high bits: (hash >> 32) * shards >> 32. */
static inline unsigned flowkey_shard(uint64_t hash, unsigned shards)
{
    return (unsigned)(((hash >> 32) * shards) >> 32);
}

/* "lo:port<->hi:port"; IPv6 per RFC 5952 without brackets ("1:::1000<->1:::2000"). The key must have been
 * anonymized before it gets here (anonymize_key). Returns out. */
#define FLOWKEY_TEXT 110
const char *flowkey_format(const struct flowkey *key, char out[FLOWKEY_TEXT]);

/* True for 16 bytes of the form ::ffff:a.b.c.d: the IPv4 address is the last four. */
bool ipaddr_is_mapped(const uint8_t addr[16]);
/* An address of len (4 or 16) bytes, IPv4-mapped folded to 4. */
void ipaddr_set(struct ipaddr *out, const uint8_t *bytes, unsigned len);
/* Text to address, likewise. Returns SC_OK or SC_EFORMAT. */
int ipaddr_parse(const char *text, struct ipaddr *out);
bool ipaddr_equal(const struct ipaddr *a, const struct ipaddr *b);

#endif
