/* SPDX-License-Identifier: Apache-2.0
 * SipHash (Aumasson, Bernstein: "SipHash: a fast short-input PRF"). 1-3 keys the flow tables, 2-4 names files
 * of the hash source. */
#ifndef SHARED_SIPHASH_H
#define SHARED_SIPHASH_H

#include <stddef.h>
#include <stdint.h>

struct siphash_key {
    uint64_t k0, k1;
};

uint64_t siphash_1_3(const struct siphash_key *key, const void *data, size_t len);
uint64_t siphash_2_4(const struct siphash_key *key, const void *data, size_t len);

#endif
