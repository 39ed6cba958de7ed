/* SPDX-License-Identifier: Apache-2.0
 * Address anonymization of saved headers, keys and logs. `netblock`: IPv4 last byte 0, IPv6 bytes 6..15 zero,
 * IPv4-mapped as IPv4; exempt addresses (those of local interfaces, and the user's) stay. It must not be
 * reversible, so in a packet with a masked end also go:
 * - the checksums: IPv4 is recomputed if it was valid, else 0; TCP is 0;
 * - addresses in IPv4 options (RR, LSRR, SSRR, TS), IPv6 routing headers, the Home-Address option, and TCP options that
 *   can hold an address (MPTCP, TFO cookie, 28, 76, 200, 254 ..);
 * - the link address (MAC) of each masked end, which can be that of the IP address in other clothes;
 * - the IPv6 flow label, which can be a hash of the addresses;
 * - the last byte of the IPv4 address inside a 6to4 prefix (2002::/16 is masked to /40).
 * What is wiped, and how a key is ordered, does not depend on a masked bit. */
#ifndef SHARED_ANONYMIZE_H
#define SHARED_ANONYMIZE_H

#include <stdbool.h>
#include <stdint.h>

#include "shared/flowkey.h"

enum anonymize_mode { ANONYMIZE_NONE, ANONYMIZE_NETBLOCK };

#define ANONYMIZE_EXEMPT_MAX 256

struct anonymizer {
    enum anonymize_mode mode;
    uint32_t exempt_count;
    struct ipaddr exempt[ANONYMIZE_EXEMPT_MAX];
};

/* Masks the address unless exempt. */
void anonymize_ip(const struct anonymizer *a, struct ipaddr *ip);

/* Masks both addresses and puts the ends in order again: the old order would tell which of two masked addresses, or of
 * a masked and an exempt one, is the lower. For text and names; the result finds no flow. */
void anonymize_key(const struct anonymizer *a, struct flowkey *key);

/* Anonymizes a header copy in place. linktype: a LINKTYPE_ value; the link header of an unknown one is wiped.
 * hdr[0..len) is what frame_copy_header made (or a prefix of it cut at the flow's header length); l3_off, l4_off as in
 * struct frame. Mode none: no change. Where the offsets or the IP version do not fit the copy, it is wiped rather than
 * kept. */
void anonymize_header(const struct anonymizer *a, int linktype, uint8_t *hdr, uint32_t len, uint32_t l3_off,
                      uint32_t l4_off);

#endif
