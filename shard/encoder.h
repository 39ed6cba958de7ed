/* SPDX-License-Identifier: Apache-2.0
 * One set of engines for all flows: deflates one chunk at a time, so an open flow costs no compressor state. Chunks end
 * on a byte boundary and each may come from another library and level; together they are one deflate stream (RFC 1951).
 * Which engine takes a chunk follows from the mode of the run and, with GZIP_AUTO, from the effort that the load
 * allows. */
#ifndef SHARD_ENCODER_H
#define SHARD_ENCODER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shared/config.h"

#define ENCODER_DICT 1024u

/* What one chunk may cost. */
enum effort {
    EFFORT_SMALL, /* there is time: few bytes */
    EFFORT_FAST,  /* there is none: few cycles */
    EFFORT_COUNT
};

struct encoder;

/* GZIP_SMALL and GZIP_FAST fix the effort, GZIP_ZLIB takes zlib level 6 for all, GZIP_NONE copies. Libraries that this
 * build lacks are replaced by zlib. NULL: no memory. */
struct encoder *encoder_new(enum gzip_mode mode);
void encoder_free(struct encoder *e); /* NULL is fine */

/* Upper bound of the output for n input bytes. */
size_t encoder_bound(const struct encoder *e, size_t n);

/* Deflates in[0..n) with the dictionary dict[0..dict_len) (the bytes before it in the stream; dict_len <= ENCODER_DICT)
 * into out (cap >= encoder_bound(n)); `last` ends the stream, otherwise it ends on a byte boundary. Returns the length.
 * Cannot fail within the contract (panics on the libraries' own errors). */
size_t encoder_chunk(struct encoder *e, enum effort effort, const uint8_t *dict, size_t dict_len, const uint8_t *in,
                     size_t n, bool last, uint8_t *out, size_t cap);

/* CRC-32 of gzip; crc 0 for the first bytes. */
uint32_t encoder_crc(uint32_t crc, const uint8_t *in, size_t n);

/* gzip head (RFC 1952: no name, no time, OS unix) and trailer; both empty for GZIP_NONE. Return their lengths. */
#define GZIP_HEAD 10
#define GZIP_TAIL 8
size_t encoder_gzip_head(enum gzip_mode mode, uint8_t out[GZIP_HEAD]);
size_t encoder_gzip_tail(enum gzip_mode mode, uint32_t crc, uint64_t raw_len, uint8_t out[GZIP_TAIL]);

#endif
