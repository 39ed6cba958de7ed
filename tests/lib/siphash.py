# SPDX-License-Identifier: Apache-2.0
"""SipHash-2-4 (Aumasson, Bernstein 2012), written from the paper."""
import struct

MASK = (1 << 64) - 1


def _rotl(x, n):
    return (x << n | x >> (64 - n)) & MASK


def _round(v):
    a, b, c, d = v
    a = (a + b) & MASK
    c = (c + d) & MASK
    b, d = _rotl(b, 13) ^ a, _rotl(d, 16) ^ c
    a = _rotl(a, 32)
    c = (c + b) & MASK
    a = (a + d) & MASK
    b, d = _rotl(b, 17) ^ c, _rotl(d, 21) ^ a
    return a, b, _rotl(c, 32), d


def siphash_2_4(key, message):
    k0, k1 = struct.unpack("<QQ", key)
    v = (k0 ^ 0x736f6d6570736575, k1 ^ 0x646f72616e646f6d, k0 ^ 0x6c7967656e657261, k1 ^ 0x7465646279746573)
    padded = message + bytes(7 - len(message) % 8) + bytes([len(message) & 255])
    for (m,) in struct.iter_unpack("<Q", padded):
        v = (v[0], v[1], v[2], v[3] ^ m)
        v = _round(_round(v))
        v = (v[0] ^ m, v[1], v[2], v[3])
    v = (v[0], v[1], v[2] ^ 0xff, v[3])
    for _ in range(4):
        v = _round(v)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


# The paper's appendix A.
assert siphash_2_4(bytes(range(16)), bytes(range(15))) == 0xa129ca6149be45e5
